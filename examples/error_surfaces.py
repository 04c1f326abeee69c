"""Error surfaces: where optimizers go, and what batch norm does to the surface of a CNN.

Every optimizer on named test surfaces; the loss of a CNN on real digits around its trained weights,
along filter-normalised directions and with the path of training; the same with batch norm, and how
well the gradient predicts the loss a step ahead.

    python examples/error_surfaces.py --output docs/figures
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from figures import options, save
from matplotlib import pyplot as plt
from tqdm import tqdm

import pyfast as pf
from pyfast import nn
from pyfast.demo import load_digits

OPTIMIZERS: dict[str, Callable[[Any, float], Any]] = {
    "gradient descent": lambda p, s: pf.optim.SGD(p, lr=s),
    "momentum": lambda p, s: pf.optim.SGD(p, lr=s, momentum=0.9),
    "Nesterov": lambda p, s: pf.optim.SGD(p, lr=s, momentum=0.9, nesterov=True),
    "Adagrad": lambda p, s: pf.optim.Adagrad(p, lr=0.5),
    "RMSprop": lambda p, s: pf.optim.RMSprop(p, lr=0.02),
    "Adadelta": lambda p, s: pf.optim.Adadelta(p, lr=20.0),
    "Adam": lambda p, s: pf.optim.Adam(p, lr=0.1),
    "AdamW": lambda p, s: pf.optim.AdamW(p, lr=0.1),
    "Adamax": lambda p, s: pf.optim.Adamax(p, lr=0.1),
    "NAdam": lambda p, s: pf.optim.NAdam(p, lr=0.1),
    "RAdam": lambda p, s: pf.optim.RAdam(p, lr=s),
    "LBFGS": lambda p, s: pf.optim.LBFGS(p),
}
# Learning rates of plain gradient descent, as large as each surface bears.
RATES = {"ravine": 0.015, "rosenbrock": 0.001, "beale": 0.003, "saddle": 0.05}
DRAWN = ("gradient descent", "momentum", "Adagrad", "RMSprop", "Adam", "RAdam")


def paths(steps: int) -> Any:
    """The heights all optimizers reach, printed; the figure of some of their paths."""
    figure, panels = plt.subplots(2, 2, figsize=(9.5, 7.4), layout="constrained")
    print(f"height above the minimum after {steps} steps")
    print(f"{'':<18}" + "".join(f"{name:>14}" for name in RATES))
    found = {
        name: {
            label: pf.analysis.optimizer_path(
                pf.analysis.SURFACES[name], lambda p, m=make, r=rate: m(p, r), steps=steps
            )
            for label, make in OPTIMIZERS.items()
        }
        for name, rate in RATES.items()
    }
    lowest = {"saddle": -1.0}
    for label in OPTIMIZERS:
        cells = [found[n][label].losses[-1] - lowest.get(n, 0.0) for n in RATES]
        print(f"{label:<18}" + "".join(f"{c:>14.2e}" for c in cells))
    for ax, name in zip(panels.flat, RATES, strict=True):
        shown = {label: found[name][label] for label in DRAWN}
        pf.plot.optimizer_paths(pf.analysis.SURFACES[name], shown, ax=ax)
        ax.set_title(f"{name}: {pf.analysis.SURFACES[name].about}", fontsize=9)
        ax.get_legend().remove()
    figure.legend(*panels[0, 0].get_legend_handles_labels(), loc="outside lower center", ncols=6)
    return figure


def cnn(batch_norm: bool) -> nn.Sequential:
    """A small CNN on 8 × 8 digits, with batch norm or without."""
    pf.manual_seed(0)

    def block(inputs: int, outputs: int) -> list[nn.Module]:
        norm = [nn.BatchNorm2d(outputs)] if batch_norm else []
        return [nn.Conv2d(inputs, outputs, 3, padding=1), *norm, nn.ReLU()]

    model = nn.Sequential(
        *block(1, 8), *block(8, 8), nn.MaxPool2d(2), *block(8, 16), *block(16, 16), nn.MaxPool2d(2),
        nn.Flatten(), nn.Linear(64, 10),
    )  # fmt: skip
    for module in model:  # PyTorch's default is too small for a deep net without batch norm
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
    return model


class Run:
    """One training: the path, and how well gradients predicted the loss."""

    def __init__(self, batch_norm: bool, epochs: int, lr: float = 0.1) -> None:
        self.model = cnn(batch_norm)
        self.label = "with batch norm" if batch_norm else "without"
        (self.images, self.labels), self.held_out = load_digits()
        self.path = [pf.analysis.flat_parameters(self.model)]
        self.seen: list[pf.analysis.Smoothness] = []
        loader = pf.data.DataLoader((self.images, self.labels), 64, shuffle=True, seed=0)
        optimizer = pf.optim.SGD(self.model.parameters(), lr=lr)
        for _ in tqdm(range(epochs), desc=self.label, unit="epoch"):
            for step, (x, y) in enumerate(loader):
                if step % 5 == 0:
                    probes = lr * np.array([0.5, 1.0, 2.0, 4.0])
                    self.seen.append(
                        pf.analysis.smoothness(lambda x=x, y=y: self.loss(x, y), self.model, probes)
                    )
                optimizer.zero_grad()
                self.loss(x, y).backward()
                optimizer.step()
            self.path.append(pf.analysis.flat_parameters(self.model))

    def loss(self, x: Any, y: Any) -> Any:
        """Cross-entropy in training mode: batch norm by the batch's statistics."""
        return pf.ops.cross_entropy(self.model(pf.Tensor(x)), y)

    def landscape(self, points: int, path: Any = None) -> pf.analysis.LossLandscape:
        """Around the trained weights, over 512 training images."""
        x, y = self.images[:512], self.labels[:512]
        span = 1.0 if path is None else 0.25
        return pf.analysis.loss_landscape(
            lambda: self.loss(x, y), self.model, path=path, points=points, span=span
        )

    def report(self) -> None:
        """Print what the figures show."""
        self.model.eval()
        right = np.asarray(self.model(self.held_out[0])).argmax(1) == self.held_out[1]
        self.model.train()
        change = np.median([s.gradient_change[1] for s in self.seen])
        beta = np.median([s.effective_beta for s in self.seen])
        print(f"{self.label:<16} held-out accuracy {right.mean():.2%}, median change of the "
              f"gradient over one step {change:.0%}, median effective beta {beta:.1f}")  # fmt: skip


