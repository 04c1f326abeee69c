"""Random numbers: one counter-based generator behind dropout, initialisers and sampling.

A :class:`Generator` is a seed and an offset. Every random operation takes the next offset and draws
from the Philox stream that the two name, so its backward pass (or another thread, or another
device) can draw the very same numbers again without anything having been stored.
"""

from __future__ import annotations

import operator
import os
from threading import Lock
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = [
    "Generator",
    "default_generator",
    "get_rng_state",
    "initial_seed",
    "manual_seed",
    "set_rng_state",
]

_MASK = (1 << 64) - 1


def _checked_seed(seed: int) -> int:
    value = operator.index(seed)
    if not -(1 << 63) <= value <= _MASK:
        raise ValueError(f"manual_seed: seed must fit 64 bits, got {value}")
    return value & _MASK


class Generator:
    """A sequence of Philox streams; every random operation takes one.

    Safe to share between threads: no stream is handed out twice. A forked child goes on from its
    parent's state, so give each child a seed of its own.

    Parameters
    ----------
    seed : int, optional
        Any 64-bit integer. Default: drawn from the operating system.

    Raises
    ------
    TypeError
        If `seed` is not an int.
    ValueError
        If `seed` does not fit 64 bits.

    References
    ----------
    Salmon, Moraes, Dror and Shaw, "Parallel random numbers: as easy as 1, 2, 3", SC 2011.

    Examples
    --------
    >>> import pyfast as pf
    >>> generator = pf.random.Generator(7)
    >>> generator.next_stream(), generator.next_stream()
    ((7, 0), (7, 1))
    """

    def __init__(self, seed: int | None = None) -> None:
        self._lock = Lock()
        self._offset = 0
        self._seed = (
            int.from_bytes(os.urandom(8), "little") if seed is None else _checked_seed(seed)
        )

    def manual_seed(self, seed: int) -> Generator:
        """Start again from a seed.

        Parameters
        ----------
        seed : int
            Any 64-bit integer; negative ones are taken modulo 2^64.

        Returns
        -------
        Generator
            This generator.

        Raises
        ------
        TypeError
            If `seed` is not an int.
        ValueError
            If `seed` does not fit 64 bits.

        Examples
        --------
        >>> import pyfast as pf
        >>> pf.random.Generator().manual_seed(3).initial_seed()
        3
        """
        value = _checked_seed(seed)
        with self._lock:
            self._seed, self._offset = value, 0
        return self

    def initial_seed(self) -> int:
        """The seed this generator started from.

        Returns
        -------
        int
            In [0, 2^64).

        Examples
        --------
        >>> import pyfast as pf
        >>> pf.random.Generator(11).initial_seed()
        11
        """
        return self._seed

    def next_stream(self) -> tuple[int, int]:
        """Take the next stream.

        Returns
        -------
        seed, offset : int
            What kernels are given: numbers i = 0, 1, ... of the stream are a function of the two
            and i alone.

        Examples
        --------
        >>> import pyfast as pf
        >>> pf.random.Generator(5).next_stream()
        (5, 0)
        """
        with self._lock:
            offset = self._offset
            self._offset = (offset + 1) & _MASK
            return self._seed, offset

    def numpy(self) -> np.random.Generator:
        """Take the next stream as a NumPy generator, for work that NumPy does.

        Returns
        -------
        numpy.random.Generator
            Its own stream, independent of all others.

        Examples
        --------
        >>> import pyfast as pf
        >>> pf.random.Generator(0).numpy().permutation(3).shape
        (3,)
        """
        seed, offset = self.next_stream()
        return np.random.Generator(np.random.Philox(key=seed, counter=[0, 0, 0, offset]))

    def get_state(self) -> NDArray[np.uint64]:
        """The state, fit for a checkpoint.

        Returns
        -------
        ndarray of shape (2,), uint64
            The seed and the next offset.

        Examples
        --------
        >>> import pyfast as pf
        >>> pf.random.Generator(9).get_state().tolist()
        [9, 0]
        """
        with self._lock:
            return np.array([self._seed, self._offset], np.uint64)

    def set_state(self, state: Any) -> None:
        """Go on from a state that :meth:`get_state` gave.

        Parameters
        ----------
        state : array of shape (2,), integers
            The seed and the next offset.

        Raises
        ------
        ValueError
            If `state` is not two non-negative integers of 64 bits.

        Examples
        --------
        >>> import pyfast as pf
        >>> generator = pf.random.Generator(1)
        >>> state = generator.get_state()
        >>> stream = generator.next_stream()
        >>> generator.set_state(state)
        >>> generator.next_stream() == stream
        True
        """
        values = np.asarray(state)
        if values.shape != (2,) or values.dtype.kind not in "iu" or (values < 0).any():
            raise ValueError(f"set_state: state must be a seed and an offset, got {state!r}")
        with self._lock:
            self._seed, self._offset = int(values[0]), int(values[1])

    def __getstate__(self) -> list[int]:
        return [int(value) for value in self.get_state()]

    def __setstate__(self, state: list[int]) -> None:
        self._lock = Lock()
        self._seed, self._offset = state

    def __repr__(self) -> str:
        return f"Generator(seed={self._seed}, offset={self._offset})"


default_generator = Generator()
"""The generator that everything random uses unless it is given another."""


def manual_seed(seed: int) -> Generator:
    """Seed the default generator: dropout, initialisers and sampling repeat themselves from here.

    Parameters
    ----------
    seed : int
        Any 64-bit integer; negative ones are taken modulo 2^64.

    Returns
    -------
    Generator
        The default generator.

    Raises
    ------
    TypeError
        If `seed` is not an int.
    ValueError
        If `seed` does not fit 64 bits.

    Examples
    --------
    >>> import pyfast as pf
    >>> pf.manual_seed(0)
    Generator(seed=0, offset=0)
    """
    return default_generator.manual_seed(seed)


def initial_seed() -> int:
    """The seed of the default generator.

    Returns
    -------
    int
        In [0, 2^64).

    Examples
    --------
    >>> import pyfast as pf
    >>> generator = pf.manual_seed(4)
    >>> pf.random.initial_seed()
    4
    """
    return default_generator.initial_seed()


def get_rng_state() -> NDArray[np.uint64]:
    """The default generator's state, fit for a checkpoint.

    Returns
    -------
    ndarray of shape (2,), uint64
        The seed and the next offset.

    Examples
    --------
    >>> import pyfast as pf
    >>> generator = pf.manual_seed(4)
    >>> pf.random.get_rng_state().tolist()
    [4, 0]
    """
    return default_generator.get_state()


def set_rng_state(state: Any) -> None:
    """Put the default generator into a state that :func:`get_rng_state` gave.

    Parameters
    ----------
    state : array of shape (2,), integers
        The seed and the next offset.

    Raises
    ------
    ValueError
        If `state` is not two non-negative integers of 64 bits.

    Examples
    --------
    >>> import pyfast as pf
    >>> pf.random.set_rng_state(pf.random.get_rng_state())
    """
    default_generator.set_state(state)
