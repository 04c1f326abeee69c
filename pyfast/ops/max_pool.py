"""Max pooling: windows of fixed size, and windows that adapt to an output size."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

from numpy import ndarray

from .. import _core
from ..autograd import Function
from ._dispatch import ArrayT, call

__all__ = ["adaptive_max_pool1d", "adaptive_max_pool2d", "max_pool1d", "max_pool2d"]

Size = int | Sequence[int]
OutputSize = int | None | Sequence[int | None]


class _MaxPool(Function):
    """What max pooling shares; the last argument is return_indices."""

    array_args = 1
    kernel: ClassVar[str]

    @classmethod
    def forward(cls, ctx: Any, input: Any, *args: Any) -> Any:
        return_indices = args[-1]
        if not (return_indices or ctx.needs_input_grad[0]):
            return getattr(ctx.kernels, cls.kernel)(input, *args)
        output, indices = getattr(ctx.kernels, cls.kernel)(input, *args[:-1], True)
        ctx.save_for_backward(indices)
        ctx.input_shape, ctx.args = input.shape, args
        return (output, indices) if return_indices else output

    @classmethod
    def backward(cls, ctx: Any, grad: Any, *_: Any) -> Any:
        (indices,) = ctx.saved_tensors
        backward = getattr(ctx.kernels, cls.kernel.removeprefix("adaptive_") + "_backward")
        return backward(grad, indices, ctx.input_shape), *(None,) * len(ctx.args)


class _FixedMaxPool(_MaxPool):
    """Windows of one size: backward needs no more than which tap of its window won, a byte."""

    @classmethod
    def forward(cls, ctx: Any, input: Any, *args: Any) -> Any:
        if args[-1] or not ctx.needs_input_grad[0]:
            return super().forward(ctx, input, *args)
        output, taps = getattr(ctx.kernels, cls.kernel + "_taps")(input, *args[:-1])
        ctx.save_for_backward(taps)
        ctx.input_shape, ctx.args = input.shape, args
        return output

    @classmethod
    def backward(cls, ctx: Any, grad: Any, *_: Any) -> Any:
        (taps,) = ctx.saved_tensors
        if taps.itemsize != 1:  # positions: asked for, or more taps than a byte can number
            return super().backward(ctx, grad)
        backward = getattr(ctx.kernels, cls.kernel + "_taps_backward")
        gradient = backward(grad, taps, ctx.input_shape, *ctx.args[:-1])
        return gradient, *(None,) * len(ctx.args)


class _MaxPool1d(_FixedMaxPool):
    kernel = "max_pool1d"


class _MaxPool2d(_FixedMaxPool):
    kernel = "max_pool2d"


class _AdaptiveMaxPool1d(_MaxPool):
    kernel = "adaptive_max_pool1d"


class _AdaptiveMaxPool2d(_MaxPool):
    kernel = "adaptive_max_pool2d"


def max_pool1d(
    input: ArrayT,
    kernel_size: Size,
    stride: Size | None = None,
    padding: Size = 0,
    dilation: Size = 1,
    ceil_mode: bool = False,
    return_indices: bool = False,
) -> Any:
    r"""Keep the largest element of each window.

    .. math:: y_{n,c,o} = \max_k x_{n,c,\; s\, o - p + d\, k}

    Padding never wins; a NaN always does (Riesenhuber and Poggio, *Hierarchical models of
    object recognition in cortex*, Nature Neuroscience 2, 1999).

    Parameters
    ----------
    input : array of shape (N, C, L) or (C, L), float32 or float64
        On a GPU: float32, float16 or bfloat16.
        Any strides, channels-last included.
    kernel_size : int
        Elements in a window.
    stride : int, optional
        From one window to the next; default `kernel_size`.
    padding : int
        Implicit border on both sides, at most half of `kernel_size`.
    dilation : int
        From one element of a window to the next.
    ceil_mode : bool
        Let a last window reach beyond the padded input if it begins before the right padding.
    return_indices : bool
        Return where the maxima were found, too.

    Returns
    -------
    output : array of shape (N, C, L_out) or (C, L_out)
        L_out = floor((L + 2 padding - dilation (kernel_size - 1) - 1) / stride) + 1, or with ceil.
    indices : int64 array of the same shape, if `return_indices`
        The position along L in the row of L: the first of equal maxima, the last NaN.

    Raises
    ------
    ValueError
        If `input` has the wrong rank or is empty but for its batch, or a size is out of range.
    TypeError
        If `input` is of another dtype, or a size is not an int.

    Examples
    --------
    >>> import numpy as np
    >>> import pyfast as pf
    >>> x = np.array([[1.0, 3.0, 2.0, 5.0]])
    >>> pf.ops.max_pool1d(x, 2, return_indices=True)
    (array([[3., 5.]]), array([[1, 3]]))
    """
    args = (kernel_size, stride, padding, dilation, ceil_mode, return_indices)
    if type(input) is ndarray:
        return _core.max_pool1d(input, *args)
    return call(_MaxPool1d, input, *args)


def max_pool2d(
    input: ArrayT,
    kernel_size: Size,
    stride: Size | None = None,
    padding: Size = 0,
    dilation: Size = 1,
    ceil_mode: bool = False,
    return_indices: bool = False,
) -> Any:
    r"""Keep the largest element of each window of an image.

    .. math:: y_{n,c,i,j} = \max_{k,l} x_{n,c,\; s_h i - p_h + d_h k,\; s_w j - p_w + d_w l}

    Padding never wins; a NaN always does (Riesenhuber and Poggio, *Hierarchical models of
    object recognition in cortex*, Nature Neuroscience 2, 1999).

    Parameters
    ----------
    input : array of shape (N, C, H, W) or (C, H, W), float32 or float64
        On a GPU: float32, float16 or bfloat16.
        Any strides, channels-last included.
    kernel_size : int or (int, int)
        Elements in a window.
    stride : int or (int, int), optional
        From one window to the next; default `kernel_size`.
    padding : int or (int, int)
        Implicit border on both sides, at most half of `kernel_size`.
    dilation : int or (int, int)
        From one element of a window to the next.
    ceil_mode : bool
        Let a last window reach beyond the padded input if it begins before the right padding.
    return_indices : bool
        Return where the maxima were found, too.

    Returns
    -------
    output : array of shape (N, C, H_out, W_out) or (C, H_out, W_out)
        H_out = floor((H + 2 padding - dilation (kernel_size - 1) - 1) / stride) + 1, or with ceil.
    indices : int64 array of the same shape, if `return_indices`
        The flat position h * W + w in the plane of H * W: the first of equal maxima, the last NaN.

    Raises
    ------
    ValueError
        If `input` has the wrong rank or is empty but for its batch, or a size is out of range.
    TypeError
        If `input` is of another dtype, or a size is not an int.

    Examples
    --------
    >>> import numpy as np
    >>> import pyfast as pf
    >>> x = np.arange(16.0).reshape(1, 4, 4)
    >>> pf.ops.max_pool2d(x, 2)
    array([[[ 5.,  7.],
            [13., 15.]]])
    """
    args = (kernel_size, stride, padding, dilation, ceil_mode, return_indices)
    if type(input) is ndarray:
        return _core.max_pool2d(input, *args)
    return call(_MaxPool2d, input, *args)


def adaptive_max_pool1d(input: ArrayT, output_size: Size, return_indices: bool = False) -> Any:
    r"""Keep the largest element of each of `output_size` windows that cover the input evenly.

    Along the last axis,

    .. math:: y_o = \max \{ x_i : \lfloor o\, L / \mathit{output\_size} \rfloor \le i <
              \lceil (o + 1)\, L / \mathit{output\_size} \rceil \}

    as in a level of *Spatial pyramid pooling* (He, Zhang, Ren and Sun, ECCV 2014, section 2.2).

    Parameters
    ----------
    input : array of shape (N, C, L) or (C, L), float32 or float64
        On a GPU: float32, float16 or bfloat16.
        Any strides, channels-last included.
    output_size : int
        Elements of the output.
    return_indices : bool
        Return where the maxima were found, too.

    Returns
    -------
    output : array of shape (N, C, output_size) or (C, output_size)
    indices : int64 array of the same shape, if `return_indices`
        As :func:`max_pool1d` gives them.

    Raises
    ------
    ValueError
        If the input has the wrong rank or is empty in more than its batch, or `output_size` is
        negative.
    TypeError
        If `input` is of another dtype, or `output_size` is not an int.

    Examples
    --------
    >>> import numpy as np
    >>> import pyfast as pf
    >>> pf.ops.adaptive_max_pool1d(np.array([[1.0, 3.0, 2.0, 5.0, 4.0]]), 2)
    array([[3., 5.]])
    """
    if type(input) is ndarray:
        return _core.adaptive_max_pool1d(input, output_size, return_indices)
    return call(_AdaptiveMaxPool1d, input, output_size, return_indices)


def adaptive_max_pool2d(
    input: ArrayT, output_size: OutputSize, return_indices: bool = False
) -> Any:
    r"""Keep the largest element of each of `output_size` windows that cover the input evenly.

    Along each of the last two axes,

    .. math:: y_o = \max \{ x_i : \lfloor o\, H / H_{out} \rfloor \le i <
              \lceil (o + 1)\, H / H_{out} \rceil \}

    as in a level of *Spatial pyramid pooling* (He, Zhang, Ren and Sun, ECCV 2014, section 2.2).

    Parameters
    ----------
    input : array of shape (N, C, H, W) or (C, H, W), float32 or float64
        On a GPU: float32, float16 or bfloat16.
        Any strides, channels-last included.
    output_size : int, None, or a pair of them
        (H_out, W_out), or one number for both; None keeps the size of the input.
    return_indices : bool
        Return where the maxima were found, too.

    Returns
    -------
    output : array of shape (N, C, H_out, W_out) or (C, H_out, W_out)
    indices : int64 array of the same shape, if `return_indices`
        As :func:`max_pool2d` gives them.

    Raises
    ------
    ValueError
        If the input has the wrong rank or is empty in more than its batch, or `output_size` is
        negative.
    TypeError
        If `input` is of another dtype, or `output_size` is not an int.

    Examples
    --------
    >>> import numpy as np
    >>> import pyfast as pf
    >>> x = np.arange(12.0).reshape(1, 3, 4)
    >>> pf.ops.adaptive_max_pool2d(x, (1, 2))
    array([[[ 9., 11.]]])
    """
    if type(input) is ndarray:
        return _core.adaptive_max_pool2d(input, output_size, return_indices)
    return call(_AdaptiveMaxPool2d, input, output_size, return_indices)
