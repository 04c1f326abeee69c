"""Activations, element by element: each is one pass over memory, and one more backward.

Arguments have PyTorch's names and order, except that there is no ``inplace``: arrays are never
overwritten.
"""

from __future__ import annotations

from typing import Any

from numpy import ndarray

from .. import _core
from ..autograd import Function
from ._dispatch import ArrayT, call

__all__ = [
    "celu",
    "elu",
    "gelu",
    "hardshrink",
    "hardsigmoid",
    "hardswish",
    "hardtanh",
    "leaky_relu",
    "logsigmoid",
    "mish",
    "relu",
    "relu6",
    "selu",
    "sigmoid",
    "silu",
    "softplus",
    "softshrink",
    "softsign",
    "tanh",
    "tanhshrink",
    "threshold",
]


def _unary(name: str, op: str, saves_output: bool = False) -> type[Function]:
    """The Function of the kernel ``op(input, *settings)`` and its backward."""

    def forward(ctx: Any, input: Any, *settings: Any) -> Any:
        output = getattr(ctx.kernels, op)(input, *settings)
        ctx.save_for_backward(output if saves_output else input)
        ctx.settings = settings
        return output

    def backward(ctx: Any, grad: Any) -> Any:
        (saved,) = ctx.saved_tensors
        gradient = getattr(ctx.kernels, op + "_backward")(grad, saved, *ctx.settings)
        return (gradient, *(None for _ in ctx.settings))

    methods = {"forward": staticmethod(forward), "backward": staticmethod(backward)}
    return type(name, (Function,), {"array_args": 1, "__module__": __name__, **methods})


_Relu = _unary("_Relu", "relu", saves_output=True)
_Relu6 = _unary("_Relu6", "relu6", saves_output=True)
_LeakyRelu = _unary("_LeakyRelu", "leaky_relu")
_Elu = _unary("_Elu", "elu")
_Selu = _unary("_Selu", "selu")
_Celu = _unary("_Celu", "celu")
_Gelu = _unary("_Gelu", "gelu")
_GeluTanh = _unary("_GeluTanh", "gelu_tanh")
_Silu = _unary("_Silu", "silu")
_Mish = _unary("_Mish", "mish")
_Sigmoid = _unary("_Sigmoid", "sigmoid", saves_output=True)
_Logsigmoid = _unary("_Logsigmoid", "logsigmoid")
_Tanh = _unary("_Tanh", "tanh", saves_output=True)
_Softplus = _unary("_Softplus", "softplus")
_Softsign = _unary("_Softsign", "softsign")
_Hardswish = _unary("_Hardswish", "hardswish")
_Hardsigmoid = _unary("_Hardsigmoid", "hardsigmoid")
_Hardtanh = _unary("_Hardtanh", "hardtanh")
_Hardshrink = _unary("_Hardshrink", "hardshrink")
_Softshrink = _unary("_Softshrink", "softshrink")
_Tanhshrink = _unary("_Tanhshrink", "tanhshrink")
_Threshold = _unary("_Threshold", "threshold")


def relu(input: ArrayT) -> ArrayT:
    r"""Rectified linear unit: what is negative becomes 0.

    .. math:: y = \max(x, 0)

    Nair and Hinton, *ICML*, 2010.

    Parameters
    ----------
    input : array of any shape, float32 or float64
        Any strides. On a GPU: float32, float16 or bfloat16.

    Returns
    -------
    array of the kind, shape and dtype of `input`
        C-contiguous.

    Raises
    ------
    TypeError
        If `input` is of another dtype.

    Examples
    --------
    >>> import numpy as np
    >>> import pyfast as pf
    >>> pf.ops.relu(np.array([-2.0, 0.5, 3.0]))
    array([0. , 0.5, 3. ])
    """
    if type(input) is ndarray:
        return _core.relu(input)
    return call(_Relu, input)


