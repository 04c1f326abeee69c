"""An int, or one int for each axis."""

from __future__ import annotations

import operator
from collections.abc import Sequence
from typing import Any

__all__ = ["Size", "to_tuple"]

Size = int | Sequence[int]


def to_tuple(value: Any, rank: int, what: str) -> tuple[int, ...]:
    """One int for each of `rank` axes.

    Parameters
    ----------
    value : int or sequence of `rank` ints
    rank : int
    what : str
        Begins the message.

    Returns
    -------
    tuple of int

    Raises
    ------
    ValueError
        If a sequence has another length.

    Examples
    --------
    >>> to_tuple(3, 2, "kernel_size")
    (3, 3)
    """
    if isinstance(value, Sequence):
        values = tuple(map(operator.index, value))
        if len(values) != rank:
            raise ValueError(f"{what} must be an int or {rank} ints, got {value!r}")
        return values
    return (operator.index(value),) * rank
