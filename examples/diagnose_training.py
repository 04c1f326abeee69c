"""All four diagnoses on the digits, each with the remedy that cures it.

    python examples/diagnose_training.py [--output FOLDER]

Writes diagnosis.png: four runs in trouble, the evidence drawn in, and what the remedy makes of it.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

import pyfast as pf
from pyfast import nn
from pyfast.analysis import Diagnosis, diagnose
from pyfast.training import History, fit

Array = np.ndarray[Any, Any]
Split = tuple[Array, Array]
ACCEPTABLE = 0.1  # nats of cross-entropy


def digits() -> tuple[Split, Split]:
    """1,347 digits to learn from and 450 to validate on; pixels in [0, 1]."""
    data = load_digits()
    x = (data.data / 16).astype(np.float32)
    x, x_val, y, y_val = train_test_split(
        x, data.target, test_size=0.25, random_state=0, stratify=data.target
    )
    return (x, y), (x_val, y_val)


def train(
    model: nn.Module, data: Split, held_out: Split, epochs: int, optimizer: Any = None
) -> History:
    """Cross-entropy, by Adam unless told otherwise; the training loss measured after each epoch."""
    optimizer = optimizer or pf.optim.Adam(model.parameters(), lr=3e-3)
    losses: list[float] = []

    def measure(trainer: Any) -> None:
        losses.append(pf.training.evaluate(model, pf.ops.cross_entropy, data)["loss"])

    history = fit(
        model, pf.ops.cross_entropy, optimizer, data, epochs=epochs, validation=held_out,
        best_weights=False, progress=False, on_epoch=measure,
    )  # fmt: skip
    for row, loss in zip(history.rows, losses, strict=True):
        row["loss"] = loss
    return history


def linear() -> nn.Module:
    """The simpler model of the ten digits."""
    return nn.Linear(64, 10)


def coarse() -> nn.Module:
    """Simpler still: linear in sixteen averages of four pixels."""
    return nn.Sequential(
        nn.Unflatten(1, (1, 8, 8)), nn.AvgPool2d(2), nn.Flatten(), nn.Linear(16, 10)
    )


def wide() -> nn.Module:
    """Flexible enough."""
    return nn.Sequential(nn.Linear(64, 128), nn.ReLU(), nn.Linear(128, 10))


def dropped() -> nn.Module:
    """Flexible, and constrained: convolution and dropout."""
    return nn.Sequential(
        nn.Unflatten(1, (1, 8, 8)),
        nn.Conv2d(1, 32, 3, padding=1),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(32, 32, 3, padding=1),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Dropout(0.4),
        nn.Linear(128, 10),
    )


def deep() -> nn.Module:
    """Twelve layers of sigmoids: gradients vanish on the way back."""
    layers: list[nn.Module] = [nn.Linear(64, 32), nn.Sigmoid()]
    for _ in range(11):
        layers += [nn.Linear(32, 32), nn.Sigmoid()]
    return nn.Sequential(*layers, nn.Linear(32, 10))


class Residual(nn.Module):
    """x + f(x): the gradient has a way past the layer."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, width), nn.ReLU())

    def forward(self, x: Any) -> Any:
        """Rows of shape (N, width) in and out."""
        return x + self.body(x)


def residual() -> nn.Module:
    """The same depth, with ReLU, normalisation and residual connections."""
    return nn.Sequential(nn.Linear(64, 32), *(Residual(32) for _ in range(11)), nn.Linear(32, 10))


def scanned(data: Split) -> Split:
    """The same digits from another scanner: faint, and one pixel lower."""
    images = np.roll(data[0].reshape(-1, 8, 8), 1, axis=1)
    images[:, 0] = 0
    return 0.4 * images.reshape(-1, 64), data[1]


@dataclass
class Case:
    """A run in trouble, its diagnosis, and the run after the remedy."""

    title: str
    history: History
    baseline: float
    found: Diagnosis
    cured: History
    remedy: str


