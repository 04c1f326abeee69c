"""Average pooling: windows of fixed size, and windows that adapt to an output size."""

from __future__ import annotations

from typing import Any, ClassVar

from numpy import ndarray

from .. import _core
from ..autograd import Function
from ._dispatch import ArrayT, call
from .max_pool import OutputSize, Size

__all__ = ["adaptive_avg_pool1d", "adaptive_avg_pool2d", "avg_pool1d", "avg_pool2d"]


class _AvgPool(Function):
    """What average pooling shares; subclasses name theirs in `_core`."""

    array_args = 1
    kernel: ClassVar[str]

    @classmethod
    def forward(cls, ctx: Any, input: Any, *args: Any) -> Any:
        output = getattr(ctx.kernels, cls.kernel)(input, *args)
        ctx.input_shape, ctx.args = input.shape, args
        return output

    @classmethod
    def backward(cls, ctx: Any, grad: Any) -> Any:
        backward = getattr(ctx.kernels, cls.kernel + "_backward")
        return backward(grad, ctx.input_shape, *ctx.args), *(None for _ in ctx.args)


class _AvgPool1d(_AvgPool):
    kernel = "avg_pool1d"


class _AvgPool2d(_AvgPool):
    kernel = "avg_pool2d"


class _AdaptiveAvgPool1d(_AvgPool):
    kernel = "adaptive_avg_pool1d"


class _AdaptiveAvgPool2d(_AvgPool):
    kernel = "adaptive_avg_pool2d"


def avg_pool1d(
    input: ArrayT,
    kernel_size: Size,
    stride: Size | None = None,
    padding: Size = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
) -> ArrayT:
    r"""Average each window.

    .. math:: y_{n,c,o} = \frac{1}{D} \sum_k x_{n,c,\; s\, o - p + k}

    where D counts the elements of the window (LeCun, Bottou, Bengio and Haffner, *Gradient-based
    learning applied to document recognition*, Proc. IEEE 86, 1998, section II-A).

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
        Zeros on both sides, at most half of `kernel_size`.
    ceil_mode : bool
        Let a last window reach beyond the padded input if it begins before the right padding.
    count_include_pad : bool
        Count padding in D. What lies beyond the padding is never counted.

    Returns
    -------
    array of shape (N, C, L_out) or (C, L_out)
        L_out = floor((L + 2 padding - kernel_size) / stride) + 1, or with ceil.

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
    >>> pf.ops.avg_pool1d(np.array([[1.0, 3.0, 2.0, 6.0]]), 2)
    array([[2., 4.]])
    """
    args = (kernel_size, stride, padding, ceil_mode, count_include_pad, None)
    if type(input) is ndarray:
        return _core.avg_pool1d(input, *args)
    return call(_AvgPool1d, input, *args)


def avg_pool2d(
    input: ArrayT,
    kernel_size: Size,
    stride: Size | None = None,
    padding: Size = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    divisor_override: int | None = None,
) -> ArrayT:
    r"""Average each window of an image.

    .. math:: y_{n,c,i,j} = \frac{1}{D} \sum_{k,l} x_{n,c,\; s_h i - p_h + k,\; s_w j - p_w + l}

    where D counts the elements of the window (LeCun, Bottou, Bengio and Haffner, *Gradient-based
    learning applied to document recognition*, Proc. IEEE 86, 1998, section II-A).

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
        Zeros on both sides, at most half of `kernel_size`.
    ceil_mode : bool
        Let a last window reach beyond the padded input if it begins before the right padding.
    count_include_pad : bool
        Count padding in D. What lies beyond the padding is never counted.
    divisor_override : int, optional
        Takes the place of D; not 0.

    Returns
    -------
    array of shape (N, C, H_out, W_out) or (C, H_out, W_out)
        H_out = floor((H + 2 padding - kernel_size) / stride) + 1, or with ceil.

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
    >>> pf.ops.avg_pool2d(x, 2)
    array([[[ 2.5,  4.5],
            [10.5, 12.5]]])
    """
    args = (kernel_size, stride, padding, ceil_mode, count_include_pad, divisor_override)
    if type(input) is ndarray:
        return _core.avg_pool2d(input, *args)
    return call(_AvgPool2d, input, *args)


def adaptive_avg_pool1d(input: ArrayT, output_size: Size) -> ArrayT:
    r"""Average each of `output_size` windows that cover the input evenly.

    Along the last axis,

    .. math:: y_o = \operatorname{mean} \{ x_i :
              \lfloor o\, L / \mathit{output\_size} \rfloor \le i <
              \lceil (o + 1)\, L / \mathit{output\_size} \rceil \}

    With one window it is global average pooling (Lin, Chen and Yan, *Network in network*,
    ICLR 2014, section 3.2).

    Parameters
    ----------
    input : array of shape (N, C, L) or (C, L), float32 or float64
        On a GPU: float32, float16 or bfloat16.
        Any strides, channels-last included.
    output_size : int
        Elements of the output.

    Returns
    -------
    array of shape (N, C, output_size) or (C, output_size)

    Raises
    ------
    ValueError
        If the input has the wrong rank or an empty axis that is pooled, or `output_size` is
        negative.
    TypeError
        If `input` is of another dtype, or `output_size` is not an int.

    Examples
    --------
    >>> import numpy as np
    >>> import pyfast as pf
    >>> pf.ops.adaptive_avg_pool1d(np.array([[1.0, 3.0, 2.0, 6.0]]), 2)
    array([[2., 4.]])
    """
    if type(input) is ndarray:
        return _core.adaptive_avg_pool1d(input, output_size)
    return call(_AdaptiveAvgPool1d, input, output_size)


def adaptive_avg_pool2d(input: ArrayT, output_size: OutputSize) -> ArrayT:
    r"""Average each of `output_size` windows that cover the input evenly.

    Along each of the last two axes,

    .. math:: y_o = \operatorname{mean} \{ x_i : \lfloor o\, H / H_{out} \rfloor \le i <
              \lceil (o + 1)\, H / H_{out} \rceil \}

    With one window it is global average pooling (Lin, Chen and Yan, *Network in network*,
    ICLR 2014, section 3.2).

    Parameters
    ----------
    input : array of shape (N, C, H, W) or (C, H, W), float32 or float64
        On a GPU: float32, float16 or bfloat16.
        Any strides, channels-last included.
    output_size : int, None, or a pair of them
        (H_out, W_out), or one number for both; None keeps the size of the input.

    Returns
    -------
    array of shape (N, C, H_out, W_out) or (C, H_out, W_out)

    Raises
    ------
    ValueError
        If the input has the wrong rank or an empty axis that is pooled, or `output_size` is
        negative.
    TypeError
        If `input` is of another dtype, or `output_size` is not an int.

    Examples
    --------
    >>> import numpy as np
    >>> import pyfast as pf
    >>> x = np.arange(12.0).reshape(1, 3, 4)
    >>> pf.ops.adaptive_avg_pool2d(x, 1)
    array([[[5.5]]])
    """
    if type(input) is ndarray:
        return _core.adaptive_avg_pool2d(input, output_size)
    return call(_AdaptiveAvgPool2d, input, output_size)
