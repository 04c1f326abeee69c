"""Batch, instance, group, layer and RMS normalisation."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from numpy import ndarray

from .. import _core
from ..autograd import Function
from ._dispatch import ArrayT, call

__all__ = ["batch_norm", "group_norm", "instance_norm", "layer_norm", "rms_norm"]


_PLAIN = frozenset({ndarray, type(None)})


def _plain(*arrays: Any) -> bool:
    """Whether `_core` takes the arguments as they are."""
    return _PLAIN.issuperset(map(type, arrays))


class _BatchNorm(Function):
    array_args = 5

    @staticmethod
    def forward(ctx: Any, *args: Any) -> Any:
        if True not in ctx.needs_input_grad:
            return ctx.kernels.batch_norm(*args)
        input, mean, var, weight, bias, training, momentum, eps, activation = args
        output, statistics = ctx.kernels.batch_norm(
            input, mean, var, weight, bias, training, momentum, eps, activation, save=True
        )
        ctx.save_for_backward(input, statistics, weight, bias)
        ctx.settings = training, eps, activation
        return output

    @staticmethod
    def backward(ctx: Any, grad: Any) -> Any:
        of_input, of_weight, of_bias = ctx.kernels.batch_norm_backward(
            grad, *ctx.saved_tensors, *ctx.settings, *ctx.needs_input_grad[3:5]
        )
        return of_input, None, None, of_weight, of_bias, None, None, None, None


class _BatchNormAdd(Function):
    array_args = 6

    @staticmethod
    def forward(ctx: Any, *args: Any) -> Any:
        if True not in ctx.needs_input_grad:
            return ctx.kernels.batch_norm_add(*args)
        output, statistics, saved = ctx.kernels.batch_norm_add(*args, save=True)
        input, weight = args[0], args[4]
        ctx.save_for_backward(input, statistics, saved, weight)
        training, _, eps, activation = args[6:]
        ctx.settings = training, eps, activation
        return output

    @staticmethod
    def backward(ctx: Any, grad: Any) -> Any:
        of_input, of_residual, of_weight, of_bias = ctx.kernels.batch_norm_add_backward(
            grad, *ctx.saved_tensors, *ctx.settings, *ctx.needs_input_grad[4:6]
        )
        return of_input, of_residual, None, None, of_weight, of_bias, None, None, None, None


class _InstanceNorm(Function):
    array_args = 5

    @staticmethod
    def forward(ctx: Any, *args: Any) -> Any:
        if True not in ctx.needs_input_grad:
            return ctx.kernels.instance_norm(*args)
        input, mean, var, weight, bias, use_input_stats, momentum, eps = args
        output, statistics = ctx.kernels.instance_norm(
            input, mean, var, weight, bias, use_input_stats, momentum, eps, save=True
        )
        ctx.save_for_backward(input, statistics, weight, bias)
        ctx.settings = use_input_stats, eps
        return output

    @staticmethod
    def backward(ctx: Any, grad: Any) -> Any:
        input, statistics, weight, bias = ctx.saved_tensors
        use_input_stats, eps = ctx.settings
        wanted = ctx.needs_input_grad[3:5]
        if use_input_stats:
            gradients = ctx.kernels.group_norm_backward(
                grad, input, statistics, weight, statistics.shape[2], eps, *wanted
            )
        else:
            gradients = ctx.kernels.batch_norm_backward(
                grad, input, statistics, weight, bias, False, eps, None, *wanted
            )
        return gradients[0], None, None, *gradients[1:], None, None, None


class _GroupNorm(Function):
    array_args = 3

    @staticmethod
    def forward(ctx: Any, input: Any, weight: Any, bias: Any, groups: int, eps: float) -> Any:
        if True not in ctx.needs_input_grad:
            return ctx.kernels.group_norm(input, groups, weight, bias, eps)
        output, statistics = ctx.kernels.group_norm(input, groups, weight, bias, eps, save=True)
        ctx.save_for_backward(input, statistics, weight)
        ctx.settings = groups, eps
        return output

    @staticmethod
    def backward(ctx: Any, grad: Any) -> Any:
        gradients = ctx.kernels.group_norm_backward(
            grad, *ctx.saved_tensors, *ctx.settings, *ctx.needs_input_grad[1:3]
        )
        return *gradients, None, None


class _LayerNorm(Function):
    array_args = 3

    @staticmethod
    def forward(ctx: Any, *args: Any) -> Any:
        if True not in ctx.needs_input_grad:
            return ctx.kernels.layer_norm(*args)
        input, weight, bias, shape, eps = args
        output, statistics = ctx.kernels.layer_norm(input, weight, bias, shape, eps, save=True)
        ctx.save_for_backward(input, statistics, weight)
        ctx.settings = shape, eps
        return output

    @staticmethod
    def backward(ctx: Any, grad: Any) -> Any:
        gradients = ctx.kernels.layer_norm_backward(
            grad, *ctx.saved_tensors, *ctx.settings, *ctx.needs_input_grad[1:3]
        )
        return *gradients, None, None


class _RmsNorm(Function):
    array_args = 2

    @staticmethod
    def forward(ctx: Any, input: Any, weight: Any, shape: Any, eps: float | None) -> Any:
        if True not in ctx.needs_input_grad:
            return ctx.kernels.rms_norm(input, weight, None, shape, eps)
        output, statistics = ctx.kernels.rms_norm(input, weight, None, shape, eps, save=True)
        ctx.save_for_backward(input, statistics, weight)
        ctx.settings = shape, eps
        return output

    @staticmethod
    def backward(ctx: Any, grad: Any) -> Any:
        wanted = ctx.needs_input_grad[1], False
        operands: tuple[Any, ...] = (*ctx.saved_tensors, *ctx.settings, *wanted)
        of_input, of_weight, _ = ctx.kernels.rms_norm_backward(grad, *operands)
        return of_input, of_weight, None, None


def batch_norm(
    input: ArrayT,
    running_mean: Any,
    running_var: Any,
    weight: Any = None,
    bias: Any = None,
    training: bool = False,
    momentum: float = 0.1,
    eps: float = 1e-5,
    *,
    activation: str | None = None,
    residual: Any = None,
) -> ArrayT:
    r"""Bring every channel to zero mean and unit variance over the batch, then scale and shift.

    .. math:: y = a\left(\frac{x - \mu_c}{\sqrt{\sigma_c^2 + \epsilon}} \gamma_c + \beta_c\right)

    In training the statistics are the batch's (biased variance), and the running ones move:
    ``running = (1 - momentum) * running + momentum * batch``, with the unbiased variance; otherwise
    they are the running ones (Ioffe and Szegedy, "Batch normalization", 2015, algorithms 1 and 2).

    Parameters
    ----------
    input : array of shape (batch, channels, ...), float32 or float64
        Any strides; channels-last images are read in place. On a GPU: float32, float16 or
        bfloat16; the other arrays may be float32 beside 16 bits.
    running_mean, running_var : array of shape (channels,), optional
        Updated in place when `training`; required otherwise.
    weight, bias : array of shape (channels,), optional
        :math:`\gamma` and :math:`\beta`; default: ones and zeros.
    training : bool
        Use the batch's statistics.
    momentum, eps : float
        How far the running statistics move; what is added to the variance.
    activation : str, optional
        Fused :math:`a`: "relu", "gelu", "silu", "sigmoid", "tanh", ...
    residual : array of the shape and dtype of `input`, optional
        Added before the activation, as at the end of a residual block (He et al., "Deep residual
        learning for image recognition", 2016, figure 2), which must then be None or "relu". On a
        GPU both are fused.

    Returns
    -------
    array of the kind, shape and dtype of `input`
        C-contiguous. Statistics are as good as float64 ones.

    Raises
    ------
    ValueError
        If a shape does not fit, running arrays are read-only or missing, one value must train, or
        `activation` is no name of one, or not "relu" beside a residual.
    TypeError
        If `input` is of another dtype, or the dtypes differ.

    Examples
    --------
    >>> import numpy as np
    >>> import pyfast as pf
    >>> pf.ops.batch_norm(np.array([[1.0], [3.0]]), None, None, training=True).round(3)
    array([[-1.],
           [ 1.]])
    """
    arrays = input, running_mean, running_var, weight, bias
    if residual is not None:
        given = (input, residual, *arrays[1:], training, momentum, eps, activation)
        return _core.batch_norm_add(*given) if _plain(*given[:6]) else call(_BatchNormAdd, *given)
    if _plain(*arrays):
        return _core.batch_norm(*arrays, training, momentum, eps, activation)
    return call(_BatchNorm, *arrays, training, momentum, eps, activation)


def instance_norm(
    input: ArrayT,
    running_mean: Any = None,
    running_var: Any = None,
    weight: Any = None,
    bias: Any = None,
    use_input_stats: bool = True,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> ArrayT:
    r"""Normalise every channel of every sample on its own.

    .. math:: y = \frac{x - \mu_{nc}}{\sqrt{\sigma_{nc}^2 + \epsilon}} \gamma_c + \beta_c

    (Ulyanov, Vedaldi and Lempitsky, "Instance normalization: the missing ingredient for fast
    stylization", 2016, equation 2.) Running statistics, where given, move towards the average over
    the samples; without `use_input_stats` they are what is used.

    Parameters
    ----------
    input : array of shape (batch, channels, ...), float32 or float64
        Any strides. On a GPU: float32, float16 or bfloat16; the other
        arrays may be float32 beside 16 bits.
    running_mean, running_var : array of shape (channels,), optional
        Updated in place when `use_input_stats`; required otherwise.
    weight, bias : array of shape (channels,), optional
        :math:`\gamma` and :math:`\beta`; default: ones and zeros.
    use_input_stats : bool
        Use the samples' own statistics.
    momentum : float
        How far the running statistics move.
    eps : float
        Added to the variance.

    Returns
    -------
    array of the kind, shape and dtype of `input`
        C-contiguous.

    Raises
    ------
    ValueError
        If a shape does not fit `input`, a running array is read-only or missing, or
        `use_input_stats` with a single position.
    TypeError
        If `input` is of another dtype, or the dtypes differ.

    Examples
    --------
    >>> import numpy as np
    >>> import pyfast as pf
    >>> x = np.array([[[1.0, 3.0], [10.0, 30.0]]])
    >>> pf.ops.instance_norm(x).round(3)
    array([[[-1.,  1.],
            [-1.,  1.]]])
    """
    args = input, running_mean, running_var, weight, bias, use_input_stats, momentum, eps
    if _plain(*args[:5]):
        return _core.instance_norm(*args)
    return call(_InstanceNorm, *args)


def group_norm(
    input: ArrayT, num_groups: int, weight: Any = None, bias: Any = None, eps: float = 1e-5
) -> ArrayT:
    r"""Normalise every group of channels of every sample on its own.

    .. math:: y = \frac{x - \mu_{ng}}{\sqrt{\sigma_{ng}^2 + \epsilon}} \gamma_c + \beta_c

    (Wu and He, "Group normalization", 2018, equations 1 to 7.)

    Parameters
    ----------
    input : array of shape (batch, channels, ...), float32 or float64
        Any strides. On a GPU: float32, float16 or bfloat16; the other
        arrays may be float32 beside 16 bits.
    num_groups : int
        Must divide channels.
    weight, bias : array of shape (channels,), optional
        :math:`\gamma` and :math:`\beta`; default: ones and zeros.
    eps : float
        Added to the variance.

    Returns
    -------
    array of the kind, shape and dtype of `input`
        C-contiguous.

    Raises
    ------
    ValueError
        If `num_groups` does not divide channels, a shape does not fit, or the only sample has one
        value per group.
    TypeError
        If `input` is of another dtype, or the dtypes differ.

    Examples
    --------
    >>> import numpy as np
    >>> import pyfast as pf
    >>> x = np.array([[1.0, 3.0, 10.0, 30.0]])
    >>> pf.ops.group_norm(x, 2).round(3)
    array([[-1.,  1., -1.,  1.]])
    """
    if _plain(input, weight, bias):
        return _core.group_norm(input, num_groups, weight, bias, eps)
    return call(_GroupNorm, input, weight, bias, num_groups, eps)


def layer_norm(
    input: ArrayT,
    normalized_shape: int | Sequence[int],
    weight: Any = None,
    bias: Any = None,
    eps: float = 1e-5,
) -> ArrayT:
    r"""Normalise over the last axes.

    .. math:: y = \frac{x - \mu}{\sqrt{\sigma^2 + \epsilon}} \odot \gamma + \beta

    :math:`\mu` and :math:`\sigma^2` (biased) are over the axes of `normalized_shape`. (Ba, Kiros
    and Hinton, "Layer normalization", 2016, equation 4.)

    Parameters
    ----------
    input : array of shape (..., *normalized_shape), float32 or float64
        Any strides. On a GPU: float32, float16 or bfloat16; the other
        arrays may be float32 beside 16 bits.
    normalized_shape : int or sequence of ints
        The last sizes of `input`; an int is one size.
    weight, bias : array of shape normalized_shape, optional
        :math:`\gamma` and :math:`\beta`; default: ones and zeros.
    eps : float
        Added to the variance.

    Returns
    -------
    array of the kind, shape and dtype of `input`
        C-contiguous.

    Raises
    ------
    ValueError
        If `normalized_shape` is not how the shape of `input` ends, or a weight's shape differs.
    TypeError
        If `input` is of another dtype, or the dtypes differ.

    Examples
    --------
    >>> import numpy as np
    >>> import pyfast as pf
    >>> pf.ops.layer_norm(np.array([[1.0, 3.0], [10.0, 30.0]]), 2).round(3)
    array([[-1.,  1.],
           [-1.,  1.]])
    """
    if _plain(input, weight, bias):
        return _core.layer_norm(input, weight, bias, normalized_shape, eps)
    return call(_LayerNorm, input, weight, bias, normalized_shape, eps)


def rms_norm(
    input: ArrayT,
    normalized_shape: int | Sequence[int],
    weight: Any = None,
    eps: float | None = None,
) -> ArrayT:
    r"""Divide by the root mean square over the last axes.

    .. math:: y = \frac{x}{\sqrt{\frac{1}{n} \sum_i x_i^2 + \epsilon}} \odot \gamma

    (Zhang and Sennrich, "Root mean square layer normalization", 2019, equation 4.)

    Parameters
    ----------
    input : array of shape (..., *normalized_shape), float32 or float64
        Any strides. On a GPU: float32, float16 or bfloat16; the other
        arrays may be float32 beside 16 bits.
    normalized_shape : int or sequence of ints
        The last sizes of `input`; an int is one size.
    weight : array of shape normalized_shape, optional
        :math:`\gamma`; default: ones.
    eps : float, optional
        Added to the mean square. Default: the machine epsilon of the dtype.

    Returns
    -------
    array of the kind, shape and dtype of `input`
        C-contiguous.

    Raises
    ------
    ValueError
        If `normalized_shape` is not how the shape of `input` ends, or the weight's shape differs.
    TypeError
        If `input` is of another dtype, or the dtypes differ.

    Examples
    --------
    >>> import numpy as np
    >>> import pyfast as pf
    >>> pf.ops.rms_norm(np.array([[1.0, 7.0]]), 2).round(3)
    array([[0.2, 1.4]])
    """
    if _plain(input, weight):
        return _core.rms_norm(input, weight, None, normalized_shape, eps)
    return call(_RmsNorm, input, weight, normalized_shape, eps)
