"""The loader: every item once, a new order every epoch, the same from the same seed, resumable."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import pyfast as pf
from pyfast.data import DataLoader, TensorDataset


def items(loader: DataLoader) -> list[int]:
    return [int(i) for batch in loader for i in batch]


@pytest.mark.parametrize("batch_size", [1, 3, 10, 99])
def test_an_epoch_sees_every_item_once(batch_size: int) -> None:
    loader = DataLoader(np.arange(10), batch_size, shuffle=True, seed=1)
    for _ in range(3):
        assert sorted(items(loader)) == list(range(10))
    assert len(loader) == -(-10 // batch_size)


def test_orders_differ_by_epoch_and_repeat_by_seed() -> None:
    first, again = (DataLoader(np.arange(50), 7, shuffle=True, seed=4) for _ in range(2))
    epochs = [items(first) for _ in range(3)]
    assert len({tuple(e) for e in epochs}) == 3
    assert [items(again) for _ in range(3)] == epochs
    assert items(DataLoader(np.arange(50), 7, shuffle=True, seed=5)) != epochs[0]


def test_the_default_seed_comes_from_manual_seed() -> None:
    orders = []
    for _ in range(2):
        pf.manual_seed(9)
        orders.append(items(DataLoader(np.arange(50), 7, shuffle=True)))
    assert orders[0] == orders[1]


def test_drop_last_and_sampler() -> None:
    assert [len(b) for b in DataLoader(np.arange(10), 4, drop_last=True)] == [4, 4]
    assert items(DataLoader(np.arange(10), 2, sampler=[3, 3, 9])) == [3, 3, 9]


def test_tuples_stay_together() -> None:
    x = np.arange(20)
    for a, b in DataLoader((x, x**2), 6, shuffle=True, seed=0):
        np.testing.assert_array_equal(a**2, b)


def test_datasets_are_stacked_or_collated() -> None:
    class Squares:
        def __len__(self) -> int:
            return 5

        def __getitem__(self, i: int) -> tuple[int, np.ndarray[Any, Any]]:
            return i, np.full(2, i**2)

    a, b = next(iter(DataLoader(Squares(), 3)))
    np.testing.assert_array_equal(a, [0, 1, 2])
    np.testing.assert_array_equal(b, [[0, 0], [1, 1], [4, 4]])
    assert list(DataLoader(Squares(), 2, collate_fn=len)) == [2, 2, 1]


@pytest.mark.parametrize("stop", [0, 1, 3, 4])
def test_resuming_goes_on_where_it_stopped(stop: int) -> None:
    whole = DataLoader(np.arange(40), 10, shuffle=True, seed=2)
    items(whole)
    expected = [items(whole), items(whole)]
    loader = DataLoader(np.arange(40), 10, shuffle=True, seed=2)
    items(loader)
    running = iter(loader)
    seen = [int(i) for _ in range(stop) for i in next(running)]
    state = loader.state_dict()
    resumed = DataLoader(np.arange(40), 10, shuffle=True)
    resumed.load_state_dict(state)
    assert [seen + items(resumed), items(resumed)] == expected


@pytest.mark.parametrize(
    ("call", "error", "match"),
    [
        (lambda: DataLoader(np.arange(0)), ValueError, "data must not be empty"),
        (lambda: DataLoader(np.arange(3), 0), ValueError, "batch_size must be positive, got 0"),
        (lambda: DataLoader(np.arange(3), 1.5), TypeError, "integer"),
        (lambda: DataLoader(np.arange(3), shuffle=True, sampler=[0]), ValueError, "shuffle"),
        (lambda: DataLoader(np.arange(3), sampler=[3]), IndexError, r"\[0, 3\)"),
        (lambda: DataLoader(np.arange(3), sampler=[]), ValueError, "sampler must be"),
        (lambda: DataLoader(np.arange(3), seed=-1), ValueError, "seed must not be negative"),
        (lambda: DataLoader((np.arange(3), np.arange(4))), ValueError, r"one length, got \[3, 4\]"),
        (lambda: DataLoader(3), TypeError, "data must be arrays or a dataset, got int"),
        (lambda: TensorDataset(), ValueError, "at least one array"),
        (lambda: TensorDataset(np.ones(())), ValueError, "at least one axis"),
        (
            lambda: DataLoader(np.arange(3)).load_state_dict(
                {"seed": 0, "epoch": 0, "position": 9}
            ),
            ValueError,
            "does not belong",
        ),
    ],
)
def test_bad_input(call: Any, error: Any, match: str) -> None:
    with pytest.raises(error, match=match):
        call()


def test_the_default_order_follows_manual_seed() -> None:
    def order(seed: int) -> list[int]:
        pf.manual_seed(seed)
        loader = pf.data.DataLoader(np.arange(50), batch_size=50, shuffle=True)
        return next(iter(loader)).tolist()

    assert order(0) == order(0)
    assert order(0) != order(1)
