"""Softmax and its logarithm along one axis."""

from __future__ import annotations

from typing import Any, ClassVar

from numpy import ndarray

from .. import _core
from ..autograd import Function
from ._dispatch import ArrayT, call

__all__ = ["log_softmax", "softmax"]


class SoftmaxFunction(Function):
    """What softmax, log_softmax and softmin share: backward reads the output."""

    array_args = 1
    kernel: ClassVar[str]

    @classmethod
    def forward(cls, ctx: Any, input: Any, dim: int) -> Any:
        """The output, kept for backward."""
        output = getattr(ctx.kernels, cls.kernel)(input, dim)
        ctx.save_for_backward(output)
        ctx.dim = dim
        return output

    @classmethod
    def backward(cls, ctx: Any, grad: Any) -> Any:
        """The gradient of the input."""
        (output,) = ctx.saved_tensors
        return getattr(ctx.kernels, cls.kernel + "_backward")(grad, output, ctx.dim), None


class _Softmax(SoftmaxFunction):
    kernel = "softmax"


class _LogSoftmax(SoftmaxFunction):
    kernel = "log_softmax"


def softmax(input: ArrayT, dim: int = -1) -> ArrayT:
    r"""Exponentials along an axis, scaled so that they add up to one.

    .. math:: y_i = \frac{e^{x_i - \max_j x_j}}{\sum_k e^{x_k - \max_j x_j}}

    Subtracting the maximum changes nothing but keeps the exponentials finite
    (Goodfellow, Bengio and Courville, *Deep Learning*, 2016, section 4.1).

    Parameters
    ----------
    input : array of shape (..., n, ...), float32 or float64
        Any strides. On a GPU: float32, float16 or bfloat16.
    dim : int
        The axis of length n that is normalised. Default: the last.

    Returns
    -------
    array of the kind, shape and dtype of `input`
        C-contiguous. A slice that is wholly ``-inf`` gives NaN, as in PyTorch.

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
    >>> pf.ops.softmax(np.log(np.array([1.0, 2.0, 5.0]))).round(4)
    array([0.125, 0.25 , 0.625])
    """
    if type(input) is ndarray:
        return _core.softmax(input, dim)
    return call(_Softmax, input, dim)


def log_softmax(input: ArrayT, dim: int = -1) -> ArrayT:
    r"""Logarithm of :func:`softmax`, computed without forming it.

    .. math:: y_i = x_i - \max_j x_j - \log \sum_k e^{x_k - \max_j x_j}

    Exact where softmax itself would underflow to zero; see :func:`softmax` for the reference.

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
    >>> pf.ops.log_softmax(np.array([0.0, 0.0])).round(4)
    array([-0.6931, -0.6931])
    """
    if type(input) is ndarray:
        return _core.log_softmax(input, dim)
    return call(_LogSoftmax, input, dim)
