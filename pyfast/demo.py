"""``pyfast demo``: a CNN learns real handwritten digits, from data to saved weights and a figure.

The data are scikit-learn's 1,797 images of 8 × 8 pixels (Alpaydin and Kaynak, UCI repository,
1998). A quarter, fixed and stratified, is held out and looked at once, at the end.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

import pyfast as pf
from pyfast import nn
from pyfast.extras import load_bench

__all__ = ["build_model", "evaluate", "load_digits", "run", "train"]

Array = np.ndarray[Any, Any]
Split = tuple[Array, Array]


def load_digits() -> tuple[Split, Split]:
    """The digits as (images, labels), split into training and a fixed held-out quarter.

    Returns
    -------
    (train_images, train_labels), (test_images, test_labels)
        Images of shape (N, 1, 8, 8), float32 in [0, 1]; labels of shape (N,), int64.

    Examples
    --------
    >>> (images, labels), (held_out, _) = load_digits()
    >>> images.shape, held_out.shape
    ((1347, 1, 8, 8), (450, 1, 8, 8))
    """
    from sklearn import datasets, model_selection

    digits = datasets.load_digits()
    images = (digits.images[:, None] / 16).astype(np.float32)
    labels = digits.target.astype(np.int64)
    train_x, test_x, train_y, test_y = model_selection.train_test_split(
        images, labels, test_size=0.25, random_state=0, stratify=labels
    )
    return (train_x, train_y), (test_x, test_y)


def build_model() -> nn.Sequential:
    """The demo's CNN: two blocks of convolution, batch norm, ReLU, then pooling and two layers.

    Returns
    -------
    Sequential
        Takes images of shape (N, 1, 8, 8), gives logits of shape (N, 10).

    Examples
    --------
    >>> build_model()(np.zeros((2, 1, 8, 8), np.float32)).shape
    (2, 10)
    """
    return nn.Sequential(
        nn.Conv2d(1, 32, 3, padding=1, bias=False),
        nn.BatchNorm2d(32),
        nn.ReLU(),
        nn.Conv2d(32, 64, 3, padding=1, bias=False),
        nn.BatchNorm2d(64),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Dropout(0.25),
        nn.Conv2d(64, 128, 3, padding=1, bias=False),
        nn.BatchNorm2d(128),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Dropout(0.4),
        nn.Linear(512, 10),
    )


def shifted(images: Array, rng: np.random.Generator) -> Array:
    """Each image moved by at most one pixel each way: the augmentation of the training set.

    Parameters
    ----------
    images : array of shape (N, 1, H, W)
    rng : numpy.random.Generator

    Returns
    -------
    array of shape (N, 1, H, W)
        Pixels that enter are 0.
    """
    padded = np.pad(images, ((0, 0), (0, 0), (1, 1), (1, 1)))
    windows = np.lib.stride_tricks.sliding_window_view(padded, images.shape[2:], axis=(2, 3))
    at = rng.integers(0, 3, (2, len(images)))
    return np.ascontiguousarray(windows[np.arange(len(images)), :, at[0], at[1]])


def evaluate(model: nn.Module, data: Split, batch_size: int = 256) -> tuple[float, Array]:
    """Mean cross-entropy and the predicted labels, in evaluation mode.

    Parameters
    ----------
    model : Module
    data : (images, labels)
    batch_size : int

    Returns
    -------
    loss : float
    predictions : array of shape (N,), int64
    """
    images, labels = data
    model.eval()
    logits = np.concatenate(
        [model(images[i : i + batch_size]) for i in range(0, len(images), batch_size)]
    )
    model.train()
    return float(pf.ops.cross_entropy(logits, labels)), logits.argmax(1)


def learning_rate(step: int, steps: int, peak: float = 3e-3, warm_up: int = 40) -> float:
    """Linear warm-up to `peak`, then half a cosine down to zero."""
    if step < warm_up:
        return peak * (step + 1) / warm_up
    return 0.5 * peak * (1 + float(np.cos(np.pi * (step - warm_up) / max(1, steps - warm_up))))


def train(
    model: nn.Module, data: Split, held_out: Split, epochs: int, seed: int
) -> Iterator[dict[str, float]]:
    """Train with AdamW and cross-entropy, one epoch per item.

    The held-out loss is only recorded for the curve: nothing is chosen by it.

    Yields
    ------
    dict
        epoch, train_loss (mean over the epoch's batches), held_out_loss, seconds (training only).
    """
    from tqdm import tqdm

    rng = np.random.default_rng(seed)
    loader = pf.data.DataLoader(data, batch_size=64, shuffle=True, seed=seed)
    optimizer = pf.optim.AdamW(model.parameters(), lr=3e-3, weight_decay=0.02)
    steps = epochs * len(loader)
    seconds = 0.0
    with tqdm(total=steps, desc="training", unit="step") as bar:
        for epoch in range(epochs):
            losses = []
            start = time.perf_counter()
            for images, labels in loader:
                optimizer.param_groups[0]["lr"] = learning_rate(int(bar.n), steps)
                inputs = pf.Tensor(shifted(images, rng))
                loss = pf.ops.cross_entropy(model(inputs), labels, label_smoothing=0.05)
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
                losses.append(loss.item())
                bar.update()
            seconds += time.perf_counter() - start
            held_out_loss = evaluate(model, held_out)[0]
            bar.set_postfix(loss=f"{np.mean(losses):.3f}")
            yield {
                "epoch": epoch + 1,
                "train_loss": float(np.mean(losses)),
                "held_out_loss": held_out_loss,
                "seconds": seconds,
            }


def confusion_matrix(labels: Array, predictions: Array) -> Array:
    """Counts of shape (10, 10): true label by row, prediction by column."""
    counts = np.zeros((10, 10), np.int64)
    np.add.at(counts, (labels, predictions), 1)
    return counts


def confusion_text(counts: Array) -> str:
    """The confusion as a table, zeros as dots so that mistakes stand out."""
    lines = ["true \\ predicted  " + "".join(f"{d:>5}" for d in range(10))]
    for digit, row in enumerate(counts):
        cells = "".join(f"{n if n else '.':>5}" for n in row)
        lines.append(f"{digit:>4}              {cells}")
    return "\n".join(lines)


def figure(
    path: Path, history: list[dict[str, float]], filters: Array, data: Split, predictions: Array
) -> None:
    """Loss curves, the first layer's filters and some predictions, mistakes first."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    canvas: Any = plt.figure(figsize=(11, 7), layout="constrained")
    top, bottom = canvas.subfigures(2, 1, height_ratios=[1.15, 1])
    curves, bank = top.subfigures(1, 2, width_ratios=[1.3, 1])
    axes = curves.subplots()
    epochs = [h["epoch"] for h in history]
    axes.plot(epochs, [h["train_loss"] for h in history], color="#0072B2", marker="o", ms=3,
              label="training (augmented, smoothed labels)")  # fmt: skip
    axes.plot(epochs, [h["held_out_loss"] for h in history], color="#D55E00", marker="s", ms=3,
              label="held-out quarter")  # fmt: skip
    axes.set(xlabel="epoch", ylabel="cross-entropy (nats)", yscale="log", title="Loss")
    axes.xaxis.get_major_locator().set_params(integer=True)
    axes.legend()
    bank.suptitle("First-layer filters (3 × 3)")
    limit = float(np.abs(filters).max())
    for ax, kernel in zip(bank.subplots(4, 8).flat, filters[:, 0], strict=False):
        ax.imshow(kernel, cmap="RdBu_r", vmin=-limit, vmax=limit)
        ax.axis("off")
    images, labels = data
    wrong = np.flatnonzero(predictions != labels)
    right = np.flatnonzero(predictions == labels)
    shown = np.concatenate([wrong, right])[:24]
    bottom.suptitle("Held-out digits: predicted (true), mistakes first")
    for ax, i in zip(bottom.subplots(2, 12).flat, shown, strict=False):
        ax.imshow(images[i, 0], cmap="gray_r")
        good = predictions[i] == labels[i]
        ax.set_title(f"{predictions[i]} ({labels[i]})", color="black" if good else "#D55E00")
        ax.axis("off")
    canvas.savefig(path, dpi=110)
    plt.close(canvas)


def kernel_table() -> list[dict[str, Any]]:
    """A few kernels on this machine against NumPy and, where installed, PyTorch.

    Returns
    -------
    list of dict
        kernel, shape, milliseconds per library, GFLOP/s or GB/s of pyfast; one thread each.
    """
    bench = load_bench("short")
    return list(bench.short_table()) if bench else []


def run(output: Path, epochs: int, seed: int, json_file: Path | None = None) -> int:
    """The whole demo; what ``pyfast demo`` calls.

    Parameters
    ----------
    output : Path
        Folder for ``digits.safetensors`` and ``digits.png``; made if absent.
    epochs, seed : int
    json_file : Path, optional
        Where every figure shown is written.

    Returns
    -------
    int
        0.
    """
    output.mkdir(parents=True, exist_ok=True)
    pf.manual_seed(seed)
    data, held_out = load_digits()
    model = build_model()
    count = sum(p.size for p in model.parameters())
    print(f"{len(data[1])} digits to learn from, {len(held_out[1])} held out, {count:,} parameters")
    history = list(train(model, data, held_out, epochs, seed))
    predictions = evaluate(model, held_out)[1]
    accuracy = float(np.mean(predictions == held_out[1]))
    counts = confusion_matrix(held_out[1], predictions)
    seconds = history[-1]["seconds"]
    print(f"\naccuracy on the held-out quarter: {accuracy:.2%} after {seconds:.1f} s of training")
    print(confusion_text(counts))
    weights, picture = output / "digits.safetensors", output / "digits.png"
    pf.save(model.state_dict(), weights)
    figure(picture, history, np.asarray(model.state_dict()["0.weight"]), held_out, predictions)
    print(f"\nweights: {weights}\nfigure:  {picture}\n")
    table = kernel_table()
    print(kernel_text(table))
    if json_file:
        figures = {
            "accuracy": accuracy,
            "training_seconds": seconds,
            "parameters": count,
            "confusion": counts.tolist(),
            "history": history,
            "kernels": table,
        }
        json_file.write_text(json.dumps(figures, indent=2) + "\n")
    return 0


def kernel_text(rows: list[dict[str, Any]]) -> str:
    """The table of :func:`kernel_table`, aligned."""
    if not rows:
        return "no kernel table: the benchmarks are not installed"
    names = list(dict.fromkeys(name for row in rows for name in row["milliseconds"]))
    lines = [f"{'kernel (one thread)':<46}" + "".join(f"{n + ' ms':>12}" for n in names) + "  rate"]
    for row in rows:
        times = "".join(
            f"{row['milliseconds'][n]:>12.3f}" if n in row["milliseconds"] else f"{'-':>12}"
            for n in names
        )
        lines.append(f"{row['kernel'] + ' ' + row['shape']:<46}{times}  {row['rate']}")
    return "\n".join(lines)
