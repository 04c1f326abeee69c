"""Dropout: randomly silenced units while training, the identity otherwise.

Masks come from a counter-based generator and are drawn again in backward, never stored.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ..autograd import Function
from ..random import default_generator
from ._dispatch import ArrayT, call

__all__ = ["alpha_dropout", "dropout", "dropout1d", "dropout2d"]


class _Dropout(Function):
    """`trailing`: how many last axes share one draw."""

    array_args = 1

    @staticmethod
    def forward(ctx: Any, input: Any, op: str, p: float, trailing: int, alpha: bool) -> Any:
        span = _span(op, input, trailing)
        ctx.draw = (p, *default_generator.next_stream(), span, alpha)
        return ctx.kernels.dropout(op, input, *ctx.draw)

    @staticmethod
    def backward(ctx: Any, grad: Any) -> Any:
        return ctx.kernels.dropout_backward(grad, *ctx.draw), None, None, None, None


def _span(op: str, input: Any, trailing: int) -> int:
    if trailing == 0:
        return 1
    shape = np.shape(input)
    if len(shape) not in (trailing + 1, trailing + 2):
        raise ValueError(
            f"{op}: input must have {trailing + 1} or {trailing + 2} dimensions, got shape {shape}"
        )
    return max(1, int(np.prod(shape[len(shape) - trailing :])))


def _apply(op: str, input: Any, p: float, training: bool, trailing: int, alpha: bool) -> Any:
    if not isinstance(p, int | float | np.number) or not 0 <= p <= 1:
        raise ValueError(f"{op}: p must be in [0, 1], got {p!r}")
    if not training:
        p = 0.0  # a checked copy: the caller's array is never handed back as the result
    return call(_Dropout, input, op, float(p), trailing, alpha)


def dropout(input: ArrayT, p: float = 0.5, training: bool = True) -> ArrayT:
    r"""Set elements to zero with probability `p` and scale the others by :math:`1/(1-p)`.

    (Srivastava et al., "Dropout: a simple way to prevent neural networks from overfitting", 2014,
    in the inverted form, which leaves inference as it is.)

    Parameters
    ----------
    input : array of any shape, float32 or float64
        On a GPU: float32, float16 or bfloat16.
    p : float in [0, 1]
    training : bool
        False: a plain copy.

    Returns
    -------
    array of the kind, shape and dtype of `input`

    Raises
    ------
    ValueError
        If `p` is outside [0, 1].
    TypeError
        If `input` is of another dtype.

    Examples
    --------
    >>> import numpy as np
    >>> import pyfast as pf
    >>> _ = pf.manual_seed(0)
    >>> np.unique(pf.ops.dropout(np.ones(1000), 0.5))
    array([0., 2.])
    """
    return _apply("dropout", input, p, training, 0, False)


def dropout1d(input: ArrayT, p: float = 0.5, training: bool = True) -> ArrayT:
    r"""Set whole channels to zero with probability `p`, scale the others by :math:`1/(1-p)`.

    (Tompson et al., "Efficient object localization using convolutional networks", 2015.)

    Parameters
    ----------
    input : array of shape (N, C, L) or (C, L), float32 or float64
        On a GPU: float32, float16 or bfloat16.
    p : float in [0, 1]
    training : bool
        False: a plain copy.

    Returns
    -------
    array of the kind, shape and dtype of `input`

    Raises
    ------
    ValueError
        If `p` is outside [0, 1] or `input` is not 2-D or 3-D.
    TypeError
        If `input` is of another dtype.

    Examples
    --------
    >>> import numpy as np
    >>> import pyfast as pf
    >>> _ = pf.manual_seed(0)
    >>> pf.ops.dropout1d(np.ones((8, 3))).std(axis=1).max()
    np.float64(0.0)
    """
    return _apply("dropout1d", input, p, training, 1, False)


def dropout2d(input: ArrayT, p: float = 0.5, training: bool = True) -> ArrayT:
    r"""Set whole channels of images to zero with probability `p`, scale the others.

    (Tompson et al., "Efficient object localization using convolutional networks", 2015.)

    Parameters
    ----------
    input : array of shape (N, C, H, W) or (C, H, W), float32 or float64
        On a GPU: float32, float16 or bfloat16.
    p : float in [0, 1]
    training : bool
        False: a plain copy.

    Returns
    -------
    array of the kind, shape and dtype of `input`

    Raises
    ------
    ValueError
        If `p` is outside [0, 1] or `input` is not 3-D or 4-D.
    TypeError
        If `input` is of another dtype.

    Examples
    --------
    >>> import numpy as np
    >>> import pyfast as pf
    >>> _ = pf.manual_seed(0)
    >>> pf.ops.dropout2d(np.ones((8, 3, 3))).std(axis=(1, 2)).max()
    np.float64(0.0)
    """
    return _apply("dropout2d", input, p, training, 2, False)


def alpha_dropout(input: ArrayT, p: float = 0.5, training: bool = False) -> ArrayT:
    r"""Dropout that keeps mean and variance, for networks of :func:`selu` units.

    Dropped elements take SELU's limit :math:`-\lambda\alpha`; an affine map then restores zero
    mean and unit variance (Klambauer et al., "Self-normalizing neural networks", 2017).

    Parameters
    ----------
    input : array of any shape, float32 or float64
        On a GPU: float32, float16 or bfloat16.
    p : float in [0, 1]
    training : bool
        False (PyTorch's default here): a plain copy.

    Returns
    -------
    array of the kind, shape and dtype of `input`

    Raises
    ------
    ValueError
        If `p` is outside [0, 1].
    TypeError
        If `input` is of another dtype.

    Examples
    --------
    >>> import numpy as np
    >>> import pyfast as pf
    >>> _ = pf.manual_seed(0)
    >>> x = np.random.default_rng(0).standard_normal(100_000)
    >>> abs(float(pf.ops.alpha_dropout(x, 0.3, training=True).mean())) < 0.02
    True
    """
    return _apply("alpha_dropout", input, p, training, 0, True)
