"""Activations that look beyond one element: gates, learnt slopes, softmin."""

from __future__ import annotations

from typing import Any

from numpy import ndarray

from .. import _core
from ..autograd import Function
from ._dispatch import ArrayT, call
from .softmax import SoftmaxFunction

__all__ = ["glu", "prelu", "softmin"]


class _Glu(Function):
    array_args = 1

    @staticmethod
    def forward(ctx: Any, input: Any, dim: int) -> Any:
        ctx.save_for_backward(input)
        ctx.dim = dim
        return ctx.kernels.glu(input, dim)

    @staticmethod
    def backward(ctx: Any, grad: Any) -> Any:
        (input,) = ctx.saved_tensors
        return ctx.kernels.glu_backward(grad, input, ctx.dim), None


class _Prelu(Function):
    array_args = 2

    @staticmethod
    def forward(ctx: Any, input: Any, weight: Any) -> Any:
        ctx.save_for_backward(input, weight)
        return ctx.kernels.prelu(input, weight)

    @staticmethod
    def backward(ctx: Any, grad: Any) -> Any:
        return ctx.kernels.prelu_backward(grad, *ctx.saved_tensors)


class _Softmin(SoftmaxFunction):
    kernel = "softmin"


def glu(input: ArrayT, dim: int = -1) -> ArrayT:
    r"""Gated linear unit: the first half of an axis, times the sigmoid of the second.

    .. math:: y = a \, \sigma(b), \quad [a, b] = x

    Dauphin, Fan, Auli and Grangier, *ICML*, 2017, equation 1.

    Parameters
    ----------
    input : array of shape (..., 2n, ...), float32 or float64
        Any strides. On a GPU: float32, float16 or bfloat16.
    dim : int
        The axis of length 2n that is halved. Default: the last.

    Returns
    -------
    array of the kind and dtype of `input`, shape (..., n, ...)
        C-contiguous.

    Raises
    ------
    IndexError
        If `dim` is not an axis of `input`.
    TypeError
        If `input` is of another dtype, or `dim` is not an int.
    ValueError
        If the axis has an odd length, or `input` has no axis.

    Examples
    --------
    >>> import numpy as np
    >>> import pyfast as pf
    >>> pf.ops.glu(np.array([4.0, -2.0, 0.0, 0.0]))
    array([ 2., -1.])
    """
    if type(input) is ndarray:
        return _core.glu(input, dim)
    return call(_Glu, input, dim)


def prelu(input: ArrayT, weight: ArrayT) -> ArrayT:
    r"""Rectified linear unit whose slope below 0 is learnt.

    .. math:: y = x \text{ if } x > 0 \text{ else } w x

    He, Zhang, Ren and Sun, *ICCV*, 2015, equation 1. The gradient of the weight is summed in
    double precision and in a fixed order.

    Parameters
    ----------
    input : array of shape (batch, channels, ...) or (n,), float32 or float64
        Any strides. On a GPU: float32, float16 or bfloat16.
    weight : array of shape (channels,), (1,) or (), dtype of `input`
        A slope for each channel, or one for all.

    Returns
    -------
    array of the kind, shape and dtype of `input`
        C-contiguous.

    Raises
    ------
    TypeError
        If `input` is of another dtype, or `weight` has another dtype.
    ValueError
        If `weight` holds neither one value nor one a channel, or `input` has no axis.

    Examples
    --------
    >>> import numpy as np
    >>> import pyfast as pf
    >>> pf.ops.prelu(np.array([[-2.0, -2.0, 3.0]]), np.array([0.5, 0.25, 0.5]))
    array([[-1. , -0.5,  3. ]])
    """
    if type(input) is ndarray and type(weight) is ndarray:
        return _core.prelu(input, weight)
    return call(_Prelu, input, weight)


def softmin(input: ArrayT, dim: int = -1) -> ArrayT:
    r"""Softmax of the negated input: the smallest element gets the largest share.

    .. math:: y_i = \frac{e^{\min_j x_j - x_i}}{\sum_k e^{\min_j x_j - x_k}}

    See :func:`softmax` for the reference.

    Parameters
    ----------
    input : array of shape (..., n, ...), float32 or float64
        Any strides. On a GPU: float32, float16 or bfloat16.
    dim : int
        The axis of length n that is normalised. Default: the last.

    Returns
    -------
    array of the kind, shape and dtype of `input`
        C-contiguous.

    Raises
    ------
    IndexError
        If `dim` is not an axis of `input`.
    TypeError
        If `input` is of another dtype, or `dim` is not an int.

    Examples
    --------
    >>> import numpy as np
    >>> import pyfast as pf
    >>> pf.ops.softmin(-np.log(np.array([1.0, 2.0, 5.0]))).round(4)
    array([0.125, 0.25 , 0.625])
    """
    if type(input) is ndarray:
        return _core.softmin(input, dim)
    return call(_Softmin, input, dim)
