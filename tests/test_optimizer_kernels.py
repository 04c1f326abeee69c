"""The fused optimizer kernels: against their reference, in place, checked before anything moves."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from oracle import assert_close, reference_mode, threads

from pyfast import _core

DECAY = {"weight_decay": 0.01, "maximize": False}
BETAS = {"betas": (0.9, 0.99), "eps": 1e-8, **DECAY}
SETTINGS: dict[str, dict[str, Any]] = {
    "sgd_step": {"momentum": 0.9, "dampening": 0.1, "nesterov": False, **DECAY},
    "adagrad_step": {"lr_decay": 0.1, "eps": 1e-10, **DECAY},
    "rmsprop_step": {"alpha": 0.9, "eps": 1e-8, "momentum": 0.9, "centered": True, **DECAY},
    "adadelta_step": {"rho": 0.9, "eps": 1e-6, **DECAY},
    "adam_step": {"amsgrad": True, "decoupled_weight_decay": True, **BETAS},
    "adamax_step": BETAS,
    "nadam_step": {"momentum_decay": 0.004, "decoupled_weight_decay": False, **BETAS},
    "radam_step": {"decoupled_weight_decay": False, **BETAS},
}
RULES = list(SETTINGS)
SIZES = [(), (1,), (17,), (3, 5), (0,), (40_000,)]


def arrays(dtype: Any, seed: int) -> list[np.ndarray[Any, Any]]:
    r = np.random.default_rng(seed)
    return [np.asarray(r.random(s) + 0.1, dtype) for s in SIZES]


def steps(rule: str, dtype: Any, count: int = 7, **changes: Any) -> list[np.ndarray[Any, Any]]:
    """Parameters and state after a few steps, two groups of different learning rates."""
    params, state = arrays(dtype, 0), [arrays(dtype, s) for s in (1, 2, 3)]
    for mean in state[1]:  # so that RMSprop's variance is one: mean square less squared mean
        mean *= 0.2
    groups = [{"lr": lr, **SETTINGS[rule], **changes} for lr in (0.01, 0.1)]
    product: tuple[list[float], ...] = ([0.5] * len(params),) if rule == "nadam_step" else ()
    for step in range(1, count + 1):
        grads = [np.asarray(g - 0.5) for g in arrays(dtype, 10 + step)]
        states = list(zip(*state, strict=True))
        numbers = [i % 2 for i in range(len(params))]
        times = [step] * len(params)
        getattr(_core, rule)(params, grads, states, times, numbers, groups, *product)
    return [*params, *(a for s in state for a in s)]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(
    ("rule", "changes"),
    [
        *((rule, {}) for rule in RULES),
        *((rule, {"maximize": True, "weight_decay": 0.0}) for rule in RULES),
        ("sgd_step", {"nesterov": True, "dampening": 0.0}),
        ("sgd_step", {"momentum": 0.0}),
        ("rmsprop_step", {"centered": False}),
        ("rmsprop_step", {"momentum": 0.0}),
        ("adam_step", {"amsgrad": False, "decoupled_weight_decay": False}),
        ("nadam_step", {"decoupled_weight_decay": True}),
        ("radam_step", {"decoupled_weight_decay": True}),
    ],
)
def test_matches_reference(dtype: Any, rule: str, changes: dict[str, Any]) -> None:
    got = steps(rule, dtype, **changes)
    with reference_mode():
        want = steps(rule, dtype, **changes)
    for a, b in zip(got, want, strict=True):
        tolerance = 2e-6 if dtype == np.float32 else 1e-14
        assert_close(a, b, tolerance, tolerance, "state")


@pytest.mark.parametrize("rule", RULES)
def test_any_number_of_threads_gives_the_same_bits(rule: str) -> None:
    results = []
    for n in (1, 2, 3, 7):
        with threads(n):
            results.append(b"".join(a.tobytes() for a in steps(rule, np.float32, 3)))
    assert len(set(results)) == 1


def test_states_that_the_settings_do_not_need_stay() -> None:
    p, m, v, largest = (np.ones(3) for _ in range(4))
    settings = {"lr": 0.1, **SETTINGS["adam_step"], "amsgrad": False}
    _core.adam_step([p], [np.ones(3)], [(m, v, largest)], [1], [0], [settings])
    np.testing.assert_array_equal(largest, 1)
    assert p[0] != 1


def call(params: Any, **changes: Any) -> None:
    n = len(params)
    operands = {
        "grads": [np.ones(3)] * n,
        "states": [(np.zeros(3),) for _ in params],
        "steps": [1] * n,
        "groups": [0] * n,
        "settings": [{"lr": 0.1, **SETTINGS["sgd_step"]}],
    }
    _core.sgd_step(params, **{**operands, **changes})


def settings(**changes: Any) -> list[dict[str, Any]]:
    return [{"lr": 0.1, **SETTINGS["sgd_step"], **changes}]


@pytest.mark.parametrize(
    ("change", "error", "match"),
    [
        ({"grads": [np.ones(3), np.ones(2)]}, ValueError, r"grads must have shape \(3,\)"),
        ({"grads": [np.ones(3)]}, ValueError, "grads must have one entry per parameter"),
        ({"grads": [np.ones(3), np.ones(3, "f")]}, TypeError, "grads must have the dtype of"),
        ({"states": [(np.ones(3),), (np.ones(4),)]}, ValueError, "states must have shape"),
        ({"states": [(np.ones(3),), (None,)]}, ValueError, "states must be given for every"),
        ({"states": [(np.ones(3),)]}, ValueError, "states must have one entry"),
        ({"states": [np.ones(3), np.ones(3)]}, TypeError, "states must be tuples"),
        ({"params": [np.ones(3), np.ones(6)[::2]]}, ValueError, "params must be C-contiguous"),
        ({"params": [np.ones(3), np.arange(3)]}, TypeError, "params must be"),
        ({"params": [np.ones(3), None]}, TypeError, "params must be"),
        ({"steps": [1.0, 0.0]}, ValueError, "steps must be at least 1"),
        ({"steps": [1.0]}, ValueError, "steps must have one entry"),
        ({"steps": [1.0, "x"]}, TypeError, "steps must be a number"),
        ({"groups": [0, 1]}, IndexError, r"groups must be in \[0, 1\), got 1"),
        ({"groups": [0, -1]}, IndexError, r"groups must be in \[0, 1\)"),
        ({"settings": [3]}, TypeError, "settings must be a list of dicts"),
        ({"settings": [{}]}, ValueError, "settings lack lr"),
        ({"settings": settings(lr="x")}, TypeError, "lr must be a number"),
    ],
)
def test_bad_input_changes_nothing(change: dict[str, Any], error: Any, match: str) -> None:
    first = np.ones(3)
    params = change.pop("params", [first, np.ones(3)])
    with pytest.raises(error, match=f"sgd_step: {match}"):
        call(params, **change)
    np.testing.assert_array_equal(first, 1)


@pytest.mark.parametrize("betas", [0.9, (0.9,), (0.9, "x")])
def test_betas_are_two_numbers(betas: Any) -> None:
    group = {"lr": 0.1, **SETTINGS["adamax_step"], "betas": betas}
    with pytest.raises((TypeError, ValueError), match="adamax_step: betas must be"):
        _core.adamax_step([np.ones(3)], [np.ones(3)], [(np.ones(3),) * 2], [1], [0], [group])


def test_read_only_parameters_are_refused() -> None:
    p = np.ones(3)
    p.flags.writeable = False
    with pytest.raises(ValueError, match="params must be a writable array"):
        call([p])


# -- gradients -------------------------------------------------------------------------------------

MIXED = [np.float32, np.float64, np.float32, np.float64, np.float32, np.float32]


def gradients() -> list[np.ndarray[Any, Any]]:
    pairs = zip(arrays(np.float64, 5), MIXED, strict=True)
    return [np.asarray(a - 0.6, dtype) for a, dtype in pairs]


@pytest.mark.parametrize("norm_type", [1.0, 2.0, float("inf")])
def test_gradient_norm(norm_type: float) -> None:
    flat = np.concatenate([g.astype(np.float64).ravel() for g in gradients()])
    got = _core.gradient_norm(gradients(), norm_type)
    assert got == pytest.approx(np.linalg.norm(flat, norm_type), rel=1e-12)
    with reference_mode():
        assert got == pytest.approx(_core.gradient_norm(gradients(), norm_type), rel=1e-12)
    bits = set()
    for n in (1, 2, 3, 7):
        with threads(n):
            bits.add(_core.gradient_norm(gradients(), norm_type))
    assert len(bits) == 1
    nan = [*gradients(), np.array([0.0, np.nan, 1.0])]
    assert np.isnan(_core.gradient_norm(nan, norm_type))


def test_gradient_norm_of_a_view_and_of_large_values() -> None:
    g = np.arange(12.0).reshape(3, 4).T
    assert _core.gradient_norm([g], 2.0) == pytest.approx(np.linalg.norm(g))
    assert _core.gradient_norm([np.full(4, 1e30, np.float32)], 2.0) == pytest.approx(2e30)
    assert _core.gradient_norm([], 2.0) == 0


@pytest.mark.parametrize("change", ["scale_gradients", "clamp_gradients"])
def test_scale_and_clamp(change: str) -> None:
    got, want = gradients(), gradients()
    got[3][0, 0] = want[3][0, 0] = np.nan
    getattr(_core, change)(got, 0.25)
    with reference_mode():
        getattr(_core, change)(want, 0.25)
    for a, b in zip(got, want, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-6)


def test_bad_gradients() -> None:
    with pytest.raises(ValueError, match="gradient_norm: norm_type must be 1, 2 or infinity"):
        _core.gradient_norm([np.ones(2)], 3.0)
    with pytest.raises(ValueError, match="scale_gradients: grads must be C-contiguous"):
        _core.scale_gradients([np.ones(4)[::2]], 0.5)
    with pytest.raises(TypeError, match="clamp_gradients: grads must be"):
        _core.clamp_gradients([np.ones(4, int)], 0.5)
