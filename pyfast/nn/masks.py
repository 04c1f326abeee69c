"""Masks of attention layers: who may look at whom.

Layers take PyTorch's masks, where True means *ignore*. Kernels take the opposite, True = attend:
inside, a mask is called `keep` in that sense, so that the two cannot be mistaken.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from .._tensor import Tensor
from ..autograd import Variable, as_data
from ..ops.arithmetic import where
from ..ops.shape import cat

__all__ = ["adjacency_mask", "band", "causal_mask", "merge_masks", "sliding_window_mask"]

Array = np.ndarray[Any, Any]


def band(
    queries: int, keys: int, start: int = 0, causal: bool = True, window: int | None = None
) -> Array:
    """Whether each query may attend to each key by their distance; True = attend.

    Parameters
    ----------
    queries, keys : int
    start : int
        Position of the first query; keys start at 0.
    causal : bool
        No key after the query.
    window : int, optional
        Fewer than this many positions apart.

    Returns
    -------
    array of shape (queries, keys), bool

    Examples
    --------
    >>> band(2, 4, start=1, window=2).astype(int)
    array([[1, 1, 0, 0],
           [0, 1, 1, 0]])
    """
    distance = np.arange(start, start + queries)[:, None] - np.arange(keys)
    keep: Array = distance >= 0 if causal else np.ones(distance.shape, bool)
    return keep if window is None else keep & (np.abs(distance) < window)


def band_beside(like: Any, queries: int, keys: int, start: int = 0, **order: Any) -> Array:
    """:func:`band` where another array lies."""
    from ..cuda.frameworks import device_of, move

    keep: Array = move(band(queries, keys, start, **order), device_of(untaped(like)))
    return keep


def causal_mask(length: int) -> Array:
    """The mask that hides later tokens from earlier ones; True = ignore.

    Parameters
    ----------
    length : int

    Returns
    -------
    array of shape (length, length), bool

    Raises
    ------
    ValueError
        If the length is negative.

    Examples
    --------
    >>> causal_mask(3).astype(int)
    array([[0, 1, 1],
           [0, 0, 1],
           [0, 0, 0]])
    """
    _check_size("causal_mask: length", length)
    return ~band(length, length)


def sliding_window_mask(length: int, window_size: int, causal: bool = True) -> Array:
    """The mask that hides tokens `window_size` or more positions away; True = ignore.

    (Beltagy et al., "Longformer", 2020, section 3.1.)

    Parameters
    ----------
    length, window_size : int
    causal : bool
        Hide later tokens too: each sees itself and the `window_size` - 1 before it.

    Returns
    -------
    array of shape (length, length), bool

    Raises
    ------
    ValueError
        If the window is not positive, or the length negative.

    Examples
    --------
    >>> sliding_window_mask(3, 2).astype(int)
    array([[0, 1, 1],
           [0, 0, 1],
           [1, 0, 0]])
    """
    _check_size("sliding_window_mask: length", length)
    if window_size < 1:
        raise ValueError(f"sliding_window_mask: window_size must be positive, got {window_size}")
    return ~band(length, length, causal=causal, window=window_size)


def _check_size(name: str, size: int) -> None:
    if size < 0:
        raise ValueError(f"{name} must not be negative, got {size}")


def adjacency_mask(adjacency: Any, self_loops: bool = True) -> Array:
    """The mask under which nodes of a graph attend to their neighbours only; True = ignore.

    With it, self-attention is a graph attention network (Veličković et al., ICLR 2018, with
    scores by dot product).

    Parameters
    ----------
    adjacency : array of shape (..., nodes, nodes)
        Anything but 0 in row i, column j: node i sees node j.
    self_loops : bool
        Nodes see themselves too.

    Returns
    -------
    array of shape (..., nodes, nodes), bool

    Raises
    ------
    ValueError
        If it is not square, or holds NaN: is that an edge or none?

    Examples
    --------
    >>> adjacency_mask([[0, 1], [0, 0]]).astype(int)
    array([[0, 0],
           [1, 0]])
    """
    edges = np.asarray(adjacency) != 0
    if edges.ndim < 2 or edges.shape[-1] != edges.shape[-2]:
        raise ValueError(
            f"adjacency_mask: adjacency must have shape (..., nodes, nodes), got {edges.shape}"
        )
    if np.asarray(adjacency).dtype.kind == "f" and np.isnan(adjacency).any():
        raise ValueError("adjacency_mask: adjacency must not hold NaN")
    return ~(edges | np.eye(edges.shape[-1], dtype=bool)) if self_loops else ~edges


def checked_mask(mask: Any, name: str, shapes: tuple[tuple[int, ...], ...], dtype: Any) -> Any:
    """A mask of one of the shapes, boolean or of the layer's dtype.

    Raises
    ------
    TypeError, ValueError
        For another dtype or shape.
    """
    mask = mask if isinstance(mask, Variable) else as_data(mask)
    if mask.dtype != bool and mask.dtype != dtype:
        raise TypeError(f"{name} must be bool or {dtype}, got {mask.dtype}")
    if mask.shape not in shapes:
        wanted = " or ".join(str(shape) for shape in shapes)
        raise ValueError(f"{name} must have shape {wanted}, got {mask.shape}")
    return mask


def split_mask(mask: Any) -> tuple[Any, Any]:
    """A layer's mask as (keep, bias): the one that it is, the other None."""
    if mask is None:
        return None, None
    if mask.dtype != bool:
        return None, mask
    return ~untaped(mask), None


def untaped(mask: Any) -> Any:
    """A mask's array, wherever it lies."""
    return mask._data if isinstance(mask, Variable) else as_data(mask)


def merge_masks(*masks: tuple[Any, Any]) -> tuple[Any, Any]:
    """Several (keep, bias) as one: who is kept by all, and the sum of what is added.

    Parameters
    ----------
    *masks : pair of array or None
        They broadcast.

    Returns
    -------
    keep, bias : arrays or None

    Examples
    --------
    >>> merge_masks((np.array([True, False]), None), (np.array([True, True]), None))
    (array([ True, False]), None)
    """
    keep: Any = None
    bias: Any = None
    for k, b in masks:
        keep = k if keep is None else keep if k is None else keep & k
        bias = b if bias is None else bias if b is None else Tensor(bias) + b
    return keep, bias


def as_one(keep: Any, bias: Any) -> Any:
    """The mask that the kernel takes: boolean, or floating with -inf where nothing is kept."""
    if bias is None or keep is None:
        return keep if bias is None else bias
    return where(keep, bias, -np.inf)


def widen(keep: Any, bias: Any, columns: int) -> tuple[Any, Any]:
    """Masks with `columns` more keys at the end, which everybody may attend to."""
    if columns and keep is not None:
        keep = np.concatenate([keep, np.ones_like(keep, shape=(*keep.shape[:-1], columns))], -1)
    if columns and bias is not None:
        zeros = np.zeros_like(untaped(bias), shape=(*bias.shape[:-1], columns))
        bias = cat([bias, zeros], -1)
    return keep, bias
