"""Losses: how far a prediction is from its target, as one number or one per element."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np

from ..autograd import Function, sum_to
from ._dispatch import ArrayT, call

__all__ = [
    "binary_cross_entropy",
    "binary_cross_entropy_with_logits",
    "cross_entropy",
    "huber_loss",
    "kl_div",
    "l1_loss",
    "mse_loss",
    "nll_loss",
    "smooth_l1_loss",
]


class _Pointwise(Function):
    """Losses that compare element by element; subclasses say which."""

    array_args = 4
    op: ClassVar[str]
    loss: ClassVar[str]

    @classmethod
    def forward(
        cls, ctx: Any, input: Any, target: Any, weight: Any, pos_weight: Any, *settings: Any
    ) -> Any:
        scale, reduction = settings
        ctx.shapes = np.shape(input), np.shape(target)
        arrays = _broadcast(cls.op, input, target, weight, pos_weight)
        ctx.save_for_backward(*arrays)
        ctx.settings = cls.op, cls._loss(scale), float(scale or 0), reduction
        return ctx.kernels.pointwise_loss(*ctx.settings, *arrays)

    @classmethod
    def _loss(cls, scale: Any) -> str:
        return cls.loss

    @staticmethod
    def backward(ctx: Any, grad: Any) -> Any:
        operands: tuple[Any, ...] = (grad, *ctx.saved_tensors, ctx.needs_input_grad[1])
        grads = ctx.kernels.pointwise_loss_backward(*ctx.settings, *operands)
        sums = [None if g is None else sum_to(g, s) for g, s in zip(grads, ctx.shapes, strict=True)]
        return (*sums, None, None, None, None)


class _MseLoss(_Pointwise):
    op = "mse_loss"
    loss = "mse"


class _L1Loss(_Pointwise):
    op = "l1_loss"
    loss = "l1"


class _SmoothL1Loss(_Pointwise):
    op = "smooth_l1_loss"
    loss = "smooth_l1"


class _HuberLoss(_Pointwise):
    op = "huber_loss"
    loss = "huber"


class _BinaryCrossEntropy(_Pointwise):
    op = "binary_cross_entropy"
    loss = "bce"


class _BinaryCrossEntropyWithLogits(_Pointwise):
    op = "binary_cross_entropy_with_logits"
    loss = "bce_logits"


class _KlDiv(_Pointwise):
    op = "kl_div"
    loss = "kl"

    @classmethod
    def _loss(cls, scale: Any) -> str:
        return "kl_log" if scale else "kl"  # kl_div has no scale: it carries log_target


def _broadcast(op: str, input: Any, target: Any, weight: Any, pos_weight: Any) -> list[Any]:
    """The operands at one shape; binary cross-entropies want input and target alike."""
    if np.shape(input) != np.shape(target) and op.startswith("binary"):
        raise ValueError(
            f"{op}: target must have the shape of input {np.shape(input)}, got {np.shape(target)}"
        )
    try:
        shape = np.broadcast_shapes(np.shape(input), np.shape(target))
    except ValueError:
        raise ValueError(
            f"{op}: target of shape {np.shape(target)} does not broadcast with input of shape "
            f"{np.shape(input)}"
        ) from None
    arrays = []
    for name, a in (("input", input), ("target", target), ("weight", weight),
                    ("pos_weight", pos_weight)):  # fmt: skip
        if a is None or np.shape(a) == shape:
            arrays.append(a)
            continue
        try:
            arrays.append(_stretch(a, shape))
        except ValueError:
            raise ValueError(
                f"{op}: {name} of shape {np.shape(a)} does not broadcast to {shape}"
            ) from None
    return arrays


def _stretch(array: Any, shape: tuple[int, ...]) -> Any:
    """An array seen at a shape it broadcasts to; torch's CUDA tensors are not NumPy's to see."""
    if not hasattr(array, "expand"):
        return np.broadcast_to(array, shape)
    try:
        return array.expand(shape)
    except RuntimeError as problem:
        raise ValueError(str(problem)) from problem


class _ClassLoss(Function):
    """cross_entropy and nll_loss."""

    array_args = 3
    nll: ClassVar[bool]

    @classmethod
    def forward(cls, ctx: Any, input: Any, target: Any, weight: Any, *settings: Any) -> Any:
        loss, log_sum_exp = ctx.kernels.cross_entropy(cls.nll, input, target, weight, *settings)
        ctx.save_for_backward(input, target, weight, log_sum_exp)
        ctx.settings = settings
        return loss

    @classmethod
    def backward(cls, ctx: Any, grad: Any) -> Any:
        need_target = ctx.needs_input_grad[1]
        operands: tuple[Any, ...] = (*ctx.saved_tensors, *ctx.settings, need_target)
        grads = ctx.kernels.cross_entropy_backward(cls.nll, grad, *operands)
        return (*grads, None, None, None, None)


class _CrossEntropy(_ClassLoss):
    nll = False


class _NllLoss(_ClassLoss):
    nll = True


def cross_entropy(
    input: ArrayT,
    target: Any,
    weight: Any = None,
    *,
    ignore_index: int = -100,
    reduction: str = "mean",
    label_smoothing: float = 0.0,
) -> ArrayT:
    r"""Cross-entropy between class scores and target classes.

    .. math:: \ell_i = -\sum_c w_c\, q_{ic} \log \frac{e^{x_{ic}}}{\sum_k e^{x_{ik}}}

    with :math:`q` the target distribution: one-hot for class indices, as given for probabilities;
    mixed with the uniform one by `label_smoothing` (Szegedy et al., 2016, section 7). The
    logarithm and the sum are fused: no array of probabilities is made.

    Parameters
    ----------
    input : array of shape (N, C, d1, ...) or (C,), float32 or float64
        On a GPU: float32, float16 or bfloat16.
        Scores (logits), classes along the second axis.
    target : array of shape (N, d1, ...) or (), integers; or of the shape and dtype of `input`
        Class indices in [0, C), or a probability for each class.
    weight : array of shape (C,), optional
        Weight of each class, of the dtype of `input`.
    ignore_index : int
        Rows with this index count neither in the sum nor in the mean.
    reduction : {"mean", "sum", "none"}
        "mean" divides by the sum of the targets' weights (indices) or by the number of rows
        (probabilities).
    label_smoothing : float in [0, 1]

    Returns
    -------
    array of the kind of `input`, shape () or, with "none", (N, d1, ...)

    Raises
    ------
    IndexError
        If a class index is outside [0, C) and not `ignore_index`.
    ValueError
        If shapes disagree, or `reduction` or `label_smoothing` is none of the above.
    TypeError
        If dtypes are mixed.

    Examples
    --------
    >>> import numpy as np
    >>> import pyfast as pf
    >>> float(pf.ops.cross_entropy(np.array([[0.0, 0.0]]), np.array([1])).round(4))
    0.6931
    """
    return call(_CrossEntropy, input, target, weight, ignore_index, reduction, label_smoothing)


def nll_loss(
    input: ArrayT,
    target: Any,
    weight: Any = None,
    *,
    ignore_index: int = -100,
    reduction: str = "mean",
) -> ArrayT:
    r"""Negative log-likelihood of log-probabilities, :math:`\ell_i = -w_{t_i} x_{i t_i}`.

    With :func:`log_softmax` before it this is :func:`cross_entropy` (Bishop, *Pattern Recognition
    and Machine Learning*, 2006, section 4.3.4).

    Parameters
    ----------
    input : array of shape (N, C, d1, ...) or (C,), float32 or float64
        On a GPU: float32, float16 or bfloat16.
        Log-probabilities, classes along the second axis.
    target : array of shape (N, d1, ...) or (), integers
        Class indices in [0, C).
    weight : array of shape (C,), optional
        Weight of each class, of the dtype of `input`.
    ignore_index : int
        Rows with this index count neither in the sum nor in the mean.
    reduction : {"mean", "sum", "none"}
        "mean" divides by the sum of the targets' weights.

    Returns
    -------
    array of the kind of `input`, shape () or, with "none", (N, d1, ...)

    Raises
    ------
    IndexError
        If a class index is outside [0, C) and not `ignore_index`.
    ValueError, TypeError
        If shapes or dtypes disagree.

    Examples
    --------
    >>> import numpy as np
    >>> import pyfast as pf
    >>> float(pf.ops.nll_loss(np.array([[-1.0, -2.0]]), np.array([1])))
    2.0
    """
    return call(_NllLoss, input, target, weight, ignore_index, reduction, 0.0)


def mse_loss(input: ArrayT, target: Any, *, reduction: str = "mean", weight: Any = None) -> ArrayT:
    r"""Squared error, :math:`\ell_i = w_i (x_i - t_i)^2` (Bishop, 2006, section 1.5.5).

    Parameters
    ----------
    input : array of any shape, float32 or float64
        On a GPU: float32, float16 or bfloat16.
    target : array that broadcasts with `input`, same dtype
    reduction : {"mean", "sum", "none"}
    weight : array that broadcasts to the result, optional

    Returns
    -------
    array of the kind of `input`, shape () or, with "none", the broadcast shape

    Raises
    ------
    ValueError, TypeError
        If shapes do not broadcast, dtypes are mixed, or `reduction` is none of the above.

    Examples
    --------
    >>> import numpy as np
    >>> import pyfast as pf
    >>> float(pf.ops.mse_loss(np.array([1.0, 2.0]), np.array([1.0, 4.0])))
    2.0
    """
    return call(_MseLoss, input, target, weight, None, 0.0, reduction)


def l1_loss(input: ArrayT, target: Any, *, reduction: str = "mean", weight: Any = None) -> ArrayT:
    r"""Absolute error, :math:`\ell_i = w_i |x_i - t_i|`; its derivative at 0 is taken as 0.

    Parameters
    ----------
    input : array of any shape, float32 or float64
        On a GPU: float32, float16 or bfloat16.
    target : array that broadcasts with `input`, same dtype
    reduction : {"mean", "sum", "none"}
    weight : array that broadcasts to the result, optional

    Returns
    -------
    array of the kind of `input`, shape () or, with "none", the broadcast shape

    Raises
    ------
    ValueError, TypeError
        If shapes do not broadcast, dtypes are mixed, or `reduction` is none of the above.

    Examples
    --------
    >>> import numpy as np
    >>> import pyfast as pf
    >>> float(pf.ops.l1_loss(np.array([1.0, 2.0]), np.array([1.0, 4.0])))
    1.0
    """
    return call(_L1Loss, input, target, weight, None, 0.0, reduction)


def smooth_l1_loss(
    input: ArrayT, target: Any, *, reduction: str = "mean", beta: float = 1.0
) -> ArrayT:
    r"""Quadratic near the target, a line of slope 1 beyond `beta` (Girshick, 2015, equation 3).

    .. math:: \ell = d^2 / (2\beta) \text{ if } d < \beta \text{, else } d - \beta / 2,
              \quad d = |x - t|

    Parameters
    ----------
    input : array of any shape, float32 or float64
        On a GPU: float32, float16 or bfloat16.
    target : array that broadcasts with `input`, same dtype
    reduction : {"mean", "sum", "none"}
    beta : float, at least 0
        0 makes it :func:`l1_loss`.

    Returns
    -------
    array of the kind of `input`, shape () or, with "none", the broadcast shape

    Raises
    ------
    ValueError, TypeError
        If `beta` is negative, shapes do not broadcast, or dtypes are mixed.

    Examples
    --------
    >>> import numpy as np
    >>> import pyfast as pf
    >>> float(pf.ops.smooth_l1_loss(np.array([0.0, 0.0]), np.array([1.0, 3.0])))
    1.5
    """
    return call(_SmoothL1Loss, input, target, None, None, beta, reduction)


def huber_loss(
    input: ArrayT,
    target: Any,
    *,
    reduction: str = "mean",
    delta: float = 1.0,
    weight: Any = None,
) -> ArrayT:
    r"""Quadratic near the target, a line of slope `delta` beyond it (Huber, 1964).

    .. math:: \ell = d^2 / 2 \text{ if } d < \delta \text{, else } \delta (d - \delta / 2),
              \quad d = |x - t|

    Parameters
    ----------
    input : array of any shape, float32 or float64
        On a GPU: float32, float16 or bfloat16.
    target : array that broadcasts with `input`, same dtype
    reduction : {"mean", "sum", "none"}
    delta : float, positive
    weight : array that broadcasts to the result, optional

    Returns
    -------
    array of the kind of `input`, shape () or, with "none", the broadcast shape

    Raises
    ------
    ValueError, TypeError
        If `delta` is not positive, shapes do not broadcast, or dtypes are mixed.

    Examples
    --------
    >>> import numpy as np
    >>> import pyfast as pf
    >>> float(pf.ops.huber_loss(np.array([0.0]), np.array([3.0]), delta=2.0))
    4.0
    """
    return call(_HuberLoss, input, target, weight, None, delta, reduction)


def binary_cross_entropy(
    input: ArrayT, target: Any, weight: Any = None, *, reduction: str = "mean"
) -> ArrayT:
    r"""Cross-entropy of probabilities of a yes or no (Bishop, 2006, equation 4.90).

    .. math:: \ell = -w\,[t \log x + (1 - t) \log(1 - x)]

    Logarithms are bounded by -100 from below, as in PyTorch, so that the loss is finite.

    Parameters
    ----------
    input : array of any shape, float32 or float64
        On a GPU: float32, float16 or bfloat16.
        Probabilities in [0, 1].
    target : array of the shape and dtype of `input`
        Usually 0 or 1.
    weight : array that broadcasts to `input`, optional
    reduction : {"mean", "sum", "none"}

    Returns
    -------
    array of the kind of `input`, shape () or, with "none", that of `input`

    Raises
    ------
    ValueError, TypeError
        If a probability is outside [0, 1], or shapes or dtypes disagree.

    Examples
    --------
    >>> import numpy as np
    >>> import pyfast as pf
    >>> float(pf.ops.binary_cross_entropy(np.array([0.5]), np.array([1.0])).round(4))
    0.6931
    """
    return call(_BinaryCrossEntropy, input, target, weight, None, 0.0, reduction)


def binary_cross_entropy_with_logits(
    input: ArrayT,
    target: Any,
    weight: Any = None,
    *,
    reduction: str = "mean",
    pos_weight: Any = None,
) -> ArrayT:
    r"""Sigmoid and :func:`binary_cross_entropy` in one, without overflow.

    .. math:: \ell = w\,[(1 - t) x + (1 + (p - 1) t) \log(1 + e^{-x})]

    Parameters
    ----------
    input : array of any shape, float32 or float64
        On a GPU: float32, float16 or bfloat16.
        Scores (logits).
    target : array of the shape and dtype of `input`
        Usually 0 or 1.
    weight : array that broadcasts to `input`, optional
        w, the weight of each element.
    reduction : {"mean", "sum", "none"}
    pos_weight : array that broadcasts to `input`, optional
        p, the weight of positive targets.

    Returns
    -------
    array of the kind of `input`, shape () or, with "none", that of `input`

    Raises
    ------
    ValueError, TypeError
        If shapes or dtypes disagree.

    Examples
    --------
    >>> import numpy as np
    >>> import pyfast as pf
    >>> float(pf.ops.binary_cross_entropy_with_logits(np.array([0.0]), np.array([1.0])).round(4))
    0.6931
    """
    return call(_BinaryCrossEntropyWithLogits, input, target, weight, pos_weight, 0.0, reduction)


def kl_div(
    input: ArrayT, target: Any, *, reduction: str = "mean", log_target: bool = False
) -> ArrayT:
    r"""Kullback-Leibler divergence from log-probabilities to a target distribution.

    .. math:: \ell = t (\log t - x)

    (Kullback and Leibler, 1951.) "batchmean" is the divergence per row; "mean" divides by every
    element, as in PyTorch.

    Parameters
    ----------
    input : array of any shape, float32 or float64
        On a GPU: float32, float16 or bfloat16.
        Log-probabilities x.
    target : array that broadcasts with `input`, same dtype
        Probabilities t, or their logarithms with `log_target`.
    reduction : {"mean", "batchmean", "sum", "none"}
    log_target : bool

    Returns
    -------
    array of the kind of `input`, shape () or, with "none", the broadcast shape

    Raises
    ------
    ValueError, TypeError
        If shapes do not broadcast, dtypes are mixed, or `reduction` is none of the above.

    Examples
    --------
    >>> import numpy as np
    >>> import pyfast as pf
    >>> p = np.array([[0.5, 0.5]])
    >>> float(pf.ops.kl_div(np.log(p), p, reduction="batchmean"))
    0.0
    """
    return call(_KlDiv, input, target, None, None, bool(log_target), reduction)
