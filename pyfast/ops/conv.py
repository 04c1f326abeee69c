"""Convolution and transposed convolution, and the matrices of patches behind them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

from numpy import ndarray

from .. import _core
from ..autograd import Function
from ._dispatch import ArrayT, call

__all__ = [
    "conv1d",
    "conv2d",
    "conv_transpose1d",
    "conv_transpose2d",
    "fold",
    "unfold",
]

Ints = int | Sequence[int]


class _Convolution(Function):
    """What the four convolutions share; subclasses name theirs in `_core`."""

    array_args = 3
    kernel: ClassVar[str]

    @classmethod
    def forward(cls, ctx: Any, input: Any, weight: Any, bias: Any, *settings: Any) -> Any:
        kernel = getattr(ctx.kernels, cls.kernel)
        if not any(ctx.needs_input_grad[:3]):
            return kernel(input, weight, bias, *settings)
        output, saved = kernel(input, weight, bias, *settings, True)
        fused = settings[-1] is not None
        ctx.save_for_backward(input, weight, saved if fused else None)
        ctx.settings = settings
        return output

    @classmethod
    def backward(cls, ctx: Any, grad: Any) -> Any:
        wanted = ctx.needs_input_grad[:3]
        backward = getattr(ctx.kernels, cls.kernel + "_backward")
        gradients = backward(grad, *ctx.saved_tensors, wanted, *ctx.settings)
        return *gradients, *(None for _ in ctx.settings)


class _Conv1d(_Convolution):
    kernel = "conv1d"


class _Conv2d(_Convolution):
    kernel = "conv2d"


class _ConvTranspose1d(_Convolution):
    kernel = "conv_transpose1d"


class _ConvTranspose2d(_Convolution):
    kernel = "conv_transpose2d"


def _plain(input: Any, weight: Any, bias: Any) -> bool:
    """Whether all are ndarrays, which `_core` takes at once."""
    return type(input) is type(weight) is ndarray and (bias is None or type(bias) is ndarray)


class _Unfold(Function):
    array_args = 1

    @staticmethod
    def forward(ctx: Any, input: Any, *settings: Any) -> Any:
        output = ctx.kernels.unfold(input, *settings)
        ctx.settings = settings
        ctx.image = input.shape[-2:]
        return output

    @staticmethod
    def backward(ctx: Any, grad: Any) -> Any:
        return ctx.kernels.fold(grad, ctx.image, *ctx.settings), None, None, None, None


class _Fold(Function):
    array_args = 1

    @staticmethod
    def forward(ctx: Any, input: Any, output_size: Any, *settings: Any) -> Any:
        ctx.settings = settings
        return ctx.kernels.fold(input, output_size, *settings)

    @staticmethod
    def backward(ctx: Any, grad: Any) -> Any:
        return ctx.kernels.unfold(grad, *ctx.settings), None, None, None, None, None


def conv1d(
    input: ArrayT,
    weight: Any,
    bias: Any = None,
    stride: Ints = 1,
    padding: Ints | str = 0,
    dilation: Ints = 1,
    groups: int = 1,
    *,
    activation: str | None = None,
) -> ArrayT:
    r"""One-dimensional convolution: a kernel slid over a signal of several channels.

    .. math:: y_{nox} = a\Bigl(b_o + \sum_{c,k} w_{ock}\,
        x_{n,\,c,\,x \cdot stride + k \cdot dilation - padding}\Bigr)

    with :math:`x = 0` outside the signal, c over the channels of o's group, and a the activation.
    As everywhere in deep learning this is a cross-correlation: the kernel is not flipped
    (Goodfellow, Bengio and Courville, *Deep Learning*, 2016, section 9.1).

    Parameters
    ----------
    input : array of shape (N, C, L) or (C, L), float32 or float64
        Any strides. On a GPU: float32, float16 or bfloat16.
    weight : array of shape (O, C / groups, K)
    bias : array of shape (O,), optional
    stride, dilation : int or (int,)
        Step of the kernel, and of its taps.
    padding : int, (int,), "same" or "valid"
        Zeros on both sides. ``"same"`` keeps L (stride 1; the odd zero goes to the end).
    groups : int
        Input and output channels are cut into as many groups that do not see each other.
    activation : str, optional
        "relu", "gelu", "silu", "sigmoid", "tanh", ...: applied as the sums are written.

    Returns
    -------
    array of shape (N, O, Lout) or (O, Lout), of the kind and dtype of `input`
        Lout = floor((L + 2 padding - dilation (K - 1) - 1) / stride) + 1.

    Raises
    ------
    ValueError
        If shapes do not fit together, the kernel not into the padded input, or for a bad setting.
    TypeError
        If the arrays are not all of one such dtype, or a setting is not an int.

    Examples
    --------
    >>> import numpy as np
    >>> import pyfast as pf
    >>> steps = np.array([[[0.0, 0.0, 1.0, 1.0, 0.0]]])
    >>> pf.ops.conv1d(steps, np.array([[[-1.0, 1.0]]]))
    array([[[ 0.,  1.,  0., -1.]]])
    """
    if _plain(input, weight, bias):
        return _core.conv1d(input, weight, bias, stride, padding, dilation, groups, activation)
    return call(_Conv1d, input, weight, bias, stride, padding, dilation, groups, activation)


def conv2d(
    input: ArrayT,
    weight: Any,
    bias: Any = None,
    stride: Ints = 1,
    padding: Ints | str = 0,
    dilation: Ints = 1,
    groups: int = 1,
    *,
    activation: str | None = None,
) -> ArrayT:
    r"""Two-dimensional convolution: a kernel slid over images of several channels.

    .. math:: y_{noij} = a\Bigl(b_o + \sum_{c,k,l} w_{ockl}\,
        x_{n,\,c,\,i \cdot stride + k \cdot dilation - padding,\,j \cdot stride + \ldots}\Bigr)

    with :math:`x = 0` outside the image, c over the channels of o's group, and a the activation.
    As everywhere in deep learning this is a cross-correlation: the kernel is not flipped
    (Goodfellow, Bengio and Courville, *Deep Learning*, 2016, section 9.1).

    Parameters
    ----------
    input : array of shape (N, C, H, W) or (C, H, W), float32 or float64
        On a GPU: float32, float16 or bfloat16.
        Any strides: images stored channels-last are read as they are.
    weight : array of shape (O, C / groups, KH, KW)
    bias : array of shape (O,), optional
    stride, dilation : int or (int, int)
        Step of the kernel, and of its taps, down and across.
    padding : int, (int, int), "same" or "valid"
        Zeros on both sides of each axis. ``"same"`` keeps H and W (stride 1; with an even kernel
        the odd zero goes to the end).
    groups : int
        Input and output channels are cut into as many groups that do not see each other;
        ``groups=C`` is a depthwise convolution.
    activation : str, optional
        "relu", "gelu", "silu", "sigmoid", "tanh", ...: applied as the sums are written.

    Returns
    -------
    array of shape (N, O, Hout, Wout) or (O, Hout, Wout), of the kind and dtype of `input`
        Hout = floor((H + 2 padding - dilation (KH - 1) - 1) / stride) + 1; Wout alike.

    Raises
    ------
    ValueError
        If shapes do not fit together, the kernel not into the padded input, or for a bad setting.
    TypeError
        If the arrays are not all of one such dtype, or a setting is not an int.

    Examples
    --------
    >>> import numpy as np
    >>> import pyfast as pf
    >>> x = np.arange(16.0).reshape(1, 1, 4, 4)
    >>> pf.ops.conv2d(x, np.ones((1, 1, 2, 2)), stride=2)
    array([[[[10., 18.],
             [42., 50.]]]])
    """
    if _plain(input, weight, bias):
        return _core.conv2d(input, weight, bias, stride, padding, dilation, groups, activation)
    return call(_Conv2d, input, weight, bias, stride, padding, dilation, groups, activation)


def conv_transpose1d(
    input: ArrayT,
    weight: Any,
    bias: Any = None,
    stride: Ints = 1,
    padding: Ints = 0,
    output_padding: Ints = 0,
    groups: int = 1,
    dilation: Ints = 1,
    *,
    activation: str | None = None,
) -> ArrayT:
    r"""One-dimensional transposed convolution: the gradient of :func:`conv1d` as an op.

    Every input element spreads a scaled kernel over the output:

    .. math:: y_{nox} = a\Bigl(b_o + \sum_{c,i,k:\; i \cdot stride + k \cdot dilation - padding = x}
        w_{cok}\, x_{nci}\Bigr)

    (Zeiler et al., "Deconvolutional Networks", CVPR 2010).

    Parameters
    ----------
    input : array of shape (N, C, L) or (C, L), float32 or float64
        Any strides. On a GPU: float32, float16 or bfloat16.
    weight : array of shape (C, O / groups, K)
    bias : array of shape (O,), optional
    stride, dilation : int or (int,)
        Step between the kernels, and between their taps.
    padding : int or (int,)
        Elements cut from both ends of the output.
    output_padding : int or (int,)
        Elements added at the end: chooses among the lengths that :func:`conv1d` maps to L.
    groups : int
        Input and output channels are cut into as many groups that do not see each other.
    activation : str, optional
        "relu", "gelu", "silu", "sigmoid", "tanh", ...: applied as the sums are written.

    Returns
    -------
    array of shape (N, O, Lout) or (O, Lout), of the kind and dtype of `input`
        Lout = (L - 1) stride - 2 padding + dilation (K - 1) + output_padding + 1.

    Raises
    ------
    ValueError
        If shapes do not fit together, padding leaves no output, or a setting is out of range.
    TypeError
        If the arrays are not all of one such dtype, or a setting is not an int.

    Examples
    --------
    >>> import numpy as np
    >>> import pyfast as pf
    >>> x = np.array([[[1.0, 2.0]]])
    >>> pf.ops.conv_transpose1d(x, np.array([[[1.0, 10.0, 100.0]]]), stride=2)
    array([[[  1.,  10., 102.,  20., 200.]]])
    """
    settings = (stride, padding, output_padding, groups, dilation, activation)
    if _plain(input, weight, bias):
        return _core.conv_transpose1d(input, weight, bias, *settings)
    return call(_ConvTranspose1d, input, weight, bias, *settings)


def conv_transpose2d(
    input: ArrayT,
    weight: Any,
    bias: Any = None,
    stride: Ints = 1,
    padding: Ints = 0,
    output_padding: Ints = 0,
    groups: int = 1,
    dilation: Ints = 1,
    *,
    activation: str | None = None,
) -> ArrayT:
    r"""Two-dimensional transposed convolution: the gradient of :func:`conv2d` as an op.

    Every input pixel spreads a scaled kernel over the output:

    .. math:: y_{noij} = a\Bigl(b_o + \sum_{c,p,q,k,l} w_{cokl}\, x_{ncpq}\Bigr)
        \quad\text{over}\quad p \cdot stride + k \cdot dilation - padding = i,\; q \ldots = j

    (Zeiler et al., "Deconvolutional Networks", CVPR 2010).

    Parameters
    ----------
    input : array of shape (N, C, H, W) or (C, H, W), float32 or float64
        On a GPU: float32, float16 or bfloat16.
        Any strides: images stored channels-last are read as they are.
    weight : array of shape (C, O / groups, KH, KW)
    bias : array of shape (O,), optional
    stride, dilation : int or (int, int)
        Step between the kernels, and between their taps, down and across.
    padding : int or (int, int)
        Rows and columns cut from both sides of the output.
    output_padding : int or (int, int)
        Elements added at the end: chooses among the sizes that :func:`conv2d` maps to (H, W).
    groups : int
        Input and output channels are cut into as many groups that do not see each other.
    activation : str, optional
        "relu", "gelu", "silu", "sigmoid", "tanh", ...: applied as the sums are written.

    Returns
    -------
    array of shape (N, O, Hout, Wout) or (O, Hout, Wout), of the kind and dtype of `input`
        Hout = (H - 1) stride - 2 padding + dilation (KH - 1) + output_padding + 1; Wout alike.

    Raises
    ------
    ValueError
        If shapes do not fit together, padding leaves no output, or a setting is out of range.
    TypeError
        If the arrays are not all of one such dtype, or a setting is not an int.

    Examples
    --------
    >>> import numpy as np
    >>> import pyfast as pf
    >>> pf.ops.conv_transpose2d(np.array([[[[1.0, 2.0]]]]), np.ones((1, 1, 2, 2)), stride=2)
    array([[[[1., 1., 2., 2.],
             [1., 1., 2., 2.]]]])
    """
    settings = (stride, padding, output_padding, groups, dilation, activation)
    if _plain(input, weight, bias):
        return _core.conv_transpose2d(input, weight, bias, *settings)
    return call(_ConvTranspose2d, input, weight, bias, *settings)


def unfold(
    input: ArrayT,
    kernel_size: Ints,
    dilation: Ints = 1,
    padding: Ints = 0,
    stride: Ints = 1,
) -> ArrayT:
    r"""Lay the patches of images out as the columns of a matrix (im2col).

    .. math:: y_{n,\,(c,k,l),\,(i,j)} =
        x_{n,\,c,\,i \cdot stride + k \cdot dilation - padding,\,j \cdot stride + \ldots}

    The weights of a convolution times this matrix is the convolution (Chellapilla, Puri and Simard,
    "High Performance Convolutional Neural Networks for Document Processing", 2006).

    Parameters
    ----------
    input : array of shape (N, C, H, W) or (C, H, W), float32 or float64
        Any strides. On a GPU: float32, float16 or bfloat16.
    kernel_size, dilation, padding, stride : int or (int, int)
        As in :func:`conv2d`.

    Returns
    -------
    array of shape (N, C KH KW, L) or (C KH KW, L), of the kind and dtype of `input`
        L is the number of positions, row by row.

    Raises
    ------
    ValueError
        If a setting is out of range, the kernel does not fit into the padded input, or `input` has
        another rank.
    TypeError
        If `input` is of another dtype, or a setting is not an int.

    Examples
    --------
    >>> import numpy as np
    >>> import pyfast as pf
    >>> pf.ops.unfold(np.arange(9.0).reshape(1, 3, 3), 2)
    array([[0., 1., 3., 4.],
           [1., 2., 4., 5.],
           [3., 4., 6., 7.],
           [4., 5., 7., 8.]])
    """
    if type(input) is ndarray:
        return _core.unfold(input, kernel_size, dilation, padding, stride)
    return call(_Unfold, input, kernel_size, dilation, padding, stride)


def fold(
    input: ArrayT,
    output_size: Ints,
    kernel_size: Ints,
    dilation: Ints = 1,
    padding: Ints = 0,
    stride: Ints = 1,
) -> ArrayT:
    r"""Add a matrix of patches up to images (col2im): the transpose of :func:`unfold`.

    .. math:: y_{n,c,p,q} = \sum x_{n,\,(c,k,l),\,(i,j)} \quad\text{over}\quad
        i \cdot stride + k \cdot dilation - padding = p,\;
        j \cdot stride + l \cdot dilation - padding = q

    Where patches overlap their entries are added, so ``fold(unfold(x))`` is x times the number of
    patches that hold each pixel.

    Parameters
    ----------
    input : array of shape (N, C KH KW, L) or (C KH KW, L), float32 or float64
        Any strides. On a GPU: float32, float16 or bfloat16.
    output_size : int or (int, int)
        Height and width of the images.
    kernel_size, dilation, padding, stride : int or (int, int)
        As in :func:`conv2d`; together with `output_size` they fix L.

    Returns
    -------
    array of shape (N, C, H, W) or (C, H, W), of the kind and dtype of `input`

    Raises
    ------
    ValueError
        If `input` does not have the shape the settings ask for, or a setting is out of range.
    TypeError
        If `input` is of another dtype, or a setting is not an int.

    Examples
    --------
    >>> import numpy as np
    >>> import pyfast as pf
    >>> patches = pf.ops.unfold(np.ones((1, 3, 3)), 2)
    >>> pf.ops.fold(patches, 3, 2)
    array([[[1., 2., 1.],
            [2., 4., 2.],
            [1., 2., 1.]]])
    """
    if type(input) is ndarray:
        return _core.fold(input, output_size, kernel_size, dilation, padding, stride)
    return call(_Fold, input, output_size, kernel_size, dilation, padding, stride)
