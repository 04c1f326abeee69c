"""Keys and values of tokens that a model has already seen, so that each is computed once."""

from __future__ import annotations

import operator
from typing import Any

import numpy as np

__all__ = ["KVCache"]

Array = np.ndarray[Any, Any]
Pair = tuple[Array, Array]


class KVCache:
    """What the attention layers of a decoder remember, position after position.

    Each layer stores the keys and values of new tokens with :meth:`update` and gets those of all
    tokens back; the model calls :meth:`advance` once at the end of its forward pass. Memory is
    allocated at the first update, in the dtype and with the heads that it brings.

    Parameters
    ----------
    layers : int
        Attention layers that store here.
    batch_size : int
        Sequences side by side.
    max_length : int
        Most positions that it will hold.

    Attributes
    ----------
    length : int
        Positions stored before the current forward pass.
    batch_size, max_length : int

    Raises
    ------
    ValueError
        If a size is not positive.

    Examples
    --------
    >>> import numpy as np
    >>> from pyfast.generation import KVCache
    >>> cache = KVCache(layers=1, batch_size=1, max_length=10)
    >>> key = value = np.ones((1, 2, 3, 4), np.float32)  # batch, heads, new tokens, head_dim
    >>> keys, values = cache.update(0, key, value)
    >>> cache.advance(3)
    >>> cache.update(0, key[:, :, :1], value[:, :, :1])[0].shape
    (1, 2, 4, 4)
    """

    def __init__(self, layers: int, batch_size: int, max_length: int) -> None:
        for name, size in (
            ("layers", layers), ("batch_size", batch_size), ("max_length", max_length),
        ):  # fmt: skip
            if operator.index(size) < 1:
                raise ValueError(f"KVCache: {name} must be positive, got {size}")
        self.batch_size = batch_size
        self.max_length = max_length
        self.length = 0
        self._own: list[Pair | None] = [None] * layers
        self._cross: list[Pair | None] = [None] * layers

    def update(self, layer: int, key: Array, value: Array) -> Pair:
        """Store new tokens' keys and values; get those of all tokens so far.

        Parameters
        ----------
        layer : int
        key, value : arrays of shape (batch, kv_heads, new, head_dim)
            `value` may have another head_dim.

        Returns
        -------
        keys, values : arrays of shape (batch, kv_heads, length + new, head_dim)
            Views: they stay valid until the next :meth:`reorder`.

        Raises
        ------
        IndexError
            If there is no such layer.
        ValueError
            If the batch, the heads or the dtype differ from before, or `max_length` is exceeded.
        """
        stored = self._layer(self._own, layer)
        if stored is None:
            stored = self._allocate(key, value)
            self._own[layer] = stored
        end = self.length + key.shape[2]
        keys, values = stored
        if (
            key.shape[:2] != keys.shape[:2]
            or key.shape[3] != keys.shape[3]
            or value.shape[:3] != key.shape[:3]
            or value.shape[3] != values.shape[3]
            or key.dtype != keys.dtype
            or end > self.max_length
        ):
            self._refuse(key, value, stored)
        keys[:, :, self.length : end] = key
        values[:, :, self.length : end] = value
        return keys[:, :, :end], values[:, :, :end]

    def advance(self, new: int) -> None:
        """Count `new` tokens as seen: all layers have stored them.

        Parameters
        ----------
        new : int

        Raises
        ------
        ValueError
            If there is no room for so many.
        """
        if new < 0 or self.length + new > self.max_length:
            raise ValueError(
                f"KVCache: advance by {new} does not fit max_length = {self.max_length} "
                f"with {self.length} stored"
            )
        self.length += new

    def cross(self, layer: int) -> Pair | None:
        """What a layer attends to in the encoder's output, if it has been stored.

        Parameters
        ----------
        layer : int

        Returns
        -------
        (keys, values), or None

        Raises
        ------
        IndexError
            If there is no such layer.
        """
        return self._layer(self._cross, layer)

    def set_cross(self, layer: int, keys: Array, values: Array) -> None:
        """Keep the keys and values of the encoder's output, which no step changes.

        Parameters
        ----------
        layer : int
        keys, values : arrays of shape (batch, kv_heads, source length, head_dim)
            Kept as they are, not copied.

        Raises
        ------
        IndexError
            If there is no such layer.
        ValueError
            If the shapes do not fit each other or the batch.
        """
        self._layer(self._cross, layer)
        self._check(keys, values)
        self._cross[layer] = keys, values

    def reorder(self, indices: Any) -> None:
        """Keep the given rows, in the given order: each may stand there never, once or often.

        Beam search follows its beams with it; rows that are finished are dropped with it.

        Parameters
        ----------
        indices : integers of shape (new batch size,)

        Raises
        ------
        IndexError
            If a row does not exist.
        ValueError
            If there is none, or more than one axis.
        """
        rows = np.asarray(indices)
        if rows.ndim != 1 or rows.size == 0 or rows.dtype.kind not in "iu":
            raise ValueError(
                f"KVCache: reorder needs integers of shape (batch,), not empty, got {rows.dtype} "
                f"of shape {rows.shape}"
            )
        if rows.min() < 0 or rows.max() >= self.batch_size:
            raise IndexError(
                f"KVCache: reorder takes rows of 0 ... {self.batch_size - 1}, got {rows.tolist()}"
            )
        if len(rows) == self.batch_size and (rows == np.arange(len(rows))).all():
            return
        self._own = [None if pair is None else self._moved(pair, rows) for pair in self._own]
        self._cross = [
            None if pair is None else (pair[0][rows], pair[1][rows]) for pair in self._cross
        ]
        self.batch_size = len(rows)

    def _moved(self, pair: Pair, rows: Array) -> Pair:
        """Rows of the stored part only; the memory is kept while the batch keeps its size."""
        out = []
        for stored in pair:
            chosen = stored[rows, :, : self.length]
            if len(rows) != len(stored):
                stored = np.empty((len(rows), *stored.shape[1:]), stored.dtype)
            stored[:, :, : self.length] = chosen
            out.append(stored)
        return out[0], out[1]

    def _layer(self, pairs: list[Pair | None], layer: int) -> Pair | None:
        if not 0 <= layer < len(pairs):
            raise IndexError(f"KVCache: layer must be in [0, {len(pairs)}), got {layer}")
        return pairs[layer]

    def _allocate(self, key: Array, value: Array) -> Pair:
        self._check(key, value)
        shapes = ((self.batch_size, x.shape[1], self.max_length, x.shape[3]) for x in (key, value))
        keys, values = (np.empty(s, x.dtype) for s, x in zip(shapes, (key, value), strict=True))
        return keys, values

    def _check(self, key: Array, value: Array) -> None:
        if key.ndim != 4 or value.ndim != 4 or key.shape[:3] != value.shape[:3]:
            raise ValueError(
                "KVCache: key and value must have shape (batch, kv_heads, length, head_dim), "
                f"got {key.shape} and {value.shape}"
            )
        if len(key) != self.batch_size:
            raise ValueError(
                f"KVCache: key must be of batch size {self.batch_size}, got {len(key)}"
            )

    def _refuse(self, key: Array, value: Array, stored: Pair) -> None:
        """Say what does not fit."""
        self._check(key, value)
        if (end := self.length + key.shape[2]) > self.max_length:
            raise ValueError(f"KVCache: max_length is {self.max_length}, got {end} positions")
        kinds = [(x.shape[1], x.shape[3], x.dtype.name) for x in (*stored, key, value)]
        raise ValueError(
            "KVCache: key and value must have the (kv_heads, head_dim, dtype) stored before, "
            f"{kinds[0]} and {kinds[1]}, got {kinds[2]} and {kinds[3]}"
        )

    def __repr__(self) -> str:
        return (
            f"KVCache(layers={len(self._own)}, batch_size={self.batch_size}, "
            f"max_length={self.max_length}, length={self.length})"
        )
