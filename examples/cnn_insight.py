"""What is inside a CNN that reads real digits: its size, its fields, its filters, its reasons.

python examples/cnn_insight.py --output docs/figures
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from figures import options, save
from matplotlib import pyplot as plt
from tqdm import tqdm

import pyfast as pf
from pyfast import nn
from pyfast.demo import load_digits


def trained(epochs: int) -> nn.Sequential:
    """A CNN after some epochs of AdamW."""
    pf.manual_seed(0)
    model = nn.Sequential(
        nn.Conv2d(1, 16, 3, padding=1), nn.ReLU(),
        nn.Conv2d(16, 16, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(16, 32, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
        nn.Flatten(), nn.Dropout(0.3), nn.Linear(128, 10),
    )  # fmt: skip
    loader = pf.data.DataLoader(load_digits()[0], 64, shuffle=True, seed=0)
    optimizer = pf.optim.AdamW(model.parameters(), lr=3e-3)
    for _ in tqdm(range(epochs), desc="training", unit="epoch"):
        for x, y in loader:
            optimizer.zero_grad()
            pf.ops.cross_entropy(model(pf.Tensor(x)), y).backward()
            optimizer.step()
    return model.eval()


def fields_figure(model: nn.Sequential, images: Any) -> Any:
    """The field of each convolution's middle neuron: its box, and how strongly pixels count."""
    figure, panels = plt.subplots(1, 4, figsize=(13, 3.2), layout="constrained")
    fields = {f.name: f for f in pf.analysis.receptive_field(model, (1, 8, 8))}
    print(f"\n{'layer':<12}{'field':>8}{'stride':>8}{'first pixel':>13}{'by gradient':>13}")
    for name, field in fields.items():
        if not any(field.stride):
            continue
        seen = pf.analysis.gradient_receptive_field(model, name, (1, 8, 8))
        rows, columns = np.flatnonzero(seen.any(1)), np.flatnonzero(seen.any(0))
        middle = tuple(n // 2 for n in field.output_size)
        box = field.box(middle, (8, 8))
        agrees = (box[0].start, box[0].stop, box[1].start, box[1].stop) == (
            rows[0], rows[-1] + 1, columns[0], columns[-1] + 1)  # fmt: skip
        print(f"{name + ' ' + field.kind:<12}{field.size[0]:>6}×{field.size[1]}{field.stride[0]:>8}"
              f"{field.start[0]:>13}{'agrees' if agrees else 'DIFFERS':>13}")  # fmt: skip
    panels[0].set_title("a digit, and three boxes")
    pf.plot.receptive_field(images[0, 0], ax=panels[0])
    for ax, name in zip(panels[1:], ("0", "2", "5"), strict=True):
        field = fields[name]
        middle = tuple(n // 2 for n in field.output_size)
        strength = pf.analysis.effective_receptive_field(model, name, images)
        pf.plot.receptive_field(images[0, 0], field.box(middle, (8, 8)), strength,
                                label="mean |gradient|, relative", ax=ax)  # fmt: skip
        ax.set_title(f"{field.kind} {name}: sees {field.size[0]} × {field.size[1]}")
    panels[0].set_title("one of the digits")
    return figure


def maps_figure(model: nn.Sequential, image: Any) -> Any:
    """The first filters, and what two layers make of one digit."""
    maps = pf.analysis.feature_maps(model, image[None], ["1", "6"])
    figure, panels = plt.subplots(1, 3, figsize=(12, 3.8), layout="constrained")
    pf.plot.filters(model[0].weight.data, ax=panels[0])
    panels[0].set_title("16 filters of the first layer, 3 × 3")
    pf.plot.feature_maps(maps["1"][0], ax=panels[1])
    panels[1].set_title("their 16 feature maps of one digit")
    pf.plot.feature_maps(maps["6"][0], columns=8, ax=panels[2])
    panels[2].set_title("32 maps of the third convolution")
    return figure


def saliency_figure(model: nn.Sequential, images: Any, labels: Any) -> Any:
    """Reasons for four digits, by three methods."""
    chosen = [int(np.flatnonzero(labels == digit)[0]) for digit in (0, 3, 4, 7)]
    x = images[chosen]
    figure, panels = plt.subplots(3, 4, figsize=(8.5, 6.6), layout="constrained")
    names = {"gradient": "gradient", "smoothgrad": "SmoothGrad", "integrated": "integrated"}
    for row, (method, name) in zip(panels, names.items(), strict=True):
        values = pf.analysis.saliency(model, x, labels[chosen], method=method)
        for ax, image, value, label in zip(row, x, values, labels[chosen], strict=True):
            pf.plot.saliency(image[0], value[0], ax=ax)
            ax.set_title(f"{name}: for {label}", fontsize=9)
    figure.suptitle("red speaks for the digit, blue against it; the line outlines the ink")
    return figure


def main(argv: Sequence[str] | None = None) -> int:
    """Run the example."""
    chosen = options(__doc__, argv)
    images, labels = load_digits()[1]
    model = trained(2 if chosen.quick else 15)
    predicted = np.asarray(model(images)).argmax(1)
    print(pf.summary(model, (1, 1, 8, 8)))
    print(f"\nheld-out accuracy {np.mean(predicted == labels):.2%}")
    save(fields_figure(model, images), chosen.output / "receptive_fields.png")
    save(maps_figure(model, images[0]), chosen.output / "feature_maps.png")
    save(saliency_figure(model, images, labels), chosen.output / "saliency.png")
    counts = np.zeros((10, 10), np.int64)
    np.add.at(counts, (labels, predicted), 1)
    figure, ax = plt.subplots(figsize=(5.4, 4.4), layout="constrained")
    pf.plot.confusion(counts, ax=ax)
    save(figure, chosen.output / "confusion.png")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
