"""The cache of keys and values on its own; with models: tests/test_generation.py."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from pyfast.generation import KVCache

RNG = np.random.default_rng(0)


def block(batch: int = 2, new: int = 3, heads: int = 2, dim: int = 4) -> np.ndarray:
    return RNG.standard_normal((batch, heads, new, dim)).astype(np.float32)


def filled() -> tuple[KVCache, np.ndarray]:
    cache, key = KVCache(2, 2, 5), block()
    for layer in range(2):
        cache.update(layer, key, -key)
    cache.advance(3)
    return cache, key


def test_what_was_stored_comes_back_in_order() -> None:
    cache, first = filled()
    second = block(new=2)
    keys, values = cache.update(1, second, 2 * second)
    np.testing.assert_array_equal(keys, np.concatenate([first, second], 2))
    np.testing.assert_array_equal(values, np.concatenate([-first, 2 * second], 2))
    assert cache.length == 3
    cache.advance(2)
    assert cache.length == 5


def test_updates_return_views_of_one_memory() -> None:
    cache, _ = filled()
    a, b = (cache.update(0, block(new=1), block(new=1))[0] for _ in range(2))
    assert np.shares_memory(a, b)


@pytest.mark.parametrize("rows", [[1, 0], [0, 0], [1], [0, 1, 1, 0]])
def test_reorder_moves_rows_and_changes_the_batch(rows: list[int]) -> None:
    cache, key = filled()
    cross = block(new=7)
    cache.set_cross(0, cross, cross)
    cache.reorder(rows)
    assert cache.batch_size == len(rows)
    new = block(len(rows), 1)
    keys, values = cache.update(0, new, new)
    np.testing.assert_array_equal(keys[:, :, :3], key[rows])
    np.testing.assert_array_equal(values[:, :, :3], -key[rows])
    np.testing.assert_array_equal(cache.cross(0)[0], cross[rows])
    assert cache.cross(1) is None


def test_values_may_be_wider_than_keys() -> None:
    cache = KVCache(1, 2, 4)
    assert cache.update(0, block(dim=4), block(dim=6))[1].shape == (2, 2, 3, 6)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda c: c.update(0, block(3), block(3)), ValueError, "batch size 2, got 3"),
        (lambda c: c.update(0, block(new=3), block(new=3)), ValueError, "max_length is 5, got 6"),
        (lambda c: c.update(2, block(), block()), IndexError, r"layer must be in \[0, 2\), got 2"),
        (lambda c: c.update(-1, block(), block()), IndexError, "got -1"),
        (lambda c: c.update(0, block(new=1, heads=1), block(new=1, heads=1)), ValueError, "heads"),
        (lambda c: c.update(0, block(new=1, dim=8), block(new=1)), ValueError, "head_dim"),
        (lambda c: c.update(0, block(new=1), block(new=2)), ValueError, "key and value"),
        (
            lambda c: c.update(0, block(new=1).astype(float), block(new=1)),
            ValueError,
            "float64",
        ),
        (lambda c: KVCache(1, 2, 4).update(0, block()[0], block()[0]), ValueError, "shape"),
        (lambda c: c.advance(3), ValueError, "advance by 3 does not fit max_length = 5"),
        (lambda c: c.advance(-1), ValueError, "advance by -1"),
        (lambda c: c.cross(2), IndexError, "layer"),
        (lambda c: c.set_cross(0, block(3), block(3)), ValueError, "batch size 2, got 3"),
        (lambda c: c.reorder([2]), IndexError, r"rows of 0 ... 1, got \[2\]"),
        (lambda c: c.reorder([]), ValueError, "not empty"),
        (lambda c: c.reorder([0.5]), ValueError, "integers"),
        (lambda c: KVCache(0, 1, 1), ValueError, "layers must be positive, got 0"),
        (lambda c: KVCache(1, 1, -2), ValueError, "max_length must be positive, got -2"),
    ],
)
def test_bad_input(call: Callable[[KVCache], object], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        call(filled()[0])
