"""All four diagnoses on the digits, each with the remedy that cures it, diagnosed again.

    python examples/diagnose_training.py --output docs/figures

Writes diagnosis.png: four runs in trouble, the evidence drawn in, and what the remedy makes of it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from figures import options, save
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
    """The same depth, with ReLU, normalisation, residual connections; a tenth of pixels dropped."""
    blocks = [Residual(32) for _ in range(11)]
    return nn.Sequential(nn.Dropout(0.1), nn.Linear(64, 32), *blocks, nn.Linear(32, 10))


def scanned(data: Split) -> Split:
    """The same digits from another scanner: faint, and one pixel lower."""
    images = np.roll(data[0].reshape(-1, 8, 8), 1, axis=1)
    images[:, 0] = 0
    return 0.4 * images.reshape(-1, 64), data[1]


@dataclass
class Run:
    """What was trained, on what, and what became of it."""

    what: str
    model: Callable[[], nn.Module]
    data: Split
    optimizer: Callable[[Any], Any] | None = None
    history: History | None = None
    found: Diagnosis | None = None

    def go(self, held_out: Split, baseline: float, epochs: int) -> None:
        """Train, and diagnose."""
        net = self.model()
        optimizer = self.optimizer and self.optimizer(net.parameters())
        self.history = train(net, self.data, held_out, epochs, optimizer)
        self.found = diagnose(
            self.history["loss"], self.history["val_loss"], baseline,
            acceptable_loss=ACCEPTABLE, train_inputs=self.data[0], val_inputs=held_out[0],
        )  # fmt: skip


@dataclass
class Case:
    """A run in trouble, a simpler model's training loss, and the run after the remedy."""

    trouble: Run
    baseline: float
    mended: Run


def case(
    trouble: Run, simpler: Callable[[], nn.Module], mended: Run, held_out: Split, epochs: int
) -> Case:
    """Train the simpler model, then the run in trouble and the mended one, both diagnosed."""
    baseline = train(simpler(), trouble.data, held_out, epochs)["loss"][-1]
    for run in (trouble, mended):
        run.go(held_out, baseline, epochs)
    return Case(trouble, baseline, mended)


def cases(epochs: int) -> list[Case]:
    """The four troubles."""
    pf.manual_seed(0)
    data, held_out = digits()
    odd, odd_held_out = ((x, y % 2) for x, y in (data, held_out))
    few = (data[0][:150], data[1][:150])
    other = scanned(held_out)
    return [
        case(Run("odd or even, by a linear model", linear, odd), coarse,
             Run("128 hidden units", wide, odd), odd_held_out, epochs),
        case(Run("twelve sigmoid layers, plain gradient descent", deep, data,
                 lambda p: pf.optim.SGD(p, lr=0.1)), linear,
             Run("ReLU, layer norm, residual connections, dropout, Adam", residual, data),
             held_out, epochs),
        case(Run("150 digits, 128 hidden units", wide, few), linear,
             Run("all digits, convolution, dropout", dropped, data), held_out, epochs),
        case(Run("validated on another scanner", wide, data), linear,
             Run("training data of that scanner, convolution, dropout", dropped, scanned(data)),
             other, epochs),
    ]  # fmt: skip


def draw(found: list[Case]) -> Any:
    """One panel a case: the curves, the simpler model, the cure."""
    from matplotlib import pyplot as plt

    figure, axes = plt.subplots(2, 2, figsize=(11, 7.5), layout="constrained", sharex=True)
    for ax, c in zip(axes.flat, found, strict=True):
        epochs = c.trouble.history["epoch"]
        ax.plot(epochs, c.trouble.history["loss"], color="#0072B2", label="training")
        ax.plot(epochs, c.trouble.history["val_loss"], color="#D55E00", label="validation")
        ax.plot(epochs, c.mended.history["val_loss"], color="#009E73", ls="--",
                label="validation, mended")  # fmt: skip
        ax.axhline(c.baseline, color="#666666", ls=":", label="simpler model, training")
        ax.axhspan(1e-3, ACCEPTABLE, color="#F0F0F0", zorder=0)
        ax.annotate("acceptable", (epochs[-1], 1.1e-3), ha="right", va="bottom", fontsize=8,
                    color="#777777")  # fmt: skip
        ax.set_title(
            f"{c.trouble.found.kind}: {c.trouble.what}\nmended by {c.mended.what}", fontsize=10
        )
        ax.set(yscale="log", ylim=(1e-3, 6))
    for ax in axes[1]:
        ax.set_xlabel("epoch")
    for ax in axes[:, 0]:
        ax.set_ylabel("cross-entropy (nats)")
    axes[0, 1].legend(fontsize=8, loc="lower left")
    return figure


def main(argv: Sequence[str] | None = None) -> int:
    """Print the four diagnoses and draw them."""
    chosen = options(__doc__, argv)
    found = cases(2 if chosen.quick else 60)
    for c in found:
        print(f"== {c.trouble.what}\n{c.trouble.found}")
        print(f"mended by {c.mended.what}: training {c.mended.history['loss'][-1]:.3g}, ", end="")
        print(f"validation {c.mended.history['val_loss'][-1]:.3g}; {c.mended.found.kind}\n")
    save(draw(found), chosen.output / "diagnosis.png")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
