"""N to N: the lexical class of each character of Python source.

A Transformer encoder behind two small convolutions labels every character of the standard
library's modules: space, name, keyword, number, string, comment or operator. The labels come from
the standard tokenizer. A tenth of the files is held out. Source is read in windows of whole lines;
the first input of each says in which class the line before ended, so that a docstring may be
longer than a window. At test time that is the model's own answer.

    pip install 'pyfast-nn[examples]'
    python examples/token_classes.py
"""

from __future__ import annotations

import argparse
import io
import keyword
import os
import time
import tokenize
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

import pyfast as pf
from pyfast import nn
from pyfast.demo import learning_rate

CLASSES = ("space", "name", "keyword", "number", "string", "comment", "operator")
SPACE, NAME, KEYWORD, NUMBER, STRING, COMMENT, OPERATOR = range(len(CLASSES))
KINDS = {"NAME": NAME, "NUMBER": NUMBER, "STRING": STRING, "COMMENT": COMMENT, "OP": OPERATOR}
FIRST_CHARACTER = len(CLASSES)  # inputs 0 ... 6 are classes, then come ASCII's characters
INPUTS = FIRST_CHARACTER + 129  # the last is every character beyond ASCII
PADDING = -100

Array = np.ndarray[Any, Any]
Source = tuple[str, Array]


def label(text: str) -> Array:
    """The class of each character, by the standard tokenizer."""
    starts = np.cumsum([0, *(len(line) for line in text.splitlines(keepends=True))])
    labels = np.full(len(text), SPACE)
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        kind = tokenize.tok_name[token.type]
        if kind in KINDS or kind.startswith("FSTRING"):
            (first_row, first), (last_row, last) = token.start, token.end
            of = KEYWORD if keyword.iskeyword(token.string) else KINDS.get(kind, STRING)
            labels[starts[first_row - 1] + first : starts[last_row - 1] + last] = of
    return labels


