"""What a loader draws from."""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np

__all__ = ["Dataset", "TensorDataset"]


class Dataset(Protocol):
    """Anything with a length and items by number; an item is an array, or a tuple of them."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: Any) -> Any: ...


class TensorDataset:
    """Arrays of equal length, side by side.

    Parameters
    ----------
    *arrays : array of shape (N, ...)
        Anything NumPy can index along its first axis; not copied.

    Raises
    ------
    ValueError
        If there are no arrays, one has no axis, or lengths differ.

    Examples
    --------
    >>> import numpy as np
    >>> import pyfast as pf
    >>> pf.data.TensorDataset(np.arange(4) * 10, np.arange(4))[[1, 3]]
    (array([10, 30]), array([1, 3]))
    """

    def __init__(self, *arrays: Any) -> None:
        if not arrays:
            raise ValueError("TensorDataset: needs at least one array")
        self.arrays = tuple(np.asarray(a) for a in arrays)
        for i, a in enumerate(self.arrays):
            if a.ndim == 0:
                raise ValueError(f"TensorDataset: array {i} must have at least one axis")
        lengths = [len(a) for a in self.arrays]
        if len(set(lengths)) != 1:
            raise ValueError(f"TensorDataset: arrays must have one length, got {lengths}")

    def __len__(self) -> int:
        return len(self.arrays[0])

    def __getitem__(self, index: Any) -> Any:
        """One item or, by a list or array of numbers, several at once: a tuple of arrays."""
        return tuple(a[index] for a in self.arrays)