def relu6(input: ArrayT) -> ArrayT:
    r"""Rectified linear unit that saturates at 6.

    .. math:: y = \min(\max(x, 0), 6)

    Krizhevsky, *Convolutional deep belief networks on CIFAR-10*, 2010.

    Parameters
    ----------
    input : array of any shape, float32 or float64
        Any strides. On a GPU: float32, float16 or bfloat16.

    Returns
    -------
    array of the kind, shape and dtype of `input`
        C-contiguous.

    Raises
    ------
    TypeError
        If `input` is of another dtype.

    Examples
    --------
    >>> import numpy as np
    >>> import pyfast as pf
    >>> pf.ops.relu6(np.array([-2.0, 0.5, 7.0]))
    array([0. , 0.5, 6. ])
    """
    if type(input) is ndarray:
        return _core.relu6(input)
    return call(_Relu6, input)


def leaky_relu(input: ArrayT, negative_slope: float = 0.01) -> ArrayT:
    r"""Rectified linear unit with a small slope below 0.

    .. math:: y = x \text{ if } x > 0 \text{ else } s x

    Maas, Hannun and Ng, *ICML*, 2013.

    Parameters
    ----------
    input : array of any shape, float32 or float64
        Any strides. On a GPU: float32, float16 or bfloat16.
    negative_slope : float
        The slope s. Default: 0.01.

    Returns
    -------
    array of the kind, shape and dtype of `input`
        C-contiguous.

    Raises
    ------
    TypeError
        If `input` is of another dtype, or `negative_slope` is not a number.

    Examples
    --------
    >>> import numpy as np
    >>> import pyfast as pf
    >>> pf.ops.leaky_relu(np.array([-2.0, 0.5, 3.0])).round(4)
    array([-0.02,  0.5 ,  3.  ])
    """
    if type(input) is ndarray:
        return _core.leaky_relu(input, negative_slope)
    return call(_LeakyRelu, input, negative_slope)


def elu(input: ArrayT, alpha: float = 1.0) -> ArrayT:
    r"""Exponential linear unit: below 0 it falls smoothly to -alpha.

    .. math:: y = x \text{ if } x > 0 \text{ else } \alpha (e^x - 1)

    Clevert, Unterthiner and Hochreiter, *ICLR*, 2016.

    Parameters
    ----------
    input : array of any shape, float32 or float64
        Any strides. On a GPU: float32, float16 or bfloat16.
    alpha : float
        What y tends to, negated, where x falls. Default: 1.0.

    Returns
    -------
    array of the kind, shape and dtype of `input`
        C-contiguous.

    Raises
    ------
    TypeError
        If `input` is of another dtype, or `alpha` is not a number.

    Examples
    --------
    >>> import numpy as np
    >>> import pyfast as pf
    >>> pf.ops.elu(np.array([-2.0, 0.5, 3.0])).round(4)
    array([-0.8647,  0.5   ,  3.    ])
    """
    if type(input) is ndarray:
        return _core.elu(input, alpha)
    return call(_Elu, input, alpha)


def selu(input: ArrayT) -> ArrayT:
    r"""Scaled exponential linear unit: keeps activations at mean 0 and variance 1.

    .. math:: y = \lambda x \text{ if } x > 0 \text{ else } \lambda \alpha (e^x - 1)

    With alpha = 1.6733 and lambda = 1.0507: Klambauer et al., *NeurIPS*, 2017.

    Parameters
    ----------
    input : array of any shape, float32 or float64
        Any strides. On a GPU: float32, float16 or bfloat16.

    Returns
    -------
    array of the kind, shape and dtype of `input`
        C-contiguous.

    Raises
    ------
    TypeError
        If `input` is of another dtype.

    Examples
    --------
    >>> import numpy as np
    >>> import pyfast as pf
    >>> pf.ops.selu(np.array([-2.0, 0.5, 3.0])).round(4)
    array([-1.5202,  0.5254,  3.1521])
    """
    if type(input) is ndarray:
        return _core.selu(input)
    return call(_Selu, input)


