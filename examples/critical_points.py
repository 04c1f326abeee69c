"""Where the gradient vanishes: minimum or saddle, and the way down.

Functions with known answers; a linear network's saddle at zero; a CNN on real digits at its
initial weights and in its minimum; and why most critical points of large models are saddles.

    python examples/critical_points.py --output docs/figures
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from figures import options, save
from tqdm import tqdm

import pyfast as pf
from pyfast import nn
from pyfast.demo import load_digits

DECAY = 3e-3  # of the L2 penalty, without which cross-entropy has no finite minimum


def known_functions(n: int) -> list[tuple[str, Callable[[Any], Any], Any, str]]:
    """Name, function, point and the kind that calculus gives."""
    surfaces = pf.analysis.SURFACES
    himmelblau, camel = surfaces["himmelblau"], surfaces["three-hump camel"]
    scales = np.where(np.arange(n) % 2, 3.0, 1.0)
    ridge = scales.copy()
    ridge[n // 2] = -0.5
    return [
        ("x² + 3y²", lambda x: x[0] ** 2 + 3 * x[1] ** 2, [0, 0], "minimum"),
        ("-x² - y²", lambda x: -(x * x).sum(), [0, 0], "maximum"),
        ("x² - y²", lambda x: x[0] ** 2 - x[1] ** 2, [0, 0], "saddle"),
        ("monkey saddle", surfaces["monkey saddle"], [0, 0], "saddle"),
        ("x⁴ + y⁴", lambda x: (x**4).sum(), [0, 0], "minimum"),
        ("x² + y³", lambda x: x[0] ** 2 + x[1] ** 3, [0, 0], "saddle"),
        ("constant", lambda x: (0 * x).sum() + 1, [0, 0], "plateau"),
        ("rosenbrock", surfaces["rosenbrock"], [1, 1], "minimum"),
        ("himmelblau", himmelblau, himmelblau.minima[1], "minimum"),
        ("himmelblau", himmelblau, himmelblau.saddles[0], "saddle"),
        ("himmelblau", himmelblau, himmelblau.maxima[0], "maximum"),
        ("three-hump camel", camel, camel.saddles[0], "saddle"),
        ("beale", surfaces["beale"], [0, 1], "saddle"),
        ("beale", surfaces["beale"], [0, 0], "not critical"),
        (f"bowl, n = {n:,}", lambda x: (x * x * scales).sum(), np.zeros(n), "minimum"),
        (f"one way down in {n:,}", lambda x: (x * x * ridge).sum(), np.zeros(n), "saddle"),
    ]


def show_known_functions(n: int) -> int:
    """Classify them all; the number of wrong answers."""
    wrong = 0
    print(f"{'function':<24}{'found':<14}{'smallest':>11}{'largest':>11}{'products':>10}")
    for name, function, at, expected in known_functions(n):
        x = pf.Tensor(np.array(at, np.float64), requires_grad=True)
        point = pf.analysis.critical_point(lambda f=function, x=x: f(x), x)
        has_way_down = expected in ("saddle", "maximum")
        right = point.kind == expected and point.escaped == has_way_down
        wrong += not right
        print(f"{name:<24}{point.kind:<14}{point.smallest[0]:>11.4g}{point.largest[-1]:>11.4g}"
              f"{point.products:>10}{'' if right else '   WRONG: ' + expected}")  # fmt: skip
    return wrong


def linear_network() -> pf.analysis.CriticalPoint:
    """Y = W2 W1 x on the wine data at zero weights: eigenvalues are ± singular values."""
    from sklearn.datasets import load_wine

    x, labels = load_wine(return_X_y=True)
    x = (x - x.mean(0)) / x.std(0)
    y = np.eye(3)[labels]
    y -= y.mean(0)
    first = pf.Tensor(np.zeros((13, 4)), requires_grad=True)
    second = pf.Tensor(np.zeros((4, 3)), requires_grad=True)

    def loss() -> Any:
        return 0.5 * ((pf.Tensor(x) @ first @ second - y) ** 2).sum() / len(x)

    point = pf.analysis.critical_point(loss, [first, second])
    expected = np.linalg.svd(x.T @ y / len(x))[1][0]
    print(
        f"\nlinear network on wine at W1 = W2 = 0, largest singular value of XᵀY/N: {expected:.6f}"
    )
    print(point)
    return point


def digits_cnn(quick: bool) -> tuple[nn.Sequential, Callable[[], Any]]:
    """A smooth CNN (tanh, mean pooling) in float64, and its loss over the training digits."""
    pf.manual_seed(0)
    (images, labels), _ = load_digits()
    images = images[: 200 if quick else None].astype(np.float64)
    width = 2 if quick else 8
    model = nn.Sequential(
        nn.Conv2d(1, width, 3, padding=1), nn.Tanh(), nn.AvgPool2d(2),
        nn.Conv2d(width, 2 * width, 3, padding=1), nn.Tanh(), nn.AvgPool2d(2),
        nn.Flatten(), nn.Linear(8 * width, 10),
    ).double()  # fmt: skip
    params = list(model.parameters())

    def loss() -> Any:
        decay = sum((p * p).sum() for p in params)
        fit = pf.ops.cross_entropy(model(pf.Tensor(images)), labels[: len(images)])
        return fit + 0.5 * DECAY * decay

    return model, loss


def train(model: nn.Module, loss: Callable[[], Any], updates: int) -> None:
    """Full-batch AdamW, then Newton until the gradient vanishes; accuracy on held-out digits."""
    optimizer = pf.optim.AdamW(model.parameters(), lr=1e-2, weight_decay=0)
    for _ in tqdm(range(updates), desc="AdamW", unit="step"):
        optimizer.zero_grad()
        loss().backward()
        optimizer.step()
    found = pf.analysis.find_critical_point(loss, model, seek="minimum", max_iterations=1500)
    images, labels = load_digits()[1]
    right = model(images.astype(np.float64)).numpy().argmax(1) == labels
    print(f"L-BFGS and Newton: gradient norm {found.gradient_norm:.2g}, loss {found.loss:.4f}, "
          f"{right.mean():.2%} of the held-out digits")  # fmt: skip


def show_digits(quick: bool) -> Any:
    """Kind and spectrum of the CNN's Hessian before and after training; the figure."""
    from matplotlib import pyplot as plt

    model, loss = digits_cnn(quick)
    count = model.count_parameters()
    figure, panels = plt.subplots(1, 2, figsize=(10, 3.8), layout="constrained")
    for ax, when in zip(panels, ("initial weights", "minimum"), strict=True):
        if when == "minimum":
            train(model, loss, 20 if quick else 150)
        point = pf.analysis.critical_point(loss, model)
        print(f"\ndigits CNN, {count:,} parameters, {when}:\n{point}")
        every = None
        if when == "minimum":
            every = np.linalg.eigvalsh(pf.analysis.hessian(loss, model))
            print(f"  all eigenvalues {every[0]:.6g} to {every[-1]:.6g}, {sum(every < 0)} negative")
        spectrum = pf.analysis.hessian_spectrum(
            loss, model, probes=2 if quick else 6, steps=20 if quick else 60
        )
        pf.plot.hessian_spectrum(spectrum, exact=every, ax=ax)
        ax.set_title(f"{when}: eigenvalues {point.smallest[0]:.2g} to {point.largest[-1]:.2g}")
    return figure


