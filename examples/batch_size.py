"""The batch size on real digits: time, loss, accuracy and the sharpness of the minimum.

Three claims of the course are put to the test: on parallel hardware the time of an update hardly
grows with the batch, up to a point; smaller batches reach a lower loss; and generalise better, in
flatter minima. A learning rate suits one batch size, so every size gets its best of four (by the
training loss): once with the same epochs for all, once with the same updates.

    python examples/batch_size.py --output docs/figures
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from figures import options, save
from matplotlib import pyplot as plt
from tqdm import tqdm

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


Tradeoff = pf.analysis.BatchSizeTradeoff
RATES = (0.005, 0.02, 0.08, 0.3)


def measure(sizes: Sequence[int], rates: dict[int, float], **settings: Any) -> Tradeoff:
    """Train with every size, at a learning rate for each."""
    train, test = load_digits()
    return pf.analysis.batch_size_tradeoff(
        make_model, train, test, sizes,
        optimizer=lambda p, b: pf.optim.SGD(p, lr=rates[b], momentum=0.9), **settings,
    )  # fmt: skip


def best_rates(sizes: Sequence[int], **settings: Any) -> dict[int, float]:
    """For every size the learning rate that reaches the lowest mean training loss."""
    chosen = {}
    for size in tqdm(sizes, desc="learning rates", unit="size"):
        losses = {}
        for lr in RATES:
            try:
                runs = measure([size], {size: lr}, measure_sharpness=False, **settings)
            except ValueError:  # the loss was not finite
                continue
            losses[lr] = float(runs.values("train_loss").mean())
        chosen[size] = min(losses, key=lambda lr: losses[lr])
    return chosen


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
    sharp = {"measure_sharpness": not chosen.quick}

    timed = measure(sizes, dict.fromkeys(sizes, 0.02), epochs=epochs, measure_sharpness=False)
    print(f"\nSGD, momentum 0.9, lr 0.02 for all, {epochs} epochs, one seed\n{timed}")
    save(panels(timed, "One core, one thread", ["update time", "epoch time"]),
         out / "batch_size_time.png")  # fmt: skip
    for name, budget in (("epochs", {"epochs": epochs}), ("updates", {"updates": updates})):
        rates = best_rates(sizes, seeds=seeds, **budget)
        result = measure(sizes, rates, seeds=seeds, **budget, **sharp)
        title = f"The same {budget[name]} {name} for every size, each at its best learning rate"
        print(f"\n{title}\nlearning rates: {rates}; means over {len(seeds)} seeds\n{result}")
        save(panels(result, title, ["loss", "accuracy", "sharpness"]),
             out / f"batch_size_{name}.png")  # fmt: skip
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