def celu(input: ArrayT, alpha: float = 1.0) -> ArrayT:
    r"""Exponential linear unit that is smooth at 0 for every alpha.

    .. math:: y = x \text{ if } x > 0 \text{ else } \alpha (e^{x / \alpha} - 1)

    Barron, arXiv:1704.07483, 2017.

    Parameters
    ----------
    input : array of any shape, float32 or float64
        Any strides. On a GPU: float32, float16 or bfloat16.
    alpha : float
        What y tends to, negated, where x falls; not 0. Default: 1.0.

    Returns
    -------
    array of the kind, shape and dtype of `input`
        C-contiguous.

    Raises
    ------
    TypeError
        If `input` is of another dtype, or `alpha` is not a number.
    ValueError
        If `alpha` is 0.

    Examples
    --------
    >>> import numpy as np
    >>> import pyfast as pf
    >>> pf.ops.celu(np.array([-2.0, 0.5, 3.0])).round(4)
    array([-0.8647,  0.5   ,  3.    ])
    """
    if type(input) is ndarray:
        return _core.celu(input, alpha)
    return call(_Celu, input, alpha)


def gelu(input: ArrayT, approximate: str = "none") -> ArrayT:
    r"""Gaussian error linear unit: x times the chance that a normal variable is below it.

    .. math:: y = x \Phi(x) = \frac{x}{2} \left(1 + \operatorname{erf} \frac{x}{\sqrt 2}\right)

    Hendrycks and Gimpel, arXiv:1606.08415, 2016. Their approximation is
    ``x / 2 (1 + tanh(sqrt(2 / pi) (x + 0.044715 x**3)))``.

    Parameters
    ----------
    input : array of any shape, float32 or float64
        Any strides. On a GPU: float32, float16 or bfloat16.
    approximate : str
        `'none'`: exact. `'tanh'`: the approximation above.

    Returns
    -------
    array of the kind, shape and dtype of `input`
        C-contiguous.

    Raises
    ------
    TypeError
        If `input` is of another dtype.
    ValueError
        If `approximate` is neither.

    Examples
    --------
    >>> import numpy as np
    >>> import pyfast as pf
    >>> pf.ops.gelu(np.array([-2.0, 0.5, 3.0])).round(4)
    array([-0.0455,  0.3457,  2.996 ])
    """
    if approximate == "none":
        return _core.gelu(input) if type(input) is ndarray else call(_Gelu, input)
    if approximate == "tanh":
        return _core.gelu_tanh(input) if type(input) is ndarray else call(_GeluTanh, input)
    raise ValueError(f"gelu: approximate must be 'none' or 'tanh', got {approximate!r}")


def silu(input: ArrayT) -> ArrayT:
    r"""Sigmoid linear unit, also called swish.

    .. math:: y = x \sigma(x) = \frac{x}{1 + e^{-x}}

    Elfwing, Uchibe and Doya, *Neural Networks* 107, 2018.

    Parameters
    ----------
    input : array of any shape, float32 or float64
        Any strides. On a GPU: float32, float16 or bfloat16.

    Returns
    -------
    array of the kind, shape and dtype of `input`
        C-contiguous.

    Raises
    ------
    TypeError
        If `input` is of another dtype.

    Examples
    --------
    >>> import numpy as np
    >>> import pyfast as pf
    >>> pf.ops.silu(np.array([-2.0, 0.5, 3.0])).round(4)
    array([-0.2384,  0.3112,  2.8577])
    """
    if type(input) is ndarray:
        return _core.silu(input)
    return call(_Silu, input)


def mish(input: ArrayT) -> ArrayT:
    r"""Self-gated activation by the tanh of softplus.

    .. math:: y = x \tanh(\log(1 + e^x))

    Misra, *BMVC*, 2020.

    Parameters
    ----------
    input : array of any shape, float32 or float64
        Any strides. On a GPU: float32, float16 or bfloat16.

    Returns
    -------
    array of the kind, shape and dtype of `input`
        C-contiguous.

    Raises
    ------
    TypeError
        If `input` is of another dtype.

    Examples
    --------
    >>> import numpy as np
    >>> import pyfast as pf
    >>> pf.ops.mish(np.array([-2.0, 0.5, 3.0])).round(4)
    array([-0.2525,  0.3752,  2.9865])
    """
    if type(input) is ndarray:
        return _core.mish(input)
    return call(_Mish, input)