def smoothness_figure(runs: Sequence[Run]) -> Any:
    """Range of the loss and change of the gradient along the gradient, while training."""
    figure, (left, right) = plt.subplots(1, 2, figsize=(10, 3.8), layout="constrained")
    for i, run in enumerate(runs):
        color = ("#D55E00", "#0072B2")[i]
        at = 5 * np.arange(len(run.seen))
        low = np.array([s.losses.min() for s in run.seen])
        high = np.array([s.losses.max() for s in run.seen])
        left.fill_between(at, low, high, color=color, alpha=0.45, lw=0, label=run.label)
        change = np.array([s.gradient_change[1] for s in run.seen])
        smooth = np.convolve(change, np.ones(5) / 5, "valid")
        right.plot(at[: len(smooth)], smooth, color=color, ls=("--", "-")[i], label=run.label)
    left.set(yscale="log", xlabel="update", ylabel="loss, steps of 0.05 to 0.4",
             title="range of the loss along the gradient")  # fmt: skip
    right.set(xlabel="update", ylabel="‖change of gradient‖ / ‖gradient‖", yscale="log",
              title="after one step of 0.1")  # fmt: skip
    for ax in (left, right):
        ax.legend()
    return figure


def main(argv: Sequence[str] | None = None) -> int:
    """Run the example."""
    chosen = options(__doc__, argv)
    points = 7 if chosen.quick else 31
    save(paths(40 if chosen.quick else 300), chosen.output / "optimizer_paths.png")
    runs = [Run(batch_norm, 2 if chosen.quick else 15) for batch_norm in (False, True)]
    figure, panels = plt.subplots(1, 2, figsize=(10.5, 4.2), layout="constrained")
    for ax, run in zip(panels, runs, strict=True):
        run.report()
        plane = run.landscape(points)
        pf.plot.loss_surface(plane, label="cross-entropy (nats)", ax=ax)
        ax.set(title=f"{run.label}: {plane.losses.min():.2g} to {plane.losses.max():.3g}",
               xlabel="first direction, filter-normalised", ylabel="second direction")  # fmt: skip
    save(figure, chosen.output / "landscape_batch_norm.png")
    figure, ax = plt.subplots(figsize=(6, 4.4), layout="constrained")
    pf.plot.loss_surface(
        runs[1].landscape(points, runs[1].path), label="cross-entropy (nats)", ax=ax
    )
    save(figure, chosen.output / "landscape_path.png")
    save(smoothness_figure(runs), chosen.output / "batch_norm_smoothness.png")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
