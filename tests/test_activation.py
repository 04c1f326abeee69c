"""What tests/test_ops.py does not say of the activations: NaN, infinity, closed gates, edges."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from cases.activation import UNARY
from oracle import reference_mode

import pyfast as pf
from pyfast import _core

NAMES = [c.name for c in UNARY]
SETTINGS = {"threshold": (0.5, -1.0)}
GATED = ["relu", "relu6", "hardtanh", "hardshrink", "softshrink", "threshold", "hardsigmoid"]


def call(name: str, x: Any) -> Any:
    return getattr(pf.ops, name)(x, *SETTINGS.get(name, ()))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("name", NAMES)
def test_nan_stays_nan_in_every_lane(name: str, dtype: Any) -> None:
    x = np.linspace(-4, 4, 37).astype(dtype)
    x[::3] = np.nan
    for y in (call(name, x), call(name, x[:3])):
        np.testing.assert_array_equal(np.isnan(y), np.isnan(x[: len(y)]))
    with reference_mode():
        np.testing.assert_array_equal(np.isnan(call(name, x)), np.isnan(x))


@pytest.mark.parametrize(
    ("name", "low", "high"),
    [
        ("relu", 0, np.inf), ("relu6", 0, 6), ("leaky_relu", -np.inf, np.inf),
        ("elu", -1, np.inf), ("celu", -1, np.inf), ("sigmoid", 0, 1), ("tanh", -1, 1),
        ("logsigmoid", -np.inf, 0), ("softplus", 0, np.inf), ("hardsigmoid", 0, 1),
        ("hardtanh", -1, 1), ("hardshrink", -np.inf, np.inf), ("tanhshrink", -np.inf, np.inf),
        ("softshrink", -np.inf, np.inf),
    ],
)  # fmt: skip
def test_limits(name: str, low: float, high: float) -> None:
    for dtype in (np.float32, np.float64):
        y = call(name, np.array([-np.inf, np.inf], dtype))
        np.testing.assert_array_equal(y, np.array([low, high], dtype))


@pytest.mark.parametrize("name", GATED)
def test_an_infinite_gradient_ends_at_a_closed_gate(name: str) -> None:
    closed = {"hardshrink": 0.25, "softshrink": 0.25}.get(name, -7.0)
    x = pf.Tensor(np.full(21, closed, np.float32), requires_grad=True)
    call(name, x).backward(np.full(21, np.inf, np.float32))
    np.testing.assert_array_equal(x.grad.numpy(), np.zeros(21, np.float32))


def test_softplus_of_a_high_threshold_does_not_overflow() -> None:
    x = np.array([500.0, -500.0], np.float32)
    np.testing.assert_allclose(pf.ops.softplus(x, 1.0, 1e6), [500.0, 0.0])


def test_prelu_sums_its_weight_gradient_in_double() -> None:
    n = 1 << 20  # in float32 the running sum would stop at 2**24 / 16
    x = np.full((n,), -0.1, np.float32)
    dx, dw = _core.prelu_backward(np.ones_like(x), x, np.full(1, 0.5, np.float32))
    np.testing.assert_array_equal(dx, np.full_like(x, 0.5))
    np.testing.assert_allclose(dw, n * np.float64(x[0]), rtol=1e-7)


@pytest.mark.parametrize("wrong", ["shape", "dtype"])
def test_backward_checks_its_operands(wrong: str) -> None:
    x = np.zeros((2, 4), np.float32)
    w = np.zeros(4, np.float32)
    g = np.zeros((2, 3), np.float32) if wrong == "shape" else x.astype(np.float64)
    error = ValueError if wrong == "shape" else TypeError
    for backward, args in [
        (_core.relu_backward, (x,)),
        (_core.elu_backward, (x, 1.0)),
        (_core.glu_backward, (x, 1)),
        (_core.prelu_backward, (x, w)),
        (_core.softmin_backward, (x, 1)),
    ]:
        with pytest.raises(error, match=r"grad must have"):
            backward(g, *args)