def sigmoid(input: ArrayT) -> ArrayT:
    r"""Logistic function, into (0, 1).

    .. math:: y = \sigma(x) = \frac{1}{1 + e^{-x}}

    Goodfellow, Bengio and Courville, *Deep Learning*, 2016, section 3.10.

    Parameters
    ----------
    input : array of any shape, float32 or float64
        Any strides. On a GPU: float32, float16 or bfloat16.

    Returns
    -------
    array of the kind, shape and dtype of `input`
        C-contiguous.

    Raises
    ------
    TypeError
        If `input` is of another dtype.

    Examples
    --------
    >>> import numpy as np
    >>> import pyfast as pf
    >>> pf.ops.sigmoid(np.array([-2.0, 0.5, 3.0])).round(4)
    array([0.1192, 0.6225, 0.9526])
    """
    if type(input) is ndarray:
        return _core.sigmoid(input)
    return call(_Sigmoid, input)


def logsigmoid(input: ArrayT) -> ArrayT:
    r"""Logarithm of :func:`sigmoid`, computed without forming it.

    .. math:: y = \min(x, 0) - \log(1 + e^{-|x|})

    Exact where the sigmoid itself would round to 0 or 1.

    Parameters
    ----------
    input : array of any shape, float32 or float64
        Any strides. On a GPU: float32, float16 or bfloat16.

    Returns
    -------
    array of the kind, shape and dtype of `input`
        C-contiguous.

    Raises
    ------
    TypeError
        If `input` is of another dtype.

    Examples
    --------
    >>> import numpy as np
    >>> import pyfast as pf
    >>> pf.ops.logsigmoid(np.array([-2.0, 0.5, 3.0])).round(4)
    array([-2.1269, -0.4741, -0.0486])
    """
    if type(input) is ndarray:
        return _core.logsigmoid(input)
    return call(_Logsigmoid, input)


def tanh(input: ArrayT) -> ArrayT:
    r"""Hyperbolic tangent, into (-1, 1).

    .. math:: y = \frac{e^x - e^{-x}}{e^x + e^{-x}}

    LeCun et al., *Efficient BackProp*, 1998, section 4.4.

    Parameters
    ----------
    input : array of any shape, float32 or float64
        Any strides. On a GPU: float32, float16 or bfloat16.

    Returns
    -------
    array of the kind, shape and dtype of `input`
        C-contiguous.

    Raises
    ------
    TypeError
        If `input` is of another dtype.

    Examples
    --------
    >>> import numpy as np
    >>> import pyfast as pf
    >>> pf.ops.tanh(np.array([-2.0, 0.5, 3.0])).round(4)
    array([-0.964 ,  0.4621,  0.9951])
    """
    if type(input) is ndarray:
        return _core.tanh(input)
    return call(_Tanh, input)


def softplus(input: ArrayT, beta: float = 1.0, threshold: float = 20.0) -> ArrayT:
    r"""Smooth rectifier.

    .. math:: y = \frac{1}{\beta} \log(1 + e^{\beta x})

    Dugas et al., *NeurIPS*, 2000. Where beta x exceeds the threshold, y is x itself.

    Parameters
    ----------
    input : array of any shape, float32 or float64
        Any strides. On a GPU: float32, float16 or bfloat16.
    beta : float
        How sharp the bend is; not 0. Default: 1.0.
    threshold : float
        Beyond it the function is the identity. Default: 20.0.

    Returns
    -------
    array of the kind, shape and dtype of `input`
        C-contiguous.

    Raises
    ------
    TypeError
        If `input` is of another dtype, or an argument is not a number.
    ValueError
        If `beta` is 0.

    Examples
    --------
    >>> import numpy as np
    >>> import pyfast as pf
    >>> pf.ops.softplus(np.array([-2.0, 0.5, 3.0])).round(4)
    array([0.1269, 0.9741, 3.0486])
    """
    if type(input) is ndarray:
        return _core.softplus(input, beta, threshold)
    return call(_Softplus, input, beta, threshold)


