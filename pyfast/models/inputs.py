"""What models are called with: token ids, masks of real tokens, caches; checked at the door."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..autograd import Variable

__all__ = ["check_cache", "check_ids", "check_length", "positions_of", "real_tokens"]

Array = np.ndarray[Any, Any]


def check_ids(ids: Any, name: str) -> Array:
    """Token ids as an array of shape (batch, length).

    Parameters
    ----------
    ids : array of integers
    name : str
        Begins the messages.

    Returns
    -------
    ndarray

    Raises
    ------
    TypeError
        If they are not integers.
    ValueError
        If they have another number of axes or there are none.

    Examples
    --------
    >>> check_ids([[1, 2]], "GPT: input_ids")
    array([[1, 2]])
    """
    try:
        array = ids._data if isinstance(ids, Variable) else np.asarray(ids)
    except ValueError:  # NumPy's message says neither where nor what to do
        raise ValueError(f"{name} must have rows of one length; pad them and pass a mask") from None
    if array.ndim != 2 or array.size == 0:
        raise ValueError(f"{name} must have shape (batch, length), not empty, got {array.shape}")
    if array.dtype.kind not in "iu":
        raise TypeError(f"{name} must be integers, got {array.dtype}")
    return array


def check_range(ids: Array, size: int, name: str) -> None:
    """Refuse ids outside the vocabulary.

    Raises
    ------
    IndexError
        If an id is outside [0, size).
    """
    low, high = int(ids.min()), int(ids.max())
    if low < 0 or high >= size:
        raise IndexError(f"{name} must be in [0, {size}), got {low if low < 0 else high}")


def check_length(end: int, limit: int, name: str) -> None:
    """Refuse sequences that are longer than the positions a model knows.

    Raises
    ------
    ValueError
        If `end` tokens do not fit into `limit` positions.
    """
    if end > limit:
        raise ValueError(f"{name} must end within max_positions = {limit}, got {end} tokens")


def check_cache(cache: Any, batch: int, model: str) -> int:
    """The number of positions that a cache holds; 0 without one.

    Raises
    ------
    TypeError
        If it is no cache.
    ValueError
        If the cache was made for another batch size.
    """
    if cache is None:
        return 0
    if not hasattr(cache, "batch_size") or not hasattr(cache, "update"):
        raise TypeError(f"{model}: cache must be a KVCache, got {type(cache).__name__}")
    if cache.batch_size != batch:
        raise ValueError(f"{model}: cache must be of batch size {batch}, got {cache.batch_size}")
    return int(cache.length)


def real_tokens(mask: Any, shape: tuple[int, int], name: str) -> Array | None:
    """Which tokens are real, as bool; None when all are, or nothing is said.

    Parameters
    ----------
    mask : array of bool, or of 0 and 1, or None
        True or 1: a real token; as in Hugging Face's `attention_mask`.
    shape : (batch, length)
    name : str
        Begins the messages.

    Returns
    -------
    ndarray of bool, or None

    Raises
    ------
    TypeError, ValueError
        For another dtype or shape, or other numbers.

    Examples
    --------
    >>> real_tokens([[1, 0]], (1, 2), "GPT: attention_mask")
    array([[ True, False]])
    """
    if mask is None:
        return None
    array: Array = mask._data if isinstance(mask, Variable) else np.asarray(mask)
    if array.shape != shape:
        raise ValueError(f"{name} must have shape {shape}, got {array.shape}")
    if array.dtype.kind not in "biu":
        raise TypeError(f"{name} must be bool, or 0 and 1, got {array.dtype}")
    if array.dtype != bool:
        if ((array != 0) & (array != 1)).any():
            raise ValueError(f"{name} must be bool, or 0 and 1, got {array.max()}")
        array = array.astype(bool)
    return None if array.all() else array


def positions_of(real: Array | None, start: int) -> Any:
    """Positions of the tokens from `start` on: counted among the real ones.

    Parameters
    ----------
    real : array of shape (batch, length), bool, or None
    start : int

    Returns
    -------
    int, or integers of shape (batch, length - start)

    Examples
    --------
    >>> positions_of(np.array([[False, True, True]]), 0)
    array([[0, 0, 1]])
    """
    if real is None:
        return start
    return np.maximum(real.cumsum(1) - 1, 0)[:, start:]
