"""Rows of a table picked by index, and their one-hot twin."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy import ndarray

from .. import _core
from ..autograd import Function, Variable
from ._dispatch import as_array, backend_for, call

__all__ = ["embedding", "one_hot"]


class _Embedding(Function):
    array_args = 2

    @staticmethod
    def forward(ctx: Any, input: Any, weight: Any, padding_idx: int, by_freq: bool) -> Any:
        output = ctx.kernels.embedding(input, weight)
        ctx.save_for_backward(input)
        ctx.settings = weight.shape[0], padding_idx, by_freq
        return output

    @staticmethod
    def backward(ctx: Any, grad: Any) -> Any:
        (input,) = ctx.saved_tensors
        return None, ctx.kernels.embedding_backward(grad, input, *ctx.settings), None, None


class _OneHot(Function):
    array_args = 1

    @staticmethod
    def forward(ctx: Any, input: Any, num_classes: int) -> Any:
        if ctx.kernels is _core:
            return _one_hot(input, num_classes)
        if num_classes == -1:  # the one look at a GPU's values: what is asked for depends on them
            num_classes = int(input.max()) + 1
        return ctx.kernels.one_hot(input, num_classes)


def embedding(
    input: Any,
    weight: Any,
    padding_idx: int | None = None,
    max_norm: float | None = None,
    norm_type: float = 2.0,
    scale_grad_by_freq: bool = False,
    sparse: bool = False,
) -> Any:
    """Look up rows of a table: ``output[i, ..., :] = weight[input[i, ...], :]``.

    (Bengio et al., "A neural probabilistic language model", 2003.) The gradient of `weight` is
    dense and adds up in the order of the input, whatever the number of threads.

    Parameters
    ----------
    input : array of any shape, integers
        Row numbers in [0, rows).
    weight : array of shape (rows, width), float32 or float64
        On a GPU: float32, float16 or bfloat16.
    padding_idx : int, optional
        This row gets no gradient; negative counts from the end.
    max_norm : float, optional
        Rows that are looked up and whose norm is larger are scaled down to it, in place.
    norm_type : float
        The p of that norm.
    scale_grad_by_freq : bool
        Divide each row's gradient by how often the row was looked up.
    sparse : bool
        Must be False: gradients are dense arrays.

    Returns
    -------
    array of shape (*input.shape, width), of the kind and dtype of `weight`

    Raises
    ------
    IndexError
        If an index is outside [0, rows).
    TypeError
        If `input` is not of integers or `weight` is of another dtype.
    ValueError
        If `weight` is not 2-D, `padding_idx` is outside [-rows, rows), or `sparse` is true.

    Examples
    --------
    >>> import numpy as np
    >>> import pyfast as pf
    >>> pf.ops.embedding(np.array([2, 0]), np.array([[0.0, 1.0], [2.0, 3.0], [4.0, 5.0]]))
    array([[4., 5.],
           [0., 1.]])
    """
    if sparse:
        raise ValueError("embedding: sparse must be False, gradients are dense arrays; got True")
    padding = _padding_row(padding_idx, weight)
    if max_norm is not None:
        _renormalise(input, weight, max_norm, norm_type)
    if type(input) is ndarray and type(weight) is ndarray:
        return _core.embedding(input, weight)
    return call(_Embedding, input, weight, padding, bool(scale_grad_by_freq))


def _padding_row(padding_idx: int | None, weight: Any) -> int:
    """The row that gets no gradient, counted from the start; -1 for none."""
    if padding_idx is None:
        return -1
    rows = np.shape(weight)[0] if len(np.shape(weight)) else 0
    if not -rows <= padding_idx < rows:
        raise ValueError(f"embedding: padding_idx must be in [{-rows}, {rows}), got {padding_idx}")
    return padding_idx % rows


def _renormalise(input: Any, weight: Any, max_norm: float, norm_type: float) -> None:
    """Scale the picked rows of `weight` down to `max_norm`, in place."""
    if not max_norm > 0:
        raise ValueError(f"embedding: max_norm must be positive, got {max_norm}")
    table, picked = (a._data if isinstance(a, Variable) else a for a in (weight, input))
    for array in (table, picked):
        if backend_for(array, "embedding") == "cuda":
            from ..cuda.frameworks import kernels_of

            renorm = kernels_of(array, "embedding").embedding_renorm
            return renorm(picked, table, float(max_norm), float(norm_type))
    table, picked = as_array(table, "embedding"), as_array(picked, "embedding")
    _core.embedding(picked, table)  # the checks, before anything is written
    return _scale_rows(picked, table, max_norm, norm_type)


def _scale_rows(picked: Any, table: Any, max_norm: float, norm_type: float) -> None:
    rows = np.unique(picked)
    norms = np.linalg.norm(table[rows], norm_type, axis=1)
    scale = np.where(norms > max_norm, max_norm / (norms + 1e-7), 1.0)
    table[rows] *= scale[:, None].astype(table.dtype)


def one_hot(input: Any, num_classes: int = -1) -> Any:
    """A 1 at each index, 0 elsewhere: ``output[..., c] = (input[...] == c)``.

    Parameters
    ----------
    input : array of any shape, integers
        Class indices, not negative.
    num_classes : int
        Length of the new last axis; -1: one more than the largest index.

    Returns
    -------
    array of shape (*input.shape, num_classes), int64, of the kind of `input`

    Raises
    ------
    IndexError
        If an index is outside [0, num_classes).
    TypeError
        If `input` is not of integers.
    ValueError
        If `num_classes` is neither positive nor -1, or is -1 and `input` is empty.

    Examples
    --------
    >>> import numpy as np
    >>> import pyfast as pf
    >>> pf.ops.one_hot(np.array([0, 2]))
    array([[1, 0, 0],
           [0, 0, 1]])
    """
    if type(input) is ndarray:
        return _one_hot(input, num_classes)
    return call(_OneHot, input, num_classes)


def _one_hot(input: Any, num_classes: int) -> Any:
    if not isinstance(input, ndarray) or input.dtype.kind not in "iu":
        kind = getattr(input, "dtype", type(input).__name__)
        raise TypeError(f"one_hot: input must be an array of integers, got {kind}")
    if not isinstance(num_classes, int | np.integer) or isinstance(num_classes, bool):
        raise TypeError(f"one_hot: num_classes must be an int, got {num_classes!r}")
    if num_classes == -1:
        if input.size == 0:
            raise ValueError("one_hot: num_classes must be given for an empty input, got -1")
        num_classes = max(int(input.max()) + 1, 1)
    if num_classes < 1:
        raise ValueError(f"one_hot: num_classes must be positive or -1, got {num_classes}")
    for index in (input.min(), input.max()) if input.size else ():
        if not 0 <= index < num_classes:
            raise IndexError(f"one_hot: input must be in [0, {num_classes}), got {index}")
    output = np.zeros((input.size, num_classes), np.int64)
    output[np.arange(input.size), input.reshape(-1)] = 1
    return output.reshape(*input.shape, num_classes)
