"""Clipping against torch.nn.utils, and parameters as one vector."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

import pyfast as pf
from pyfast.nn import utils


def pairs(scale: float = 1.0) -> tuple[list[pf.Tensor], list[Any]]:
    """The same parameters and gradients for both; the last has no gradient."""
    r = np.random.default_rng(0)
    mine, theirs = [], []
    for shape in [(3, 4), (), (50_000,), (2,)]:
        g = np.asarray(r.standard_normal(shape) * scale, np.float64)
        mine.append(pf.Tensor(np.zeros(shape), requires_grad=True))
        theirs.append(torch.zeros(shape, dtype=torch.float64, requires_grad=True))
        if shape != (2,):
            mine[-1].grad, theirs[-1].grad = pf.Tensor(g), torch.from_numpy(g.copy())
    return mine, theirs


def assert_same_gradients(mine: list[pf.Tensor], theirs: list[Any]) -> None:
    for p, q in zip(mine, theirs, strict=True):
        if q.grad is None:
            assert p.grad is None
        else:
            np.testing.assert_allclose(p.grad.numpy(), q.grad.numpy(), rtol=1e-9)


@pytest.mark.parametrize("norm_type", [1.0, 2.0, float("inf")])
@pytest.mark.parametrize("max_norm", [0.0, 0.5, 1e6])
def test_clip_norm_equals_torchs(norm_type: float, max_norm: float) -> None:
    mine, theirs = pairs()
    got = utils.clip_grad_norm_(mine, max_norm, norm_type)
    want = torch.nn.utils.clip_grad_norm_(theirs, max_norm, norm_type)
    assert got == pytest.approx(float(want), rel=1e-12)
    assert_same_gradients(mine, theirs)


def test_clip_value_equals_torchs() -> None:
    mine, theirs = pairs()
    utils.clip_grad_value_(mine, 0.3)
    torch.nn.utils.clip_grad_value_(theirs, 0.3)
    assert_same_gradients(mine, theirs)


def test_gradients_of_any_layout() -> None:
    p = pf.Tensor(np.zeros((4, 3)), requires_grad=True)
    p.grad = pf.Tensor(np.arange(12.0).reshape(3, 4).T)
    utils.clip_grad_norm_(p, 1.0)
    assert utils.get_total_norm(p.grad) == pytest.approx(1, rel=1e-6)
    p.grad = pf.Tensor(np.broadcast_to(np.float64(5), (4, 3)))
    utils.clip_grad_value_(p, 2.0)
    np.testing.assert_array_equal(p.grad.numpy(), 2)


def test_not_finite() -> None:
    p = pf.Tensor(np.zeros(2), requires_grad=True)
    p.grad = pf.Tensor(np.array([1.0, np.inf]))
    with pytest.raises(RuntimeError, match=r"norm of order 2\.0 of the gradients is inf"):
        utils.clip_grad_norm_(p, 1.0, error_if_nonfinite=True)
    np.testing.assert_array_equal(p.grad.numpy(), [1, np.inf])
    with pytest.raises(ValueError, match="max_norm must not be negative, got nan"):
        utils.clip_grad_norm_(p, float("nan"))
    with pytest.raises(ValueError, match="norm_type must be 1, 2 or infinity, got 3"):
        utils.clip_grad_norm_(p, 1.0, 3)
    with pytest.raises(ValueError, match="clip_value must not be negative"):
        utils.clip_grad_value_(p, -1.0)


def test_vector_there_and_back() -> None:
    model = pf.nn.Sequential(pf.nn.Linear(3, 4), pf.nn.Linear(4, 2))
    before = utils.parameters_to_vector(model.parameters())
    assert before.shape == (model.count_parameters(),)
    utils.vector_to_parameters(before.numpy() * 2, model.parameters())
    after = utils.parameters_to_vector(model.parameters())
    np.testing.assert_array_equal(after.numpy(), 2 * before.numpy())
    with pytest.raises(ValueError, match=r"vec must have shape \(26,\), got \(3,\)"):
        utils.vector_to_parameters(np.ones(3), model.parameters())
    with pytest.raises(ValueError, match="parameters must not be empty"):
        utils.parameters_to_vector([])