def gaussian_share(n: int, samples: int, rng: np.random.Generator) -> float:
    """The share of random symmetric Gaussian Hessians with no negative eigenvalue."""
    a = rng.standard_normal((samples, n, n))
    return float((np.linalg.eigvalsh(a + a.transpose(0, 2, 1))[:, 0] > 0).mean())


def network_kinds(hidden: int, starts: int) -> list[str]:
    """Kinds of critical points that Newton's method finds for a small network on wine data."""
    from sklearn.datasets import load_wine
    from sklearn.decomposition import PCA

    x, labels = load_wine(return_X_y=True)
    x = PCA(2, whiten=True).fit_transform((x - x.mean(0)) / x.std(0))
    y = (labels == 1).astype(np.float64)[:, None]
    kinds = []
    for seed in tqdm(range(starts), desc=f"{hidden} hidden units", unit="start"):
        pf.manual_seed(seed)
        model = nn.Sequential(nn.Linear(2, hidden), nn.Tanh(), nn.Linear(hidden, 1)).double()
        for p in model.parameters():
            p.data[...] *= 2

        def loss(model: nn.Module = model) -> Any:
            decay = sum((p * p).sum() for p in model.parameters())
            return pf.ops.mse_loss(model(pf.Tensor(x)), y) + 1e-3 * decay

        found = pf.analysis.find_critical_point(loss, model, tol=1e-8, max_iterations=300)
        if found.converged:
            kinds.append(pf.analysis.critical_point(loss, model).kind)
    return kinds


