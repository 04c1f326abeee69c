"""Attention over sequences of different lengths, packed one after another."""

from __future__ import annotations

import math
from itertools import pairwise
from typing import Any

import numpy as np
from numpy import ndarray

from .. import _core
from ..autograd import Function
from ._dispatch import ArrayT, call

__all__ = ["varlen_attn"]


class _VarlenAttn(Function):
    """`options`: scale, window_size, enable_gqa."""

    array_args = 5

    @staticmethod
    def forward(
        ctx: Any, query: Any, key: Any, value: Any, starts: Any, key_starts: Any, options: Any
    ) -> Any:
        kernel = varlen_forward if ctx.kernels is _core else ctx.kernels.varlen_attn
        output, *rows = kernel(query, key, value, starts, key_starts, *options)
        ctx.save_for_backward(query, key, value, starts, key_starts, output, *rows)
        ctx.options = options
        return output

    @staticmethod
    def backward(ctx: Any, grad: Any) -> Any:
        kernel = varlen_backward if ctx.kernels is _core else ctx.kernels.varlen_attn_backward
        needs = ctx.needs_input_grad[:3]
        gradients = kernel(grad, *ctx.saved_tensors, *ctx.options, needs)
        return *gradients, None, None, None


def varlen_attn(
    query: ArrayT,
    key: ArrayT,
    value: ArrayT,
    cu_seq_q: Any,
    cu_seq_k: Any = None,
    max_q: int | None = None,
    max_k: int | None = None,
    *,
    scale: float | None = None,
    window_size: tuple[int, int] = (-1, -1),
    enable_gqa: bool = False,
) -> ArrayT:
    r"""Attention within each of several sequences, whose rows lie one after another.

    What :func:`scaled_dot_product_attention` computes of every sequence by itself, without padding:
    nothing is computed or kept for tokens that are not there. The arguments are those of PyTorch's
    ``torch.nn.attention.varlen.varlen_attn``.

    Parameters
    ----------
    query : array of shape (T_q, H, E), float32 or float64
        The queries of all sequences, T_q in all. On a GPU: float32, float16 or bfloat16.
    key, value : array of shape (T_k, G, E) and (T_k, G, Ev)
    cu_seq_q, cu_seq_k : array of shape (N + 1,), integers
        Where each of N sequences begins among the rows, and at last where the last one ends:
        ``[0, l_1, l_1 + l_2, ...]``. Where `cu_seq_k` is None, keys lie as queries do. On a GPU
        their values are not looked at: rows beyond the last sequence get zeros, and what does not
        rise gives sequences that see less.
    max_q, max_k : int, optional
        The longest sequences. Not needed; here because PyTorch's function has them.
    scale : float, optional
        What scores are multiplied by; default: 1 / sqrt(E).
    window_size : (left, right)
        Query i of L attends to keys i + S - L - left ... i + S - L + right of its S, -1 meaning no
        bound on that side: counted from the ends, as where new queries follow old keys. (-1, 0) is
        causal.
    enable_gqa : bool
        G may be a divisor of H: each run of H / G query heads shares a head of key and value.

    Returns
    -------
    array of shape (T_q, H, Ev), of the kind and dtype of `query`

    Raises
    ------
    TypeError, ValueError
        For dtypes, shapes or settings that do not fit, or, on the CPU, starts that do not rise from
        0 to the number of rows.

    Examples
    --------
    >>> import numpy as np
    >>> import pyfast as pf
    >>> x = np.arange(3.0).reshape(3, 1, 1)  # a sequence of one token, and one of two
    >>> pf.ops.varlen_attn(0 * x, 0 * x, x, np.array([0, 1, 3])).ravel()
    array([0. , 1.5, 1.5])
    """
    key_starts = cu_seq_q if cu_seq_k is None else cu_seq_k
    _check_shapes(query, key, value, enable_gqa)
    if scale is not None and not math.isfinite(scale):
        raise ValueError(f"varlen_attn: scale must be finite, got {scale}")
    options = (scale, _window(window_size), bool(enable_gqa))
    arrays = (query, key, value, cu_seq_q, key_starts)
    if all(type(a) is ndarray for a in arrays):
        output: ArrayT = varlen_forward(*arrays, *options)[0]
        return output
    return call(_VarlenAttn, *arrays, options)


def _check_shapes(query: Any, key: Any, value: Any, grouped: bool) -> None:
    arrays = {"query": query, "key": key, "value": value}
    shapes = {k: tuple(getattr(a, "shape", None) or np.shape(a)) for k, a in arrays.items()}
    for name, shape in shapes.items():
        if len(shape) != 3:
            raise ValueError(
                f"varlen_attn: {name} must have 3 dimensions (rows, heads, features), "
                f"got shape {shape}"
            )
    (_, heads, width), (rows, groups, key_width), (value_rows, value_heads, _) = shapes.values()
    if key_width != width:
        raise ValueError(f"varlen_attn: key must have {width} features as query, got {key_width}")
    if value_rows != rows or value_heads != groups:
        raise ValueError(
            f"varlen_attn: value must have the rows and heads of key {(rows, groups)}, "
            f"got {(value_rows, value_heads)}"
        )
    if groups != heads if not grouped else groups == 0 or heads % groups != 0:
        wanted = f"a divisor of {heads}" if grouped else f"{heads}"
        raise ValueError(f"varlen_attn: key must have {wanted} heads as query has, got {groups}")


