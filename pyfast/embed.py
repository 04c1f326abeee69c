"""``pyfast embed``: which sentences of some files are nearest to each other in meaning."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from .models.sentence import SentenceEncoder
from .nn.fuse import fuse

__all__ = ["nearest", "read_sentences", "run"]

Array = np.ndarray[Any, Any]


def read_sentences(files: Sequence[Path]) -> list[str]:
    """The lines of some files that are not blank.

    Parameters
    ----------
    files : sequence of Path
        UTF-8 text, a sentence a line.

    Returns
    -------
    list of str

    Raises
    ------
    OSError
        If a file cannot be read.
    ValueError
        If it is no UTF-8 text.
    """
    sentences = []
    for file in files:
        try:
            lines = file.read_text(encoding="utf-8").splitlines()
        except UnicodeDecodeError as problem:
            raise ValueError(f"{file} is no UTF-8 text: {problem.reason}") from None
        sentences += [line.strip() for line in lines if line.strip()]
    return sentences


def nearest(queries: Array, vectors: Array, count: int, themselves: bool) -> tuple[Array, Array]:
    """The nearest vectors of each query, the nearest first.

    Parameters
    ----------
    queries : array of shape (Q, width)
        Rows of length 1, here and below.
    vectors : array of shape (N, width)
    count : int
    themselves : bool
        Whether the queries are the vectors: none is its own neighbour.

    Returns
    -------
    indices : array of shape (Q, count)
    cosines : array of shape (Q, count)

    Examples
    --------
    >>> unit = np.eye(3)[[0, 1, 0]]
    >>> nearest(unit, unit, 1, themselves=True)[0].ravel()
    array([2, 0, 0])
    """
    count = min(count, len(vectors) - themselves)
    indices = np.empty((len(queries), count), np.int64)
    cosines = np.empty((len(queries), count), np.float32)
    for start in range(0, len(queries), 512):  # never all pairs at once
        block = slice(start, start + 512)
        products = queries[block] @ vectors.T
        if themselves:
            rows = np.arange(len(products))
            products[rows, start + rows] = -np.inf
        best = np.argsort(-products, axis=1, kind="stable")[:, :count]
        indices[block] = best
        cosines[block] = np.take_along_axis(products, best, 1)
    return indices, cosines


def run(
    files: Sequence[Path],
    queries: Sequence[str] = (),
    count: int = 3,
    model: Path | None = None,
    output: Path | None = None,
    batch_size: int = 32,
) -> int:
    """The whole command.

    Parameters
    ----------
    files : sequence of Path
    queries : sequence of str
        What to look for; without any, each sentence's neighbours are shown.
    count : int
        Neighbours shown of each.
    model : Path, optional
        Folder of the model; default: all-MiniLM-L6-v2.
    output : Path, optional
        Where the embeddings are written, as .npy.
    batch_size : int

    Returns
    -------
    int
        0.

    Raises
    ------
    OSError, ImportError, ValueError
        For what cannot be read; the message is one line.
    """
    sentences = read_sentences(files)
    if len(sentences) < (1 if queries else 2):
        raise ValueError(f"{len(sentences)} sentences in {', '.join(map(str, files))}: too few")
    encoder = SentenceEncoder.from_pretrained(model)
    encoder.model = fuse(encoder.model)
    start = time.perf_counter()
    vectors = encoder.encode(sentences, batch_size, progress=True)
    seconds = time.perf_counter() - start
    print(
        f"{len(sentences)} sentences, {encoder.embedding_dim} features each, {seconds:.2f} s "
        f"({len(sentences) / seconds:.0f} sentences per second)"
    )
    if output is not None:
        with output.open("wb") as file:
            np.save(file, vectors)
    asked = list(queries) or sentences
    near = nearest(encoder.encode(asked) if queries else vectors, vectors, count, not queries)
    for text, indices, cosines in zip(asked, *near, strict=True):
        print(f"\n{text}")
        for i, cosine in zip(indices, cosines, strict=True):
            print(f"  {cosine:5.2f}  {sentences[i]}")
    return 0
