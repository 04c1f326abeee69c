"""Matrix products and fully connected layers."""

from __future__ import annotations

from typing import Any

from numpy import ndarray

from .. import _core
from ..autograd import Function
from ._dispatch import ArrayT, call

__all__ = ["linear", "matmul"]


class _Linear(Function):
    array_args = 3

    @staticmethod
    def forward(ctx: Any, input: Any, weight: Any, bias: Any, activation: str | None) -> Any:
        if not any(ctx.needs_input_grad):
            return ctx.kernels.linear(input, weight, bias, activation, False)
        output, saved = ctx.kernels.linear(input, weight, bias, activation, True)
        ctx.save_for_backward(input, weight, saved if activation else None)
        ctx.activation = activation
        return output

    @staticmethod
    def backward(ctx: Any, grad: Any) -> Any:
        input, weight, saved = ctx.saved_tensors
        return (
            *ctx.kernels.linear_backward(
                grad, input, weight, saved, ctx.activation, *ctx.needs_input_grad[:3]
            ),
            None,
        )


class _Matmul(Function):
    array_args = 2

    @staticmethod
    def forward(ctx: Any, input: Any, other: Any) -> Any:
        ctx.save_for_backward(input, other)
        return ctx.kernels.matmul(input, other)

    @staticmethod
    def backward(ctx: Any, grad: Any) -> Any:
        return ctx.kernels.matmul_backward(grad, *ctx.saved_tensors, *ctx.needs_input_grad)


def linear(
    input: ArrayT, weight: ArrayT, bias: ArrayT | None = None, *, activation: str | None = None
) -> ArrayT:
    r"""Apply a fully connected layer to the last axis.

    .. math:: y = \mathrm{activation}(x W^T + b)

    (Goodfellow, Bengio and Courville, *Deep Learning*, 2016, section 6.1.) Bias and activation are
    applied while each tile of the product is still in the cache.

    Parameters
    ----------
    input : array of shape (..., in), float32 or float64
        Any strides. On a GPU: float32, float16 or bfloat16.
    weight : array of shape (out, in), or (in,) for a single output without an axis
    bias : array of shape (out,), or () beside a weight of shape (in,), optional
    activation : str, optional
        "relu", "relu6", "leaky_relu", "elu", "sigmoid", "tanh", "gelu", "gelu_tanh", "silu",
        "softplus", "mish", "hardswish" or "hardsigmoid", with :mod:`pyfast.ops`' default
        parameters; "gelu_tanh" is gelu's tanh approximation.

    Returns
    -------
    array of the kind and dtype of `input`, of shape (..., out), or (...) for a vector `weight`
        C-contiguous.

    Raises
    ------
    TypeError
        If the arrays are not all of one such dtype, or `activation` is no string.
    ValueError
        If the shapes do not fit, or for an unknown `activation`.

    Examples
    --------
    >>> import numpy as np
    >>> import pyfast as pf
    >>> x = np.array([[1.0, 2.0], [-3.0, 1.0]])
    >>> pf.ops.linear(x, np.array([[1.0, 1.0]]), np.array([0.5]), activation="relu")
    array([[3.5],
           [0. ]])
    """
    if (
        type(input) is ndarray
        and type(weight) is ndarray
        and (bias is None or type(bias) is ndarray)
    ):
        return _core.linear(input, weight, bias, activation, False)
    return call(_Linear, input, weight, bias, activation)


def matmul(input: ArrayT, other: ArrayT) -> ArrayT:
    r"""Multiply matrices, vectors, or batches of matrices.

    .. math:: C_{\dots ij} = \sum_p A_{\dots ip} B_{\dots pj}

    Goto and van de Geijn, *ACM Transactions on Mathematical Software* 34 (3), 2008, describe how
    operands are packed and blocked for the caches.

    Parameters
    ----------
    input : array of shape (..., n, k) or (k,), float32 or float64
        Any strides. On a GPU: float32, float16 or bfloat16.
    other : array of shape (..., k, m) or (k,), dtype of `input`
        The axes before the matrices' broadcast.

    Returns
    -------
    array of the kind and dtype of `input`, of shape (..., n, m)
        Without the axis n where `input` is a vector, without m where `other` is one. C-contiguous.

    Raises
    ------
    TypeError
        If the arrays are not both of one such dtype.
    ValueError
        If the shapes do not fit or an operand has no axis.

    Examples
    --------
    >>> import numpy as np
    >>> import pyfast as pf
    >>> pf.ops.matmul(np.array([[1.0, 2.0], [3.0, 4.0]]), np.array([1.0, 10.0]))
    array([21., 43.])
    """
    if type(input) is ndarray and type(other) is ndarray:
        return _core.matmul(input, other)
    return call(_Matmul, input, other)
