"""What a pretrained model knows of meaning: the standard library's docstrings, embedded.

The first sentence of each docstring in some modules of Python's standard library goes through
all-MiniLM-L6-v2. Is the nearest sentence one of the same module? The model has never been told of
modules; TF-IDF, which counts words, is the measure to beat.

    python examples/embed_sentences.py --output docs/figures

Result, Python 3.11, 1,299 sentences from 31 modules, 9 seconds on one core: 80.7 % of nearest
sentences are of the same module, 75.7 % by TF-IDF, 4.8 % by chance.
"""

from __future__ import annotations

import importlib
import inspect
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from figures import options, save

from pyfast.embed import nearest
from pyfast.models import SentenceEncoder

MODULES = (
    "calendar", "collections", "csv", "datetime", "decimal", "email.message", "fractions", "ftplib",
    "gzip", "hashlib", "http.client", "imaplib", "inspect", "json", "locale", "logging", "mailbox",
    "math", "pathlib", "pdb", "random", "smtplib", "socket", "sqlite3", "statistics", "subprocess",
    "tarfile", "threading", "turtle", "unittest.case", "zipfile",
)  # fmt: skip


def first_sentence(thing: Any) -> str:
    """The docstring's, on one line; empty where there is none to speak of."""
    text = inspect.getdoc(thing) or ""
    sentence = re.split(r"\.\s|\n\s*\n", text)[0]
    sentence = " ".join(sentence.split()).rstrip(".")
    return sentence if 20 <= len(sentence) <= 200 and sentence.count(" ") >= 3 else ""


def documented(module: Any) -> list[Any]:
    """Functions and classes that a module defines, and the methods of its classes."""
    things = []
    for name, thing in sorted(vars(module).items()):
        if name.startswith("_") or not (inspect.isclass(thing) or inspect.isroutine(thing)):
            continue
        if getattr(thing, "__module__", None) not in (module.__name__, None):
            continue
        things.append(thing)
        if inspect.isclass(thing):
            members = sorted(vars(thing).items())
            things += [m for n, m in members if not n.startswith("_") and inspect.isroutine(m)]
    return things


def sentences_of(modules: Sequence[str]) -> tuple[list[str], Any]:
    """Sentences, no two the same, and the number of the module each is from."""
    found: dict[str, int] = {}
    for number, name in enumerate(modules):
        for thing in documented(importlib.import_module(name)):
            sentence = first_sentence(thing)
            if sentence:
                found.setdefault(sentence, number)
    return list(found), np.array(list(found.values()))


def hit_rate(vectors: Any, labels: Any) -> float:
    """How often the nearest other sentence is of the same module."""
    indices, _ = nearest(vectors, vectors, 1, themselves=True)
    return float(np.mean(labels[indices[:, 0]] == labels))


def word_counts(sentences: Sequence[str]) -> Any:
    """TF-IDF vectors of length 1."""
    from sklearn.feature_extraction.text import TfidfVectorizer

    return TfidfVectorizer(sublinear_tf=True).fit_transform(sentences).toarray()


def draw(path: Path, vectors: Any, labels: Any, modules: Sequence[str], rates: Any) -> None:
    """A map of all sentences, and how often neighbours are of one module."""
    from matplotlib import pyplot as plt
    from sklearn.manifold import TSNE

    perplexity = min(30, len(vectors) // 4)
    flat = TSNE(metric="cosine", init="pca", perplexity=perplexity, random_state=0).fit_transform(
        vectors.astype(np.float64)
    )
    figure, (left, right) = plt.subplots(
        1, 2, figsize=(13, 6.5), layout="constrained", width_ratios=[2.6, 1]
    )
    colours = plt.get_cmap("tab20")(np.arange(len(modules)) % 20)
    left.scatter(*flat.T, color=colours[labels], s=12)
    for number, name in enumerate(modules):
        x, y = np.median(flat[labels == number], axis=0)
        left.annotate(name, (x, y), ha="center", va="center", fontsize=9, weight="bold",
                      bbox={"boxstyle": "round", "fc": "white", "ec": colours[number],
                            "alpha": 0.8, "pad": 0.15})  # fmt: skip
    left.set(title=f"{len(vectors)} first sentences of docstrings, by meaning (t-SNE)")
    left.axis("off")
    bars = right.bar(list(rates), [100 * r for r in rates.values()],
                     color=["#0072B2", "#E69F00", "#999999"])  # fmt: skip
    right.bar_label(bars, fmt="%.0f %%")
    right.set(ylabel="nearest sentence is of the same module (%)", ylim=(0, 100))
    save(figure, path)


def main(argv: Sequence[str] | None = None) -> dict[str, float]:
    """Embed, compare, draw; returns the hit rates."""
    chosen = options(__doc__, argv)
    modules = MODULES[:5] if chosen.quick else MODULES
    sentences, labels = sentences_of(modules)
    print(f"{len(sentences)} sentences from {len(modules)} modules")
    vectors = SentenceEncoder.from_pretrained().encode(sentences, progress=True)
    shares = np.bincount(labels) / len(labels)
    rates = {
        "MiniLM": hit_rate(vectors, labels),
        "TF-IDF": hit_rate(word_counts(sentences), labels),
        "chance": float(np.square(shares).sum()),
    }
    for name, rate in rates.items():
        print(f"{name:<7} {rate:7.2%} of nearest sentences are of the same module")
    draw(chosen.output / "embed_sentences.png", vectors, labels, modules, rates)
    return rates


if __name__ == "__main__":
    main()