def _check_dtypes(query: Any, key: Any, value: Any) -> None:
    if query.dtype not in (np.float32, np.float64):
        raise TypeError(f"varlen_attn: query must be float32 or float64, got {query.dtype}")
    for name, array in (("key", key), ("value", value)):
        if array.dtype != query.dtype:
            raise TypeError(
                f"varlen_attn: {name} must have the dtype of query ({query.dtype}), "
                f"got {array.dtype}"
            )


def _window(window_size: Any) -> tuple[int, int]:
    sides = (window_size,) if isinstance(window_size, str | int) else tuple(window_size)
    if len(sides) != 2 or not all(isinstance(s, int | np.integer) for s in sides):
        raise TypeError(f"varlen_attn: window_size must be two ints, got {window_size!r}")
    if min(sides) < -1:
        raise ValueError(f"varlen_attn: window_size must hold numbers >= -1, got {window_size}")
    return int(sides[0]), int(sides[1])


def _starts(starts: Any, rows: int, name: str) -> list[int]:
    """Where sequences begin, as numbers that fit."""
    if not isinstance(starts, ndarray) or starts.dtype.kind not in "iu":
        kind = getattr(starts, "dtype", type(starts).__name__)
        raise TypeError(f"varlen_attn: {name} must be an array of integers, got {kind}")
    if starts.ndim != 1 or starts.size == 0:
        raise ValueError(
            f"varlen_attn: {name} must have shape (sequences + 1,), got shape {starts.shape}"
        )
    numbers: list[int] = starts.tolist()
    if numbers[0] != 0 or numbers[-1] != rows or any(b < a for a, b in pairwise(numbers)):
        raise ValueError(f"varlen_attn: {name} must rise from 0 to {rows}, got {starts}")
    return numbers


def _sequences(query: Any, key: Any, starts: Any, key_starts: Any) -> list[tuple[slice, slice]]:
    """Each sequence's rows of query and of key."""
    sides = [_starts(starts, len(query), "cu_seq_q"), _starts(key_starts, len(key), "cu_seq_k")]
    if len(sides[0]) != len(sides[1]):
        raise ValueError(
            f"varlen_attn: cu_seq_k must have {len(sides[0])} elements as cu_seq_q, "
            f"got {len(sides[1])}"
        )
    queries, keys = ([slice(a, b) for a, b in pairwise(side)] for side in sides)
    return list(zip(queries, keys, strict=True))


def _settings(q: Any, k: Any, options: Any) -> tuple[Any, ...]:
    """The mask, and what follows it: that of the kernel, whose band counts from the beginnings."""
    scale, (left, right), grouped = options
    more, mask = k.shape[1] - q.shape[1], None
    if more and (left >= 0 or right >= 0):
        away = np.arange(k.shape[1]) - (np.arange(q.shape[1])[:, None] + more)
        near = (away >= -left) | (left < 0)
        mask = near & ((away <= right) | (right < 0))
        left = right = -1
    return mask, 0.0, False, scale, grouped, 0, 0, (left, right)


def varlen_forward(
    query: Any, key: Any, value: Any, starts: Any, key_starts: Any, *options: Any
) -> tuple[Any, Any, Any]:
    """On the CPU, sequence by sequence: the output, and each row's maximum and sum (H, T_q)."""
    _check_dtypes(query, key, value)
    shape = (*query.shape[:2], value.shape[-1])
    output, rows = np.zeros(shape, query.dtype), np.zeros((2, shape[1], shape[0]), query.dtype)
    for i, j in _sequences(query, key, starts, key_starts) or [(slice(0), slice(0))]:
        q, k, v = (x.swapaxes(0, 1) for x in (query[i], key[j], value[j]))
        mask, *settings = _settings(q, k, options)
        found = _core.scaled_dot_product_attention(q, k, v, mask, *settings)
        output[i] = found[0].swapaxes(0, 1)
        rows[0, :, i], rows[1, :, i] = found[1:]
    return output, rows[0], rows[1]


def varlen_backward(
    grad: Any, query: Any, key: Any, value: Any, starts: Any, key_starts: Any, output: Any,
    row_max: Any, row_sum: Any, *options: Any,
) -> tuple[Any, Any, Any]:  # fmt: skip
    """The gradients that are needed, of query, key and value."""
    *shared, needs = options
    to = [np.zeros_like(x, order="C") if n else None
          for x, n in zip((query, key, value), needs, strict=True)]  # fmt: skip
    for i, j in _sequences(query, key, starts, key_starts):
        g, q, k, v, y = (x.swapaxes(0, 1) for x in (grad[i], query[i], key[j], value[j], output[i]))
        mask, *settings, window = _settings(q, k, shared)
        saved = (g, q, k, v, mask, y, row_max[:, i], row_sum[:, i])
        operands = (*saved, *settings, *needs, False, window)
        found = _core.scaled_dot_product_attention_backward(*operands)
        for whole, part, rows in zip(to, found, (i, j, j), strict=False):
            if whole is not None:
                whole[rows] = part.swapaxes(0, 1)
    return to[0], to[1], to[2]
