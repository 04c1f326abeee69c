"""Attention weights and positional encodings as images."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

__all__ = ["attention_heads", "attention_map", "positional_encoding"]


def _axes(ax: Any) -> Any:
    if ax is not None:
        return ax
    import matplotlib.pyplot as plt

    return plt.subplots(layout="constrained")[1]


def _matrix(array: Any, name: str) -> Any:
    matrix = np.asarray(array)
    if matrix.ndim != 2 or matrix.size == 0:
        raise ValueError(f"{name} must be a matrix, not empty, got shape {matrix.shape}")
    return matrix


def attention_map(
    weights: Any,
    queries: Sequence[str] | None = None,
    keys: Sequence[str] | None = None,
    ax: Any = None,
) -> Any:
    """Where each query looks: one row each, dark where the weight is.

    Parameters
    ----------
    weights : array of shape (queries, keys)
        Not negative; the darkest is the largest of all.
    queries, keys : sequences of str, optional
        Their tokens.
    ax : matplotlib Axes, optional
        Default: new ones.

    Returns
    -------
    matplotlib Axes

    Raises
    ------
    ValueError
        If the weights are no matrix, or there are more or fewer tokens.

    Examples
    --------
    >>> import matplotlib
    >>> matplotlib.use("Agg")
    >>> ax = attention_map([[0.9, 0.1]], queries=["y"], keys=["a", "b"])
    >>> [label.get_text() for label in ax.get_xticklabels()]
    ['a', 'b']
    """
    matrix = _matrix(weights, "attention_map: weights")
    for name, tokens, size in zip(("queries", "keys"), (queries, keys), matrix.shape, strict=True):
        if tokens is not None and len(tokens) != size:
            raise ValueError(f"attention_map: {name} must be {size} tokens, got {len(tokens)}")
    ax = _axes(ax)
    image = ax.imshow(matrix, cmap="Blues", vmin=0, aspect="auto", interpolation="nearest")
    if keys is not None:
        ax.set_xticks(range(len(keys)), list(keys))
    if queries is not None:
        ax.set_yticks(range(len(queries)), list(queries))
    ax.set(xlabel="key", ylabel="query")
    ax.figure.colorbar(image, ax=ax, label="weight")
    return ax


def attention_heads(
    weights: Any, queries: Sequence[str] | None = None, keys: Sequence[str] | None = None
) -> Any:
    """The maps of several heads side by side.

    Parameters
    ----------
    weights : array of shape (heads, queries, keys)
    queries, keys : sequences of str, optional

    Returns
    -------
    array of matplotlib Axes, of shape (heads,)

    Raises
    ------
    ValueError
        If the shapes do not fit.

    Examples
    --------
    >>> import matplotlib
    >>> matplotlib.use("Agg")
    >>> attention_heads(np.full((2, 3, 3), 1 / 3)).shape
    (2,)
    """
    import matplotlib.pyplot as plt

    stack = np.asarray(weights)
    if stack.ndim != 3 or stack.size == 0:
        raise ValueError(
            f"attention_heads: weights must have shape (heads, queries, keys), got {stack.shape}"
        )
    size = (3.6 * len(stack), 3.4)
    axes = plt.subplots(1, len(stack), figsize=size, squeeze=False, layout="constrained")[1][0]
    for i, (ax, head) in enumerate(zip(axes, stack, strict=True)):
        attention_map(head, queries, keys, ax).set_title(f"head {i}")
    return axes


def positional_encoding(table: Any, ax: Any = None) -> Any:
    """The vector added at each position: one row each.

    Parameters
    ----------
    table : array of shape (positions, width)
        As :class:`pyfast.nn.SinusoidalPositionalEncoding` or a learned embedding holds it.
    ax : matplotlib Axes, optional

    Returns
    -------
    matplotlib Axes

    Raises
    ------
    ValueError
        If it is no matrix.

    Examples
    --------
    >>> import matplotlib
    >>> matplotlib.use("Agg")
    >>> positional_encoding(np.eye(3)).get_ylabel()
    'position'
    """
    matrix = _matrix(table, "positional_encoding: table")
    ax = _axes(ax)
    limit = float(np.abs(matrix).max()) or 1.0
    image = ax.imshow(
        matrix, cmap="RdBu_r", vmin=-limit, vmax=limit, aspect="auto", interpolation="nearest"
    )
    ax.set(xlabel="feature", ylabel="position")
    ax.figure.colorbar(image, ax=ax, label="value")
    return ax