def softsign(input: ArrayT) -> ArrayT:
    r"""Gentler relative of :func:`tanh`: its tails fall off as 1/x.

    .. math:: y = \frac{x}{1 + |x|}

    Glorot and Bengio, *AISTATS*, 2010.

    Parameters
    ----------
    input : array of any shape, float32 or float64
        Any strides. On a GPU: float32, float16 or bfloat16.

    Returns
    -------
    array of the kind, shape and dtype of `input`
        C-contiguous.

    Raises
    ------
    TypeError
        If `input` is of another dtype.

    Examples
    --------
    >>> import numpy as np
    >>> import pyfast as pf
    >>> pf.ops.softsign(np.array([-2.0, 0.5, 3.0])).round(4)
    array([-0.6667,  0.3333,  0.75  ])
    """
    if type(input) is ndarray:
        return _core.softsign(input)
    return call(_Softsign, input)


def hardswish(input: ArrayT) -> ArrayT:
    r"""Piecewise quadratic stand-in for :func:`silu`.

    .. math:: y = x \frac{\min(\max(x + 3, 0), 6)}{6}

    Howard et al., *ICCV*, 2019 (MobileNetV3), section 5.2.

    Parameters
    ----------
    input : array of any shape, float32 or float64
        Any strides. On a GPU: float32, float16 or bfloat16.

    Returns
    -------
    array of the kind, shape and dtype of `input`
        C-contiguous.

    Raises
    ------
    TypeError
        If `input` is of another dtype.

    Examples
    --------
    >>> import numpy as np
    >>> import pyfast as pf
    >>> pf.ops.hardswish(np.array([-2.0, 0.5, 3.0])).round(4)
    array([-0.3333,  0.2917,  3.    ])
    """
    if type(input) is ndarray:
        return _core.hardswish(input)
    return call(_Hardswish, input)


def hardsigmoid(input: ArrayT) -> ArrayT:
    r"""Piecewise linear stand-in for :func:`sigmoid`.

    .. math:: y = \frac{\min(\max(x + 3, 0), 6)}{6}

    Howard et al., *ICCV*, 2019 (MobileNetV3), section 5.2.

    Parameters
    ----------
    input : array of any shape, float32 or float64
        Any strides. On a GPU: float32, float16 or bfloat16.

    Returns
    -------
    array of the kind, shape and dtype of `input`
        C-contiguous.

    Raises
    ------
    TypeError
        If `input` is of another dtype.

    Examples
    --------
    >>> import numpy as np
    >>> import pyfast as pf
    >>> pf.ops.hardsigmoid(np.array([-2.0, 0.5, 3.0])).round(4)
    array([0.1667, 0.5833, 1.    ])
    """
    if type(input) is ndarray:
        return _core.hardsigmoid(input)
    return call(_Hardsigmoid, input)


def hardtanh(input: ArrayT, min_val: float = -1.0, max_val: float = 1.0) -> ArrayT:
    r"""Clamp between two bounds: a piecewise linear stand-in for :func:`tanh`.

    .. math:: y = \min(\max(x, \text{min\_val}), \text{max\_val})

    Collobert, PhD thesis, 2004.

    Parameters
    ----------
    input : array of any shape, float32 or float64
        Any strides. On a GPU: float32, float16 or bfloat16.
    min_val : float
        The lower bound. Default: -1.0.
    max_val : float
        The upper bound. Default: 1.0.

    Returns
    -------
    array of the kind, shape and dtype of `input`
        C-contiguous.

    Raises
    ------
    TypeError
        If `input` is of another dtype, or an argument is not a number.
    ValueError
        If `min_val` exceeds `max_val`.

    Examples
    --------
    >>> import numpy as np
    >>> import pyfast as pf
    >>> pf.ops.hardtanh(np.array([-2.0, 0.5, 3.0]))
    array([-1. ,  0.5,  1. ])
    """
    if type(input) is ndarray:
        return _core.hardtanh(input, min_val, max_val)
    return call(_Hardtanh, input, min_val, max_val)


