"""Which pixels a decision rests on."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np

from .._tensor import Tensor
from ..autograd import enable_grad, grad
from ..nn.module import Module
from .curvature import checked_count
from .layers import evaluating

__all__ = ["saliency"]

Array = np.ndarray[Any, Any]
Method = Literal["gradient", "smoothgrad", "integrated"]


def saliency(
    model: Module,
    input: Any,
    target: Any = None,
    *,
    method: Method = "gradient",
    samples: int = 32,
    noise: float = 0.15,
    baseline: float = 0.0,
    seed: int = 0,
) -> Array:
    """How the score of a class depends on each element of the input.

    "gradient" is the derivative of the score itself (Simonyan, Vedaldi and Zisserman, 2014).
    "smoothgrad" is its mean over noisy copies (Smilkov et al., 2017). "integrated" adds it up on
    the way from a baseline and multiplies by what was changed, so that the attributions sum to the
    difference of the scores (Sundararajan, Taly and Yan, ICML 2017).

    Parameters
    ----------
    model : Module
        Gives scores of shape (N, classes); runs in evaluation mode.
    input : array of shape (N, ...), float32 or float64
    target : int or array of shape (N,), integers, optional
        The class; default: the one the model decides for.
    method : {"gradient", "smoothgrad", "integrated"}
    samples : int
        Noisy copies, or points on the way.
    noise : float
        Standard deviation of the noise, as a share of the input's range.
    baseline : float
        Where the way begins: an image of this value.
    seed : int
        Of the noise.

    Returns
    -------
    array of the shape of `input`
        Signed.

    Raises
    ------
    ValueError
        If the method is unknown, there is no input, or scores are not of shape (N, classes).
    IndexError
        If a target is no class.

    Examples
    --------
    >>> import numpy as np
    >>> import pyfast as pf
    >>> model = pf.nn.Linear(2, 2)
    >>> x = np.ones((1, 2), np.float32)
    >>> bool(np.allclose(pf.analysis.saliency(model, x, 1), model.weight.data[1]))
    True
    """
    if method not in ("gradient", "smoothgrad", "integrated"):
        raise ValueError(
            f"saliency: method must be 'gradient', 'smoothgrad' or 'integrated', got {method!r}"
        )
    x = np.asarray(input)
    if x.ndim < 2 or not x.size:
        raise ValueError(f"saliency: input must have shape (N, ...), got {x.shape}")
    samples = checked_count("saliency", "samples", samples)
    with evaluating(model):
        labels = _labels(model, x, target)
        if method == "gradient":
            return _gradient(model, x, labels)
        total = np.zeros_like(x)
        rng = np.random.default_rng(seed)
        for i in range(samples):
            if method == "smoothgrad":
                shake = noise * float(np.ptp(x)) * rng.standard_normal(x.shape)
                point = x + shake.astype(x.dtype)
            else:  # midpoints of equal parts of the way
                point = baseline + (x - x.dtype.type(baseline)) * x.dtype.type((i + 0.5) / samples)
            total += _gradient(model, point.astype(x.dtype), labels) / x.dtype.type(samples)
        return total if method == "smoothgrad" else total * (x - x.dtype.type(baseline))


def _labels(model: Module, x: Array, target: Any) -> Array:
    scores = np.asarray(model(x))
    if scores.ndim != 2 or len(scores) != len(x):
        raise ValueError(f"saliency: model must give shape (N, classes), got {scores.shape}")
    if target is None:
        return scores.argmax(1)
    labels = np.broadcast_to(np.asarray(target), (len(x),))
    if labels.dtype.kind not in "iu" or labels.min() < 0 or labels.max() >= scores.shape[1]:
        raise IndexError(
            f"saliency: target must hold ints in [0, {scores.shape[1]}), got {target!r}"
        )
    return labels


def _gradient(model: Module, x: Array, labels: Array) -> Array:
    with enable_grad():
        leaf = Tensor(np.ascontiguousarray(x), requires_grad=True)
        scores = model(leaf)
        return grad(scores[np.arange(len(x)), labels].sum(), leaf)[0].data
