"""Scaled dot-product attention."""

from __future__ import annotations

from typing import Any

from numpy import ndarray

from .. import _core
from ..autograd import Function
from ..random import default_generator
from ._dispatch import ArrayT, call

__all__ = ["scaled_dot_product_attention"]


class _ScaledDotProductAttention(Function):
    """`options`: dropout_p, is_causal, scale, enable_gqa, seed, offset, window_size."""

    array_args = 4

    @staticmethod
    def forward(
        ctx: Any, query: Any, key: Any, value: Any, attn_mask: Any, options: tuple[Any, ...]
    ) -> Any:
        output, *rows = ctx.kernels.scaled_dot_product_attention(
            query, key, value, attn_mask, *options
        )
        ctx.save_for_backward(query, key, value, attn_mask, output, *rows)
        ctx.options = options
        return output

    @staticmethod
    def backward(ctx: Any, grad: Any) -> Any:
        needs = ctx.needs_input_grad[:4]
        *options, window_size = ctx.options
        operands = (grad, *ctx.saved_tensors, *options, *needs, window_size)
        gradients = ctx.kernels.scaled_dot_product_attention_backward(*operands)
        return *gradients, None


def scaled_dot_product_attention(
    query: ArrayT,
    key: ArrayT,
    value: ArrayT,
    attn_mask: ArrayT | None = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    scale: float | None = None,
    enable_gqa: bool = False,
    window_size: tuple[int, int] | None = None,
) -> ArrayT:
    r"""Each query's mean of the values, weighted by how well it matches their keys.

    .. math:: O = \operatorname{softmax}\left(s\, Q K^\top + M\right) V

    (Vaswani et al., "Attention is all you need", 2017, section 3.2.1.) The scores are never held
    as a whole: memory grows with L, not with L S (Dao et al., "FlashAttention", 2022). Up to eight
    queries, as in generation, read keys and values in place, whatever the strides of a cache.

    Parameters
    ----------
    query : array of shape (..., L, E), float32 or float64
        On a GPU: float32, float16 or bfloat16.
        L queries of E features. Any strides, here and below; leading dimensions broadcast.
    key, value : array of shape (..., S, E) and (..., S, Ev)
    attn_mask : array that broadcasts to (..., L, S), bool or the dtype of `query`, optional
        Bool: True where the query attends (the opposite of :class:`pyfast.nn.MultiheadAttention`,
        as in PyTorch). Floating: added to the scores, so -inf forbids; gets a gradient. A query
        that may attend to nothing gets zeros; what is forbidden leaves no trace, NaN included.
    dropout_p : float in [0, 1]
        Each weight's chance to be dropped, the others growing by 1 / (1 - p). 0 outside training.
    is_causal : bool
        Query i attends to keys 0 ... i. Not together with `attn_mask`.
    scale : float, optional
        s in the formula; default: 1 / sqrt(E).
    enable_gqa : bool
        The third-last axis holds heads, H of `query` and a divisor G of H in `key` and `value`:
        each run of H / G query heads shares one of theirs.
    window_size : (left, right), optional
        Sliding window: query i attends to keys i - left ... i + right only, -1 meaning no bound on
        that side. Together with `is_causal` and `attn_mask` each has its say. Keys outside cost
        nothing.

    Returns
    -------
    array of shape (..., L, Ev), of the kind and dtype of `query`

    Raises
    ------
    TypeError, ValueError
        For dtypes, shapes or settings that do not fit, or `attn_mask` with `is_causal`.

    Examples
    --------
    >>> import numpy as np
    >>> import pyfast as pf
    >>> query, key = np.array([[0.0, 60.0]]), np.eye(2)
    >>> value = np.array([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]])
    >>> pf.ops.scaled_dot_product_attention(query, key, value).round(4)  # the second key's value
    array([[4., 5., 6.]])
    """
    stream = default_generator.next_stream() if dropout_p else (0, 0)
    options = (dropout_p, is_causal, scale, enable_gqa, *stream, window_size)
    plain = type(query) is type(key) is type(value) is ndarray
    if plain and (attn_mask is None or type(attn_mask) is ndarray):
        return _core.scaled_dot_product_attention(query, key, value, attn_mask, *options)[0]
    return call(_ScaledDotProductAttention, query, key, value, attn_mask, options)
