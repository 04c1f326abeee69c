"""What is random about dropout: the generator, the share dropped, seeds, and backward's mask."""

from __future__ import annotations

import numpy as np
import pytest

import pyfast as pf
from pyfast import _core


@pytest.mark.parametrize(
    ("counter", "key", "answer"),
    [  # the known answers published with the generator (Salmon et al., 2011, Random123)
        ((0, 0, 0, 0), (0, 0), (0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8)),
        ((0xFFFFFFFF,) * 4, (0xFFFFFFFF,) * 2, (0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD)),
        (
            (0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344),
            (0xA4093822, 0x299F31D0),
            (0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1),
        ),
    ],
)
def test_philox_known_answers(
    counter: tuple[int, ...], key: tuple[int, ...], answer: tuple[int, ...]
) -> None:
    assert _core.philox4x32(*counter, *key) == answer


@pytest.mark.parametrize("p", [0.1, 0.5, 0.9])
@pytest.mark.parametrize("name", ["dropout", "dropout1d", "dropout2d"])
def test_the_share_dropped_is_p_and_the_rest_is_scaled(name: str, p: float) -> None:
    pf.manual_seed(1)
    shape = {"dropout": (200_000,), "dropout1d": (200, 500, 2), "dropout2d": (200, 500, 1, 2)}[name]
    y = getattr(pf.ops, name)(np.ones(shape), p)
    units = y.reshape(-1, 2)[:, 0] if name != "dropout" else y
    dropped = np.mean(units == 0)
    assert abs(dropped - p) < 5 * np.sqrt(p * (1 - p) / units.size)
    np.testing.assert_allclose(units[units != 0], 1 / (1 - p), rtol=1e-15)
    if name != "dropout":
        np.testing.assert_array_equal(y.reshape(-1, 2)[:, 0], y.reshape(-1, 2)[:, 1])


def test_neighbouring_draws_are_uncorrelated() -> None:
    pf.manual_seed(2)
    kept = (pf.ops.dropout(np.ones(1 << 18), 0.5) > 0).astype(float) - 0.5
    for lag in (1, 2, 3, 4, 64):
        assert abs(np.mean(kept[lag:] * kept[:-lag])) < 5 * 0.25 / np.sqrt(kept.size)


def test_a_seed_repeats_and_the_next_call_differs() -> None:
    x = np.ones(1000, np.float32)
    pf.manual_seed(3)
    first, second = pf.ops.dropout(x), pf.ops.dropout(x)
    pf.manual_seed(3)
    np.testing.assert_array_equal(pf.ops.dropout(x), first)
    assert (first != second).any()


@pytest.mark.parametrize("name", ["dropout", "dropout1d", "dropout2d", "alpha_dropout"])
def test_backward_draws_the_same_mask(name: str) -> None:
    shape = {"dropout1d": (3, 4, 5), "dropout2d": (3, 4, 5, 6)}.get(name, (3, 70))
    x = pf.Tensor(np.ones(shape), requires_grad=True)
    y = getattr(pf.ops, name)(x, 0.4, training=True)
    y.backward(np.full(shape, 2.0))
    kept = y.numpy() == y.numpy().max()
    scale = 1 / 0.6
    if name == "alpha_dropout":
        scale = 1 / np.sqrt(0.6 * (1 + 0.4 * 1.7580993408473766**2))
    np.testing.assert_allclose(x.grad.numpy(), np.where(kept, 2 * scale, 0.0), rtol=1e-14)


def test_alpha_dropout_keeps_mean_and_variance() -> None:
    pf.manual_seed(4)
    x = np.random.default_rng(0).standard_normal(400_000)
    y = pf.ops.alpha_dropout(x, 0.2, training=True)
    assert abs(y.mean()) < 0.01
    assert abs(y.var() - 1) < 0.01


@pytest.mark.parametrize("name", ["dropout", "alpha_dropout"])
def test_without_training_it_is_a_copy(name: str) -> None:
    x = np.arange(5.0)
    y = getattr(pf.ops, name)(x, 0.9, training=False)
    np.testing.assert_array_equal(x, y)
    assert not np.shares_memory(x, y)
