"""Padding of any axes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from numpy import ndarray

from .. import _core
from ..autograd import Function
from ._dispatch import ArrayT, call

__all__ = ["pad"]


class _Pad(Function):
    array_args = 1

    @staticmethod
    def forward(ctx: Any, input: Any, pad: Any, mode: Any, value: Any) -> Any:
        output = ctx.kernels.pad(input, pad, mode, value)
        ctx.input_shape, ctx.pad, ctx.mode = input.shape, tuple(pad), mode
        return output

    @staticmethod
    def backward(ctx: Any, grad: Any) -> Any:
        return ctx.kernels.pad_backward(grad, ctx.input_shape, ctx.pad, ctx.mode), None, None, None


def pad(
    input: ArrayT,
    pad: Sequence[int],
    mode: str = "constant",
    value: float | None = None,
) -> ArrayT:
    r"""Surround an array with a constant or with its own elements; negative amounts crop.

    Along each padded axis of n elements, with `before` elements put in front,

    .. math:: y_o = x_{m(o - \mathit{before})}

    where m is, outside [0, n): nothing, and y is `value` (constant); :math:`-i` and
    :math:`2 (n - 1) - i` (reflect); 0 and :math:`n - 1` (replicate); :math:`i \bmod n` (circular,
    n elements being what a crop of the other side leaves). As ``numpy.pad`` in the modes constant,
    reflect, edge and wrap.

    Parameters
    ----------
    input : array of any shape, float32 or float64
        Any strides. On a GPU: float32, float16 or bfloat16.
    pad : sequence of 2 k ints
        (before, after) of the last axis, then of the one before it, and so on for k axes. All modes
        but constant need k in {1, 2, 3} and an input of k + 1 or k + 2 axes.
    mode : {"constant", "reflect", "replicate", "circular"}
    value : float, optional
        What mode constant puts around the input; default 0.

    Returns
    -------
    array of the kind and dtype of `input`
        Each axis longer by before + after. C-contiguous.

    Raises
    ------
    ValueError
        If `pad` has an odd or too large number of entries, crops more than there is, is not smaller
        than the axis (reflect) or longer than it (circular); if `mode` is none of the four; or if
        `value` is given to another mode than constant.
    TypeError
        If `input` is of another dtype, or an amount is not an int.

    Examples
    --------
    >>> import numpy as np
    >>> import pyfast as pf
    >>> pf.ops.pad(np.array([[1.0, 2.0, 3.0]]), (2, -1), mode="reflect")
    array([[3., 2., 1., 2.]])
    """
    if type(input) is ndarray:
        return _core.pad(input, pad, mode, value)
    return call(_Pad, input, pad, mode, value)
