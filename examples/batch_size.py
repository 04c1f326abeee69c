"""The batch size on real digits: time, loss, accuracy and the sharpness of the minimum.

Three claims of the course are put to the test: on parallel hardware the time of an update hardly
grows with the batch, up to a point; smaller batches reach a lower loss; and generalise better, in
flatter minima. Once with the same epochs for all, once with the same updates.

    python examples/batch_size.py --output docs/figures
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from figures import options, save
from matplotlib import pyplot as plt

import pyfast as pf
from pyfast import nn
from pyfast.demo import load_digits


def make_model() -> nn.Sequential:
    """A small CNN without batch norm, whose statistics would themselves depend on the batch."""
    return nn.Sequential(
        nn.Conv2d(1, 8, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(8, 16, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
        nn.Flatten(), nn.Linear(64, 10),
    )  # fmt: skip


def measure(
    sizes: Sequence[int], rate: str, **settings: Any
) -> tuple[pf.analysis.BatchSizeTradeoff, str]:
    """Train with every size: one learning rate for all, or one that grows with the batch."""
    train, test = load_digits()
    lr = {"fixed": lambda b: 0.05, "scaled": lambda b: min(0.05 * (b / 32), 0.4)}[rate]
    result = pf.analysis.batch_size_tradeoff(
        make_model, train, test, sizes,
        optimizer=lambda p, b: pf.optim.SGD(p, lr=lr(b), momentum=0.9), **settings,
    )  # fmt: skip
    return result, rate


def panels(result: pf.analysis.BatchSizeTradeoff, title: str, shown: Sequence[str]) -> Any:
    """One panel a quantity."""
    figure, axes = plt.subplots(1, len(shown), figsize=(4.2 * len(shown), 3.6),
                                layout="constrained")  # fmt: skip
    for ax, quantity in zip(axes, shown, strict=True):
        pf.plot.batch_size_tradeoff(result, show=quantity, ax=ax)
    figure.suptitle(title)
    return figure


def main(argv: Sequence[str] | None = None) -> int:
    """Run the example."""
    chosen = options(__doc__, argv)
    out = chosen.output
    sizes = [32, 1347] if chosen.quick else [8, 32, 128, 512, 1347]
    seeds = [0] if chosen.quick else [0, 1, 2]
    epochs, updates = (2, 4) if chosen.quick else (30, 600)
    pf.set_num_threads(1)  # timings that do not depend on who else is busy
    quick = {"measure_sharpness": not chosen.quick}

    result, _ = measure(sizes, "fixed", epochs=epochs, seeds=seeds, **quick)
    print(f"\nSGD, momentum 0.9, lr 0.05 for all, {epochs} epochs, {len(seeds)} seeds\n{result}")
    title = f"The same {epochs} epochs for every batch size (lr 0.05)"
    save(panels(result, title, ["update time", "epoch time", "loss"]), out / "batch_size_time.png")
    save(panels(result, title, ["accuracy", "sharpness"]), out / "batch_size_epochs.png")

    same, _ = measure(sizes, "fixed", updates=updates, seeds=seeds, **quick)
    print(f"\nlr 0.05 for all, {updates} updates whatever the size\n{same}")
    title = f"The same {updates} updates for every batch size (lr 0.05)"
    save(panels(same, title, ["loss", "accuracy", "sharpness"]), out / "batch_size_updates.png")

    scaled, _ = measure(sizes, "scaled", epochs=epochs, seeds=seeds, **quick)
    print(f"\nlr = 0.05 b / 32, at most 0.4, {epochs} epochs\n{scaled}")
    ends = [np.round(100 * same.values("test_accuracy").mean(1)[i], 2) for i in (0, -1)]
    print(f"\ntest accuracy at equal updates: {ends[0]} % (smallest batch), {ends[1]} % (largest)")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