def hardshrink(input: ArrayT, lambd: float = 0.5) -> ArrayT:
    r"""Hard thresholding: what is small becomes 0.

    .. math:: y = 0 \text{ if } |x| \le \lambda \text{ else } x

    Donoho and Johnstone, *Biometrika* 81, 1994.

    Parameters
    ----------
    input : array of any shape, float32 or float64
        Any strides. On a GPU: float32, float16 or bfloat16.
    lambd : float
        The largest magnitude that is cut. Default: 0.5.

    Returns
    -------
    array of the kind, shape and dtype of `input`
        C-contiguous.

    Raises
    ------
    TypeError
        If `input` is of another dtype, or `lambd` is not a number.

    Examples
    --------
    >>> import numpy as np
    >>> import pyfast as pf
    >>> pf.ops.hardshrink(np.array([-2.0, 0.5, 3.0]))
    array([-2.,  0.,  3.])
    """
    if type(input) is ndarray:
        return _core.hardshrink(input, lambd)
    return call(_Hardshrink, input, lambd)


def softshrink(input: ArrayT, lambd: float = 0.5) -> ArrayT:
    r"""Soft thresholding: shrinks towards 0 by lambd, and stops there.

    .. math:: y = \operatorname{sign}(x) \max(|x| - \lambda, 0)

    Donoho and Johnstone, *Biometrika* 81, 1994; the proximal map of the L1 norm.

    Parameters
    ----------
    input : array of any shape, float32 or float64
        Any strides. On a GPU: float32, float16 or bfloat16.
    lambd : float
        By how much, at least 0. Default: 0.5.

    Returns
    -------
    array of the kind, shape and dtype of `input`
        C-contiguous.

    Raises
    ------
    TypeError
        If `input` is of another dtype, or `lambd` is not a number.
    ValueError
        If `lambd` is negative.

    Examples
    --------
    >>> import numpy as np
    >>> import pyfast as pf
    >>> pf.ops.softshrink(np.array([-2.0, 0.5, 3.0]))
    array([-1.5,  0. ,  2.5])
    """
    if type(input) is ndarray:
        return _core.softshrink(input, lambd)
    return call(_Softshrink, input, lambd)


def tanhshrink(input: ArrayT) -> ArrayT:
    r"""What :func:`tanh` takes away.

    .. math:: y = x - \tanh x

    The residual of the hyperbolic tangent: nearly 0 around 0, nearly linear far away.

    Parameters
    ----------
    input : array of any shape, float32 or float64
        Any strides. On a GPU: float32, float16 or bfloat16.

    Returns
    -------
    array of the kind, shape and dtype of `input`
        C-contiguous.

    Raises
    ------
    TypeError
        If `input` is of another dtype.

    Examples
    --------
    >>> import numpy as np
    >>> import pyfast as pf
    >>> pf.ops.tanhshrink(np.array([-2.0, 0.5, 3.0])).round(4)
    array([-1.036 ,  0.0379,  2.0049])
    """
    if type(input) is ndarray:
        return _core.tanhshrink(input)
    return call(_Tanhshrink, input)


def threshold(input: ArrayT, threshold: float, value: float) -> ArrayT:
    r"""Replace what does not exceed a threshold.

    .. math:: y = x \text{ if } x > \text{threshold} \text{ else value}

    :func:`relu` is the case of two zeros.

    Parameters
    ----------
    input : array of any shape, float32 or float64
        Any strides. On a GPU: float32, float16 or bfloat16.
    threshold : float
        The largest x that is replaced.
    value : float
        By what.

    Returns
    -------
    array of the kind, shape and dtype of `input`
        C-contiguous.

    Raises
    ------
    TypeError
        If `input` is of another dtype, or an argument is not a number.

    Examples
    --------
    >>> import numpy as np
    >>> import pyfast as pf
    >>> pf.ops.threshold(np.array([-2.0, 0.5, 3.0]), 1.0, -1.0)
    array([-1., -1.,  3.])
    """
    if type(input) is ndarray:
        return _core.threshold(input, threshold, value)
    return call(_Threshold, input, threshold, value)