def show_share(quick: bool) -> Any:
    """How the share of minima falls as dimension grows; the figure."""
    from matplotlib import pyplot as plt

    rng = np.random.default_rng(0)
    dimensions = np.arange(1, 5 if quick else 7)
    random = [gaussian_share(n, 2_000 if quick else 400_000, rng) for n in dimensions]
    exact = [1 / 2, (2 - np.sqrt(2)) / 4, (np.pi - 2 * np.sqrt(2)) / (4 * np.pi)]
    pairs = [f"n={n}: {s:.2g}" for n, s in zip(dimensions, random, strict=True)]
    print("\nrandom Hessians, share of minima: " + ", ".join(pairs))
    widths = [1, 2] if quick else [1, 2, 3, 4, 6]
    shares, counts = [], []
    for hidden in widths:
        kinds = network_kinds(hidden, 2 if quick else 40)
        counts.append(len(kinds))
        shares.append(kinds.count("saddle") / max(1, len(kinds)))
        print(f"{4 * hidden + 1} parameters: {len(kinds)} critical points, "
              + ", ".join(f"{kinds.count(k)} {k}" for k in sorted(set(kinds))))  # fmt: skip
    figure, (left, right) = plt.subplots(1, 2, figsize=(10, 3.8), layout="constrained")
    left.semilogy(
        dimensions,
        np.where(np.array(random) > 0, random, np.nan),
        "o-",
        color="#0072B2",
        label="sampled",
    )
    left.semilogy(np.arange(1, 4), exact, "x", color="#D55E00", ms=9, label="exact, n ≤ 3")
    left.set(xlabel="dimension n", ylabel="share of minima", title="random symmetric Hessians")
    left.legend()
    sizes = [4 * hidden + 1 for hidden in widths]
    right.plot(sizes, [100 * s for s in shares], "s-", color="#0072B2",
               label="saddles among points found")  # fmt: skip
    right.set(xlabel="parameters", ylabel="saddles (%)", ylim=(0, 103), xticks=sizes,
              title="tanh networks on the wine data")  # fmt: skip
    right.legend()
    return figure


def show_escape(point: pf.analysis.CriticalPoint) -> Any:
    """The loss along the escape direction of the linear network's saddle."""
    from matplotlib import pyplot as plt

    figure, ax = plt.subplots(figsize=(5, 3.6), layout="constrained")
    steps = point.escape_steps
    ax.plot(steps, point.escape_losses, "o-", color="#0072B2", label="loss, stepped to")
    fine = np.linspace(0, steps[-1])
    ax.plot(
        fine,
        point.loss + 0.5 * point.smallest[0] * fine**2,
        "--",
        color="#D55E00",
        label="L(0) + ½ λ r², predicted by the Hessian",
    )
    ax.set(xlabel="step r along the eigenvector", ylabel="loss",
           title="Leaving the saddle at zero of a linear network")  # fmt: skip
    ax.legend()
    return figure


def main(argv: Sequence[str] | None = None) -> int:
    """Run the example; the number of functions that were classified wrongly."""
    chosen = options(__doc__, argv)
    wrong = show_known_functions(1_000 if chosen.quick else 100_000)
    save(show_escape(linear_network()), chosen.output / "critical_escape.png")
    save(show_digits(chosen.quick), chosen.output / "critical_spectrum.png")
    save(show_share(chosen.quick), chosen.output / "critical_share.png")
    return wrong


if __name__ == "__main__":
    raise SystemExit(main())
