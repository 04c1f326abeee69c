"""The fused optimizer kernels: against their reference, in place, checked before anything moves."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from oracle import assert_close, reference_mode, threads

from pyfast import _core

SGD = {
    "lr": 0.1, "momentum": 0.9, "dampening": 0.1, "weight_decay": 0.01, "nesterov": False,
    "maximize": False,
}  # fmt: skip
ADAM = {
    "lr": 0.01, "beta1": 0.9, "beta2": 0.999, "eps": 1e-8, "weight_decay": 0.1, "maximize": False,
    "decoupled": True,
}  # fmt: skip
SIZES = [(), (1,), (17,), (3, 5), (0,), (40_000,)]


def arrays(dtype: Any, seed: int) -> list[np.ndarray[Any, Any]]:
    r = np.random.default_rng(seed)
    return [np.asarray(r.random(s) + 0.1, dtype) for s in SIZES]


def steps(dtype: Any, adam: bool, **changes: Any) -> list[np.ndarray[Any, Any]]:
    """Parameters and state after three steps."""
    params, state = arrays(dtype, 0), [arrays(dtype, s) for s in (1, 2, 3)]
    for step in (1, 2, 3):
        grads = [np.asarray(g - 0.5) for g in arrays(dtype, 10 + step)]
        count = [float(step)] * len(params)
        if adam:
            _core.adam_step(params, grads, *state, count, **{**ADAM, **changes})
        else:
            _core.sgd_step(params, grads, state[0], count, **{**SGD, **changes})
    return [*params, *(a for s in state for a in s)]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(
    ("adam", "changes"),
    [
        (False, {}),
        (False, {"nesterov": True, "dampening": 0.0}),
        (False, {"maximize": True, "weight_decay": 0.0}),
        (True, {}),
        (True, {"decoupled": False}),
        (True, {"maximize": True}),
    ],
)
def test_matches_reference(dtype: Any, adam: bool, changes: dict[str, Any]) -> None:
    got = steps(dtype, adam, **changes)
    with reference_mode():
        want = steps(dtype, adam, **changes)
    for a, b in zip(got, want, strict=True):
        tolerance = 1e-6 if dtype == np.float32 else 1e-14
        assert_close(a, b, tolerance, tolerance, "state")


@pytest.mark.parametrize("adam", [False, True])
def test_any_number_of_threads_gives_the_same_bits(adam: bool) -> None:
    results = []
    for n in (1, 2, 3, 7):
        with threads(n):
            results.append(b"".join(a.tobytes() for a in steps(np.float32, adam)))
    assert len(set(results)) == 1


def call(params: Any, grads: Any, momentum: Any, count: Any = None) -> None:
    _core.sgd_step(params, grads, momentum, [1.0] * len(params) if count is None else count, **SGD)


@pytest.mark.parametrize(
    ("change", "error", "match"),
    [
        ({"grads": [np.ones(3), np.ones(2)]}, ValueError, r"grads must have shape \(3,\)"),
        ({"grads": [np.ones(3)]}, ValueError, "grads must have one entry per parameter"),
        ({"grads": [np.ones(3), np.ones(3, "f")]}, TypeError, "grads must have the dtype of"),
        ({"momentum": [np.ones(3), np.ones(4)]}, ValueError, "state must have shape"),
        ({"momentum": [np.ones(3)]}, ValueError, "state must have one entry"),
        ({"params": [np.ones(3), np.ones(6)[::2]]}, ValueError, "params must be C-contiguous"),
        ({"params": [np.ones(3), np.arange(3)]}, TypeError, "params must be"),
        ({"params": [np.ones(3), None]}, TypeError, "params must be"),
        ({"count": [1.0, 0.0]}, ValueError, "step must be at least 1"),
        ({"count": [1.0]}, ValueError, "steps must have one entry"),
        ({"count": [1.0, "x"]}, TypeError, "steps must be a number"),
    ],
)
def test_bad_input_changes_nothing(change: dict[str, Any], error: Any, match: str) -> None:
    first = np.ones(3)
    operands: dict[str, Any] = {
        "params": [first, np.ones(3)],
        "grads": [np.ones(3), np.ones(3)],
        "momentum": [np.zeros(3), np.zeros(3)],
        **change,
    }
    with pytest.raises(error, match=match):
        call(**operands)
    np.testing.assert_array_equal(first, 1)


def test_read_only_parameters_are_refused() -> None:
    p = np.ones(3)
    p.flags.writeable = False
    with pytest.raises(ValueError, match="params must be a writable array"):
        call([p], [np.ones(3)], [])
