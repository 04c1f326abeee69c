"""From the logits of the next token to a choice: plain functions on arrays.

Each takes logits of shape (rows, vocabulary) and returns new ones; what is ruled out becomes -inf.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from .. import ops

__all__ = [
    "apply_min_p",
    "apply_repetition_penalty",
    "apply_temperature",
    "apply_top_k",
    "apply_top_p",
    "log_probabilities",
    "process_logits",
    "sample",
]

Array = np.ndarray[Any, Any]


def apply_temperature(logits: Array, temperature: float) -> Array:
    """Flatten the distribution (above 1) or sharpen it (below 1).

    Parameters
    ----------
    logits : array of shape (rows, vocabulary)
    temperature : float

    Returns
    -------
    array of the shape and dtype of `logits`

    Raises
    ------
    ValueError
        If `temperature` is not positive; greedy search is what its limit at 0 would be.

    Examples
    --------
    >>> apply_temperature(np.array([[2.0, 4.0]]), 2.0)
    array([[1., 2.]])
    """
    if not temperature > 0:
        raise ValueError(
            f"generate: temperature must be positive, got {temperature}; "
            "for the most likely token leave do_sample off"
        )
    return logits / logits.dtype.type(temperature)


def apply_top_k(logits: Array, top_k: int) -> Array:
    """Keep the `top_k` most likely tokens, and those as likely as the last of them.

    (Fan, Lewis and Dauphin, "Hierarchical neural story generation", ACL 2018, section 5.4.)

    Parameters
    ----------
    logits : array of shape (rows, vocabulary)
    top_k : int

    Returns
    -------
    array of the shape and dtype of `logits`

    Raises
    ------
    TypeError
        If `top_k` is no int.
    ValueError
        If `top_k` is not positive.

    Examples
    --------
    >>> apply_top_k(np.array([[1.0, 3.0, 2.0]]), 2)
    array([[-inf,   3.,   2.]])
    """
    if not isinstance(top_k, int | np.integer):
        raise TypeError(f"generate: top_k must be an int, got {top_k!r}")
    if top_k < 1:
        raise ValueError(f"generate: top_k must be positive, got {top_k}")
    if top_k >= logits.shape[-1]:
        return logits
    threshold = np.partition(logits, -top_k, axis=-1)[:, -top_k, None]
    return _only(logits, logits >= threshold)


def apply_top_p(logits: Array, top_p: float) -> Array:
    """Keep the fewest most likely tokens whose probabilities add up to `top_p`, at least one.

    (Holtzman et al., "The curious case of neural text degeneration", ICLR 2020, section 3.1.)

    Parameters
    ----------
    logits : array of shape (rows, vocabulary)
    top_p : float

    Returns
    -------
    array of the shape and dtype of `logits`

    Raises
    ------
    ValueError
        If `top_p` is not in (0, 1].

    Examples
    --------
    >>> apply_top_p(np.log([[0.5, 0.3, 0.2]]), 0.6).round(2)
    array([[-0.69, -1.2 ,  -inf]])
    """
    if not 0 < top_p <= 1:
        raise ValueError(f"generate: top_p must be in (0, 1], got {top_p}")
    if top_p == 1:
        return logits
    order = np.argsort(-logits, axis=-1, kind="stable")
    sums = _softmax(np.take_along_axis(logits, order, -1)).cumsum(-1)
    before = np.concatenate([np.zeros((len(logits), 1)), sums[:, :-1]], -1)
    keep = np.zeros(logits.shape, bool)
    np.put_along_axis(keep, order, before < top_p, -1)
    return _only(logits, keep)


def apply_min_p(logits: Array, min_p: float) -> Array:
    """Keep tokens at least `min_p` times as likely as the most likely one.

    (Nguyen et al., "Turning up the heat: min-p sampling", ICLR 2025, section 3.)

    Parameters
    ----------
    logits : array of shape (rows, vocabulary)
    min_p : float

    Returns
    -------
    array of the shape and dtype of `logits`

    Raises
    ------
    ValueError
        If `min_p` is not in [0, 1].

    Examples
    --------
    >>> apply_min_p(np.log([[0.5, 0.3, 0.2]]), 0.5).round(2)
    array([[-0.69, -1.2 ,  -inf]])
    """
    if not 0 <= min_p <= 1:
        raise ValueError(f"generate: min_p must be in [0, 1], got {min_p}")
    if min_p == 0:
        return logits
    return _only(logits, logits >= logits.max(-1, keepdims=True) + np.log(min_p))


def apply_repetition_penalty(
    logits: Array, ids: Array, penalty: float, real: Array | None = None
) -> Array:
    """Make tokens that were there before less likely: divide their logits, or multiply if negative.

    (Keskar et al., "CTRL", 2019, section 4.1.)

    Parameters
    ----------
    logits : array of shape (rows, vocabulary)
    ids : integers of shape (rows, length)
        Prompt and tokens so far.
    penalty : float
        1 changes nothing; below 1, repetition is encouraged.
    real : array of shape (rows, length), bool, optional
        False: padding, which does not count.

    Returns
    -------
    array of the shape and dtype of `logits`

    Raises
    ------
    ValueError
        If `penalty` is not positive and finite.

    Examples
    --------
    >>> apply_repetition_penalty(np.array([[2.0, -2.0, 1.0]]), np.array([[0, 1, 0]]), 2.0)
    array([[ 1., -4.,  1.]])
    """
    if not 0 < penalty < np.inf:
        raise ValueError(f"generate: repetition_penalty must be positive and finite, got {penalty}")
    if penalty == 1:
        return logits
    rows = np.arange(len(ids))[:, None]
    seen = np.zeros(logits.shape, bool)
    if real is None:
        seen[rows, ids] = True
    else:
        seen[np.broadcast_to(rows, ids.shape)[real], ids[real]] = True
    penalised = np.where(logits > 0, logits / penalty, logits * penalty)
    return np.where(seen, penalised.astype(logits.dtype), logits)


def process_logits(
    logits: Array,
    temperature: float = 1.0,
    top_k: int | None = None,
    top_p: float = 1.0,
    min_p: float = 0.0,
) -> Array:
    """All that shapes the distribution before a token is drawn, in this order.

    Parameters
    ----------
    logits : array of shape (rows, vocabulary)
    temperature, top_k, top_p, min_p
        See the functions above.

    Returns
    -------
    array of the shape and dtype of `logits`

    Examples
    --------
    >>> process_logits(np.array([[1.0, 3.0, 2.0]]), temperature=0.5, top_k=2)
    array([[-inf,   6.,   4.]])
    """
    logits = apply_temperature(logits, temperature)
    if top_k is not None:
        logits = apply_top_k(logits, top_k)
    return apply_min_p(apply_top_p(logits, top_p), min_p)


def log_probabilities(logits: Array) -> Array:
    """The logarithm of each token's probability.

    Parameters
    ----------
    logits : array of shape (rows, vocabulary)

    Returns
    -------
    array of the shape and dtype of `logits`

    Examples
    --------
    >>> log_probabilities(np.zeros((1, 4))).round(3)
    array([[-1.386, -1.386, -1.386, -1.386]])
    """
    return ops.log_softmax(logits, -1)


def sample(logits: Array, rng: np.random.Generator) -> Array:
    """Draw one token for each row.

    Parameters
    ----------
    logits : array of shape (rows, vocabulary)
    rng : numpy.random.Generator
        As of :meth:`pyfast.Generator.numpy`.

    Returns
    -------
    array of shape (rows,), int64

    Raises
    ------
    ValueError
        If a row has no finite largest logit: NaN, or everything ruled out.

    Examples
    --------
    >>> import pyfast as pf
    >>> sample(np.array([[-np.inf, 0.0]]), pf.Generator(0).numpy())
    array([1])
    """
    if not np.isfinite(logits.max(-1)).all():
        raise ValueError("generate: logits must have a finite maximum, got NaN or infinity")
    sums = _softmax(logits).cumsum(-1)
    drawn = rng.random((len(logits), 1)) * sums[:, -1:]
    # The first token whose sum is above the number drawn: never one of probability 0.
    return (sums > drawn).argmax(-1)


def _softmax(logits: Array) -> Array:
    """In float64, so that sums of many small probabilities are exact enough to draw from."""
    weights = np.exp(logits.astype(np.float64) - logits.max(-1, keepdims=True))
    return weights / weights.sum(-1, keepdims=True)


def _only(logits: Array, keep: Array) -> Array:
    return np.where(keep, logits, logits.dtype.type(-np.inf))