def load(limit: int | None = None) -> tuple[list[Source], list[Source]]:
    """The standard library's modules and their labels: for training, and a held-out tenth."""
    paths = sorted(Path(os.__file__).parent.glob("*.py"))
    paths = [paths[i] for i in np.random.default_rng(0).permutation(len(paths))][:limit]
    texts = [path.read_text("utf-8").replace("\f", " ") for path in paths]
    files = [(text, label(text)) for text in tqdm(texts, desc="tokenizing") if text]
    held_out = max(1, len(files) // 10)
    return files[held_out:], files[:held_out]


def encode(text: str) -> Array:
    """Input numbers of characters."""
    return np.minimum([ord(c) for c in text], 128) + FIRST_CHARACTER


class Labeller(nn.Module):
    """Characters to logits of their classes.

    Parameters
    ----------
    width : int
    layers : int
        Of the encoder.
    """

    def __init__(self, width: int, layers: int) -> None:
        super().__init__()
        self.embedding = nn.Embedding(INPUTS, width)
        self.near = nn.ModuleList(
            nn.Conv1d(width, width, 5, padding=2, activation="relu") for _ in range(2)
        )
        self.position = nn.SinusoidalPositionalEncoding(width, 4096)
        layer = nn.TransformerEncoderLayer(
            width, 4, 4 * width, dropout=0.0, batch_first=True, norm_first=True
        )
        self.encoder = nn.TransformerEncoder(layer, layers, nn.LayerNorm(width))
        self.output = nn.Linear(width, len(CLASSES))

    def forward(self, inputs: Any, real: Any) -> Any:
        """Logits (batch, length, classes) of inputs (batch, length); `real` is False at padding."""
        x = self.embedding(inputs)
        beside = x.transpose(1, 2)
        for convolution in self.near:
            beside = convolution(beside)
        x = self.position(x + beside.transpose(1, 2), 0)
        return self.output(self.encoder(x, None, ~real))


def window(source: Source, start: int, size: int) -> tuple[Array, Array]:
    """Inputs and labels of at most `size` characters; the class before comes first."""
    text, labels = source
    before = labels[start - 1] if start else SPACE
    part = slice(start, start + size)
    return (
        np.concatenate([[before], encode(text[part])]),
        np.concatenate([[PADDING], labels[part]]),
    )


def stack(windows: list[tuple[Array, Array]]) -> tuple[Array, Array, Array]:
    """Inputs, labels and which are real, padded on the right."""
    longest = max(len(inputs) for inputs, _ in windows)
    inputs = np.zeros((len(windows), longest), np.int64)
    labels = np.full(inputs.shape, PADDING)
    real = np.zeros(inputs.shape, bool)
    for row, (i, classes) in enumerate(windows):
        inputs[row, : len(i)], labels[row, : len(i)], real[row, : len(i)] = i, classes, True
    return inputs, labels, real


def batch(
    files: list[Source], lines: list[Array], count: int, size: int, rng: np.random.Generator
) -> tuple[Array, Array, Array]:
    """Windows that begin at random lines; long files more often."""
    weights = np.array([len(text) for text, _ in files], float)
    chosen = rng.choice(len(files), count, p=weights / weights.sum())
    return stack([window(files[i], int(rng.choice(lines[i])), size) for i in chosen])


def line_starts(text: str) -> Array:
    """Where lines begin."""
    return np.flatnonzero(np.array([True, *(c == "\n" for c in text[:-1])]))


def train(model: Labeller, files: list[Source], steps: int, count: int, size: int) -> list[float]:
    """AdamW with warm-up and cosine decay; the loss of each step."""
    rng = np.random.default_rng(1)
    lines = [line_starts(text) for text, _ in files]
    optimizer = pf.optim.AdamW(model.parameters(), lr=0.0)
    history = []
    for step in (bar := tqdm(range(steps), desc="training", unit="step")):
        optimizer.param_groups[0]["lr"] = learning_rate(step, steps, 2e-3, max(1, steps // 20))
        inputs, labels, real = batch(files, lines, count, size, rng)
        logits = model(inputs, real).reshape(-1, len(CLASSES))
        loss = pf.ops.cross_entropy(logits, labels.ravel())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        history.append(loss.item())
        if step % 20 == 19:
            bar.set_postfix(loss=f"{np.mean(history[-20:]):.4f}")
    return history


def next_window(text: str, start: int, size: int) -> int:
    """Where the window from `start` ends: behind a line, or after `size` characters."""
    if start + size >= len(text):
        return len(text)
    newline = text.rfind("\n", start, start + size)
    return start + size if newline < 0 else newline + 1


def predict(model: Labeller, texts: list[str], size: int) -> list[Array]:
    """Classes of whole files, window after window, files side by side."""
    answers = [np.zeros(len(text), np.int64) for text in texts]
    at = [0] * len(texts)
    model.eval()
    with pf.no_grad(), tqdm(total=sum(map(len, texts)), desc="held out", unit="char") as bar:
        while going := [i for i, text in enumerate(texts) if at[i] < len(text)]:
            ends = [next_window(texts[i], at[i], size) for i in going]
            parts = []
            for i, end in zip(going, ends, strict=True):
                before = answers[i][at[i] - 1] if at[i] else SPACE
                parts.append(np.concatenate([[before], encode(texts[i][at[i] : end])]))
            inputs, _, real = stack([(p, np.full(len(p), PADDING)) for p in parts])
            found = np.asarray(model(inputs, real)).argmax(-1)
            for row, i in enumerate(going):
                answers[i][at[i] : ends[row]] = found[row, 1 : 1 + ends[row] - at[i]]
                bar.update(ends[row] - at[i])
                at[i] = ends[row]
    model.train()
    return answers


def figure(
    path: Path, history: list[float], counts: Array, sample: tuple[str, Array, Array]
) -> None:
    """Loss, confusion, and a piece of held-out source coloured by its predicted classes."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    canvas: Any = plt.figure(figsize=(13, 9), layout="constrained")
    grid = canvas.add_gridspec(2, 2, height_ratios=[1, 1.2])
    axes = canvas.add_subplot(grid[0, 0])
    axes.plot(history, lw=0.8, color="#0072B2")
    axes.set(xlabel="step", ylabel="cross-entropy (nats)", yscale="log", title="Training loss")
    axes = canvas.add_subplot(grid[0, 1])
    share = counts / np.maximum(counts.sum(1, keepdims=True), 1)
    axes.imshow(share, cmap="Blues", vmin=0, vmax=1)
    for (row, column), value in np.ndenumerate(share):
        if value >= 5e-4:
            color = "white" if value > 0.5 else "black"
            axes.text(column, row, f"{value:.1%}", ha="center", va="center", color=color, size=8)
    axes.set_xticks(range(len(CLASSES)), CLASSES, rotation=30)
    axes.set_yticks(range(len(CLASSES)), CLASSES)
    axes.set(xlabel="predicted", ylabel="standard tokenizer", title="Held-out characters")
    axes = canvas.add_subplot(grid[1, :])
    axes.axis("off")
    colors = ("black", "black", "#0072B2", "#CC79A7", "#009E73", "0.5", "#D55E00")
    text, labels, found = sample
    row = column = 0
    for c, truth, guess in zip(text, labels, found, strict=True):
        if c == "\n":
            row, column = row + 1, 0
            continue
        wrong = {"backgroundcolor": "#ffd0d0"} if truth != guess else {}
        axes.text(
            column / 100, 1 - row / 22, c, color=colors[guess], family="monospace", size=9.5,
            va="top", transform=axes.transAxes, **wrong,
        )  # fmt: skip
        column += 1
    axes.set_title("A held-out file, coloured by the predicted class; mistakes on red")
    canvas.savefig(path, dpi=110)
    plt.close(canvas)


def piece(text: str, labels: Array, found: Array) -> tuple[str, Array, Array]:
    """Twenty lines from the first `def` on."""
    lines = line_starts(text)
    at = max(text.find("\ndef "), 0) + 1
    first = int(np.searchsorted(lines, at))
    end = int(lines[min(first + 20, len(lines) - 1)])
    return text[at:end], labels[at:end], found[at:end]


def main(argv: list[str] | None = None) -> float:
    """Train, label the held-out files, draw the figure; the share of right characters."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=600)
    parser.add_argument("--batch-size", type=int, default=24)
    parser.add_argument("--window", type=int, default=256, help="characters")
    parser.add_argument("--width", type=int, default=96)
    parser.add_argument("--layers", type=int, default=3)
    parser.add_argument("--files", type=int, help="use only so many files")
    parser.add_argument("--output", type=Path, default=Path("pyfast-examples"))
    options = parser.parse_args(argv)
    options.output.mkdir(parents=True, exist_ok=True)
    pf.manual_seed(0)
    files, held_out = load(options.files)
    model = Labeller(options.width, options.layers)
    count = sum(p.size for p in model.parameters())
    print(f"{len(files)} files, {len(held_out)} held out, {count:,} parameters")
    begin = time.perf_counter()
    history = train(model, files, options.steps, options.batch_size, options.window)
    print(f"trained in {time.perf_counter() - begin:.0f} s")
    found = predict(model, [text for text, _ in held_out], options.window)
    counts = np.zeros((len(CLASSES),) * 2, np.int64)
    for (_, labels), guesses in zip(held_out, found, strict=True):
        np.add.at(counts, (labels, guesses), 1)
    right = float(np.trace(counts) / counts.sum())
    print(f"{right:.2%} of {counts.sum():,} held-out characters are right")
    for name, row in zip(CLASSES, counts, strict=True):
        if row.sum():
            print(f"    {name:<10}{row[CLASSES.index(name)] / row.sum():8.2%} of {row.sum():,}")
    figure(options.output / "token_classes.png", history, counts, piece(*held_out[0], found[0]))
    print(f"figure: {options.output / 'token_classes.png'}")
    return right


if __name__ == "__main__":
    main()