def case(
    title: str,
    models: tuple[Callable[[], nn.Module], Callable[[], nn.Module]],
    data: Split,
    held_out: Split,
    mended: tuple[str, Callable[[], nn.Module], Split],
    epochs: int,
    optimizer: Callable[[Any], Any] | None = None,
) -> Case:
    """Train a model and a simpler one, diagnose, train again with the remedy."""
    net, simpler = (make() for make in models)
    history = train(net, data, held_out, epochs, optimizer and optimizer(net.parameters()))
    baseline = train(simpler, data, held_out, epochs)["loss"][-1]
    found = diagnose(
        history["loss"], history["val_loss"], baseline, acceptable_loss=ACCEPTABLE,
        train_inputs=data[0], val_inputs=held_out[0],
    )  # fmt: skip
    remedy, cure, more = mended
    cured = train(cure(), more, held_out, epochs)
    return Case(title, history, baseline, found, cured, remedy)


def cases(epochs: int) -> list[Case]:
    """The four troubles."""
    pf.manual_seed(0)
    data, held_out = digits()
    odd, odd_held_out = ((x, y % 2) for x, y in (data, held_out))
    few = (data[0][:150], data[1][:150])
    other = scanned(held_out)
    both = tuple(np.concatenate(pair) for pair in zip(data, scanned(data), strict=True))
    return [
        case("odd or even, by a linear model", (linear, coarse), odd, odd_held_out,
             ("128 hidden units", wide, odd), epochs),
        case("twelve sigmoid layers, plain gradient descent", (deep, linear), data, held_out,
             ("ReLU, layer norm, residual connections, Adam", residual, data), epochs,
             lambda p: pf.optim.SGD(p, lr=0.1)),
        case("150 digits, 128 hidden units", (wide, linear), few, held_out,
             ("all digits, convolution, dropout", dropped, data), epochs),
        case("validated on another scanner", (wide, linear), data, other,
             ("training data of both scanners", wide, both), epochs),
    ]  # fmt: skip


def draw(found: list[Case], path: Path) -> None:
    """One panel a case: the curves, the simpler model, the cure."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(2, 2, figsize=(11, 7.5), layout="constrained", sharex=True)
    for ax, c in zip(axes.flat, found, strict=True):
        epochs = c.history["epoch"]
        ax.plot(epochs, c.history["loss"], color="#0072B2", label="training")
        ax.plot(epochs, c.history["val_loss"], color="#D55E00", label="validation")
        ax.plot(epochs, c.cured["val_loss"], color="#009E73", ls="--", label="validation, mended")
        ax.axhline(c.baseline, color="#666666", ls=":", label="simpler model, training")
        ax.axhline(ACCEPTABLE, color="#BBBBBB", lw=0.8)
        ax.annotate("acceptable", (epochs[0], ACCEPTABLE), va="top", fontsize=8, color="#777777")
        ax.set_title(f"{c.found.kind}: {c.title}\nmended by {c.remedy}", fontsize=10)
        ax.set(yscale="log", ylim=(1e-3, 6))
    for ax in axes[1]:
        ax.set_xlabel("epoch")
    for ax in axes[:, 0]:
        ax.set_ylabel("cross-entropy (nats)")
    axes[0, 0].legend(fontsize=8, loc="lower left")
    figure.savefig(path, dpi=80)
    plt.close(figure)


def main() -> None:
    """Print the four diagnoses and draw them."""
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--output", type=Path, default=Path("figures"), metavar="FOLDER")
    options.add_argument("--epochs", type=int, default=60)
    chosen = options.parse_args()
    found = cases(chosen.epochs)
    for c in found:
        print(f"== {c.title}\n{c.found}")
        print(f"mended by {c.remedy}: ", end="")
        print(f"training {c.cured['loss'][-1]:.3g}, validation {c.cured['val_loss'][-1]:.3g}\n")
    chosen.output.mkdir(parents=True, exist_ok=True)
    draw(found, chosen.output / "diagnosis.png")


if __name__ == "__main__":
    main()
