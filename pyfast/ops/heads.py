"""Attention heads: one projection cut into heads, and heads joined again; and their rotation.

Heads are views, which :func:`pyfast.ops.scaled_dot_product_attention` reads in place.
"""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np

from .. import _core
from ..autograd import Function, Variable

__all__ = ["AttendHeads", "MergeHeads", "Rotate", "SplitHeads", "merge_heads", "split_heads"]


def _head_axes(batch_first: bool) -> tuple[int, int, int, int]:
    """From (batch, length, head, feature) or (length, batch, ...) to (batch, head, length, ...)."""
    return (0, 2, 1, 3) if batch_first else (1, 2, 0, 3)


def _apart(x: Any, heads: int) -> Any:
    """(..., H D) as (..., H, D); not by -1, which an empty array leaves open."""
    return x.reshape(*x.shape[:-1], heads, x.shape[-1] // heads)


class SplitHeads(Function):
    """(N, L, H D) as views (N, H_i, L, D), one for each group of heads H_i."""

    @staticmethod
    def forward(ctx: Any, x: Any, groups: tuple[int, ...], batch_first: bool) -> Any:
        """`groups` counts the heads of each result: (8, 2, 2) for query, key, value."""
        ctx.how = x.shape, groups, batch_first
        apart = _apart(x, sum(groups)).transpose(_head_axes(batch_first))
        ends = itertools.accumulate(groups)
        return tuple([apart[:, end - n : end] for n, end in zip(groups, ends, strict=True)])

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> Any:
        """Each gradient is copied once, to where its heads came from."""
        shape, groups, batch_first = ctx.how
        full = np.empty_like(grads[0], order="C", shape=shape)
        apart = _apart(full, sum(groups)).transpose(_head_axes(batch_first))
        for grad, n, end in zip(grads, groups, itertools.accumulate(groups), strict=True):
            apart[:, end - n : end] = grad
        return full, None, None


class MergeHeads(Function):
    """(N, H, L, D) as (N, L, H D), or (L, N, H D)."""

    @staticmethod
    def forward(ctx: Any, x: Any, batch_first: bool) -> Any:
        """A copy."""
        ctx.how = x.shape[1], batch_first
        apart = x.transpose((0, 2, 1, 3) if batch_first else (2, 0, 1, 3))
        return apart.reshape(*apart.shape[:2], apart.shape[2] * apart.shape[3])

    @staticmethod
    def backward(ctx: Any, grad: Any) -> Any:
        """A view."""
        heads, batch_first = ctx.how
        return _apart(grad, heads).transpose(_head_axes(batch_first)), None


class AttendHeads(Function):
    """SplitHeads, attention and MergeHeads in one, on the CPU: heads are read where they lie.

    `options`: dropout_p, is_causal, seed, offset, window_size.
    """

    @staticmethod
    def forward(
        ctx: Any,
        x: Any,
        attn_mask: Any,
        groups: tuple[int, int],
        batch_first: bool,
        options: tuple[Any, ...],
    ) -> Any:
        """`groups`: heads of queries, and of keys and values, which lie side by side in `x`."""
        output, *rows = _core.heads_attention(x, *groups, batch_first, attn_mask, *options)
        ctx.save_for_backward(x, attn_mask, output, *rows)
        ctx.how = *groups, batch_first, *options
        return output

    @staticmethod
    def backward(ctx: Any, grad: Any) -> Any:
        """Written to where heads came from."""
        operands: tuple[Any, ...] = (grad, *ctx.saved_tensors, *ctx.how, ctx.needs_input_grad[1])
        of_x, of_mask = _core.heads_attention_backward(*operands)
        return of_x, of_mask, None, None, None


def split_heads(x: Any, groups: tuple[int, ...], batch_first: bool) -> Any:
    """:class:`SplitHeads` of a Tensor, or of an array without a tape."""
    run = SplitHeads.apply if isinstance(x, Variable) else SplitHeads.run
    return run(x, groups, batch_first)


def merge_heads(x: Any, batch_first: bool) -> Any:
    """:class:`MergeHeads` of a Tensor, or of an array without a tape."""
    run = MergeHeads.apply if isinstance(x, Variable) else MergeHeads.run
    return run(x, batch_first)


class Rotate(Function):
    """Pairs of features turned by an angle: features i and i + D/2, or neighbours."""

    @staticmethod
    def forward(ctx: Any, x: Any, cos: Any, sin: Any, interleaved: bool) -> Any:
        """`cos` and `sin` broadcast to (..., L, D / 2)."""
        ctx.angle = cos, sin, interleaved
        return _rotated(x, cos, sin, interleaved)

    @staticmethod
    def backward(ctx: Any, grad: Any) -> Any:
        """Turned back: a rotation's transpose is its inverse."""
        cos, sin, interleaved = ctx.angle
        return _rotated(grad, cos, -sin, interleaved), None, None, None


def _rotated(x: Any, cos: Any, sin: Any, interleaved: bool) -> Any:
    half = x.shape[-1] // 2
    parts: list[Any] = [np.s_[..., 0::2], np.s_[..., 1::2]]
    if not interleaved:
        parts = [np.s_[..., :half], np.s_[..., half:]]
    first, second = (x[part] for part in parts)
    turned = np.empty_like(x, order="C")
    turned[parts[0]] = first * cos - second * sin
    turned[parts[1]] = second * cos + first * sin
    return turned
