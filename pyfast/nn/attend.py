"""From queries, keys and values to outputs: the fused kernel, or weights that can be looked at.

Softmax attention never holds its scores. They are held only where somebody asks for the weights,
or for another normaliser.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from .. import ops
from ..ops.arithmetic import where
from ..ops.heads import AttendHeads
from ..random import default_generator
from .masks import as_one, band, band_beside, merge_masks, untaped

__all__ = [
    "NORMALIZERS",
    "Normalizer",
    "attend",
    "attend_heads",
    "attention_weights",
    "check_normalizer",
]

Normalizer = str | Callable[[Any], Any]


def _softmax(scores: Any, count: Any) -> Any:
    return ops.softmax(scores, -1)


def _relu(scores: Any, count: Any) -> Any:
    return ops.relu(scores) / count


def _sigmoid(scores: Any, count: Any) -> Any:
    return ops.sigmoid(scores - np.log(count))


# From scores, -inf where masked, and the number of keys each query sees, to weights.
NORMALIZERS: dict[str, Callable[[Any, Any], Any]] = {
    "softmax": _softmax,
    "relu": _relu,
    "sigmoid": _sigmoid,
}


def check_normalizer(normalizer: Normalizer, layer: str) -> None:
    """Refuse an unknown normaliser.

    Raises
    ------
    ValueError
        If it is neither a known name nor callable.
    """
    if not callable(normalizer) and normalizer not in NORMALIZERS:
        known = ", ".join(map(repr, NORMALIZERS))
        raise ValueError(f"{layer}: normalizer must be {known} or callable, got {normalizer!r}")


def _shared(key: Any, heads: int) -> Any:
    """Keys or values of G heads as those of `heads` heads, each repeated in turn."""
    batch, groups, length, width = key.shape
    if groups == heads:
        return key
    wide = key.unsqueeze(2).expand(batch, groups, heads // groups, length, width)
    return wide.reshape(batch, heads, length, width)


def attention_weights(
    query: Any, key: Any, keep: Any = None, bias: Any = None, normalizer: Normalizer = "softmax"
) -> Any:
    """The weight of each key for each query.

    Parameters
    ----------
    query : Tensor of shape (batch, heads, L, D)
    key : Tensor of shape (batch, groups, S, D)
        `groups` divides `heads`.
    keep : array that broadcasts to (batch, heads, L, S), bool, optional
        True = attend.
    bias : array that broadcasts to (batch, heads, L, S), optional
        Added to the scores; -inf forbids.
    normalizer : str or callable
        See :class:`pyfast.nn.MultiheadAttention`.

    Returns
    -------
    Tensor of shape (batch, heads, L, S)
        0 where a query may not look.

    Examples
    --------
    >>> import pyfast as pf
    >>> query, key = pf.zeros(1, 1, 1, 2), pf.ones(1, 1, 4, 2)
    >>> attention_weights(query, key, np.arange(4) < 2).tolist()
    [[[[0.5, 0.5, 0.0, 0.0]]]]
    """
    scores = (query * (1 / np.sqrt(query.shape[-1]))) @ _shared(key, query.shape[1]).mT
    if bias is not None:
        scores = scores + bias
        keep = merge_masks((keep, None), (~np.isneginf(untaped(bias)), None))[0]
    return normalise(scores, keep, normalizer)


def normalise(scores: Any, keep: Any, normalizer: Normalizer) -> Any:
    """Weights from scores (..., L, S); 0 where not kept, whatever the score was."""
    if keep is None:
        count: Any = scores.dtype.type(scores.shape[-1])
    else:
        scores = where(keep, scores, -np.inf)
        count = np.maximum(keep.sum(-1, keepdims=True), 1).astype(scores.dtype)
    if callable(normalizer):
        weights = normalizer(scores)
        if weights.shape != scores.shape:
            raise ValueError(
                f"attention: normalizer must return the shape of the scores {scores.shape}, "
                f"got {weights.shape}"
            )
    else:
        weights = NORMALIZERS[normalizer](scores, count)
    return weights if keep is None else where(keep, weights, 0.0)


def attend(
    query: Any,
    key: Any,
    value: Any,
    keep: Any = None,
    bias: Any = None,
    *,
    causal: bool = False,
    normalizer: Normalizer = "softmax",
    dropout_p: float = 0.0,
    need_weights: bool = False,
) -> tuple[Any, Any]:
    """Outputs, and weights where they are wanted.

    Parameters
    ----------
    query : Tensor of shape (batch, heads, L, D)
    key, value : Tensors of shape (batch, groups, S, D) and (batch, groups, S, Dv)
    keep, bias, normalizer
        See :func:`attention_weights`.
    causal : bool
        Query i looks at keys 0 ... i only.
    dropout_p : float
    need_weights : bool

    Returns
    -------
    output : Tensor of shape (batch, heads, L, Dv)
    weights : Tensor of shape (batch, heads, L, S), or None
        Before dropout.

    Examples
    --------
    >>> import pyfast as pf
    >>> query, key = pf.zeros(1, 1, 1, 2), pf.ones(1, 1, 4, 2)
    >>> attend(query, key, key)[0].tolist()
    [[[[1.0, 1.0]]]]
    """
    fused = normalizer == "softmax"
    masked = need_weights or not fused or keep is not None or bias is not None
    if causal and masked:
        causal = False
        keep = merge_masks(
            (keep, None), (band_beside(query, query.shape[-2], key.shape[-2]), None)
        )[0]
    weights = None
    if need_weights or not fused:
        weights = attention_weights(query, key, keep, bias, normalizer)
    if fused:
        grouped = query.shape[1] != key.shape[1]
        output = ops.scaled_dot_product_attention(
            query, key, value, as_one(keep, bias), dropout_p, causal, enable_gqa=grouped
        )
    else:
        output = ops.dropout(weights, dropout_p) @ _visible(value, keep, query.shape[1])
    return output, weights if need_weights else None


def attend_heads(
    projection: Any,
    groups: tuple[int, int],
    batch_first: bool,
    keep: Any = None,
    bias: Any = None,
    *,
    is_causal: bool = False,
    window_size: tuple[int, int] | None = None,
    dropout_p: float = 0.0,
) -> Any:
    """Softmax attention of queries, keys and values that lie side by side; heads are joined again.

    Parameters
    ----------
    projection : Tensor of shape (batch, L, (heads + 2 key heads) D), or (L, batch, ...)
        On the CPU.
    groups : (heads, key heads)
    batch_first : bool
    keep, bias
        See :func:`attention_weights`.
    is_causal, window_size
        As in :func:`pyfast.ops.scaled_dot_product_attention`; any of them beside masks.
    dropout_p : float

    Returns
    -------
    Tensor of shape (batch, L, heads D), or (L, batch, heads D)

    Examples
    --------
    >>> import pyfast as pf
    >>> attend_heads(pf.ones(1, 2, 3), (1, 1), True).tolist()
    [[[1.0], [1.0]]]
    """
    if is_causal and not (keep is None and bias is None):
        is_causal = False
        length = projection.shape[1 if batch_first else 0]
        keep = merge_masks((keep, None), (band(length, length), None))[0]
    stream = default_generator.next_stream() if dropout_p else (0, 0)
    options = (dropout_p, is_causal, *stream, window_size)
    return AttendHeads.apply(projection, as_one(keep, bias), groups, batch_first, options)


def _visible(value: Any, keep: Any, heads: int) -> Any:
    """Values of all heads, 0 for keys that nobody looks at: junk in padding must not leak."""
    value = _shared(value, heads)
    if keep is None or keep.ndim < 2:
        return value
    seen = keep.any(-2)[..., None]
    return where(seen, value, 0.0)
