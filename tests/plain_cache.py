"""A KVCache of a few lines: models need no more of it than this."""

from __future__ import annotations

from typing import Any

import numpy as np


class PlainCache:
    """Grows by concatenation; keeps what pyfast.generation.KVCache promises to layers."""

    def __init__(self, batch_size: int) -> None:
        self.batch_size = batch_size
        self.length = 0
        self._own: dict[int, Any] = {}
        self._cross: dict[int, Any] = {}

    def update(self, layer: int, key: Any, value: Any) -> Any:
        assert type(key) is type(value) is np.ndarray
        if layer in self._own:
            pairs = zip(self._own[layer], (key, value), strict=True)
            self._own[layer] = tuple(np.concatenate(pair, axis=2) for pair in pairs)
        else:
            self._own[layer] = key, value
        return self._own[layer]

    def advance(self, new: int) -> None:
        self.length += new
        assert all(key.shape[2] == self.length for key, _ in self._own.values())

    def cross(self, layer: int) -> Any:
        return self._cross.get(layer)

    def set_cross(self, layer: int, keys: Any, values: Any) -> None:
        self._cross[layer] = keys, values
