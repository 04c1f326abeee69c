"""Initialisers: the distributions, and PyTorch's bounds."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch

import pyfast as pf
from pyfast import nn
from pyfast.nn import init

SHAPES = [(40, 50), (32, 16, 3), (32, 16, 3, 3)]


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("uniform_", {"a": -2.0, "b": 3.0}),
        ("normal_", {"mean": 1.0, "std": 2.0}),
        ("trunc_normal_", {"std": 2.0}),
        ("xavier_uniform_", {"gain": 2.0}),
        ("xavier_normal_", {}),
        ("kaiming_uniform_", {"a": math.sqrt(5)}),
        ("kaiming_uniform_", {"mode": "fan_out", "nonlinearity": "relu"}),
        ("kaiming_normal_", {"nonlinearity": "tanh"}),
        ("kaiming_normal_", {"mode": "fan_out"}),
    ],
)
def test_distribution_is_torchs(name: str, options: dict[str, Any], shape: tuple[int, ...]) -> None:
    pf.manual_seed(0)
    torch.manual_seed(0)
    ours = pf.empty(*shape)
    assert getattr(init, name)(ours, **options) is ours
    theirs = getattr(torch.nn.init, name)(torch.empty(*shape), **options).numpy()
    values = ours.numpy()
    assert values.dtype == np.float32
    assert abs(values.std() / theirs.std() - 1) < 0.1
    assert abs(values.mean() - theirs.mean()) < 0.15 * theirs.std()
    if "uniform" in name or "trunc" in name:
        assert abs(np.abs(values).max() / np.abs(theirs).max() - 1) < 0.02


def test_same_seed_same_values() -> None:
    first = init.normal_(pf.empty(5), generator=pf.Generator(3)).numpy()
    again = init.normal_(pf.empty(5), generator=pf.Generator(3)).numpy()
    np.testing.assert_array_equal(first, again)


@pytest.mark.parametrize("shape", [(5, 3), (3, 5), (4, 4), (4, 3, 2), (0, 3)])
def test_orthogonal(shape: tuple[int, ...]) -> None:
    values = init.orthogonal_(pf.empty(*shape, dtype=np.float64), gain=2.0).numpy()
    flat = values.reshape(shape[0], math.prod(shape[1:]))
    product = flat @ flat.T if flat.shape[0] <= flat.shape[1] else flat.T @ flat
    np.testing.assert_allclose(product, 4 * np.eye(len(product)), atol=1e-12)


@pytest.mark.parametrize(("shape", "groups"), [((4, 2, 3), 1), ((4, 2, 3, 3), 2), ((6, 2, 1), 3)])
def test_dirac_is_torchs(shape: tuple[int, ...], groups: int) -> None:
    theirs = torch.nn.init.dirac_(torch.empty(*shape), groups).numpy()
    np.testing.assert_array_equal(init.dirac_(pf.empty(*shape), groups), theirs)


def test_fixed_values() -> None:
    assert init.ones_(pf.empty(2)).tolist() == [1, 1]
    assert init.zeros_(pf.empty(2)).tolist() == [0, 0]
    assert init.constant_(pf.empty(2), 3).tolist() == [3, 3]
    np.testing.assert_array_equal(init.eye_(pf.empty(2, 3)), np.eye(2, 3))
    sparse = init.sparse_(pf.empty(10, 4), 0.25).numpy()
    assert ((sparse == 0).sum(0) == 3).all()


@pytest.mark.parametrize(
    "name", ["linear", "conv2d", "sigmoid", "tanh", "relu", "leaky_relu", "selu"]
)
def test_gain_is_torchs(name: str) -> None:
    assert init.calculate_gain(name) == pytest.approx(torch.nn.init.calculate_gain(name))
    assert init.calculate_gain("leaky_relu", 0.3) == pytest.approx(
        torch.nn.init.calculate_gain("leaky_relu", 0.3)
    )


@pytest.mark.parametrize(
    "call",
    [
        lambda: init.xavier_uniform_(pf.empty(3)),
        lambda: init.kaiming_normal_(pf.empty(3)),
        lambda: init.kaiming_uniform_(pf.empty(3, 3), mode="fan"),
        lambda: init.kaiming_uniform_(pf.empty(3, 3), nonlinearity="none"),
        lambda: init.orthogonal_(pf.empty(3)),
        lambda: init.eye_(pf.empty(3)),
        lambda: init.dirac_(pf.empty(3, 3)),
        lambda: init.dirac_(pf.empty(3, 3, 3), groups=2),
        lambda: init.sparse_(pf.empty(3), 0.1),
        lambda: init.trunc_normal_(pf.empty(3), mean=50.0),
    ],
)
def test_bad_calls(call: Any) -> None:
    with pytest.raises(ValueError, match=r"_|gain"):
        call()


def test_parameters_are_filled_without_a_tape() -> None:
    weight = nn.Parameter(np.empty((3, 3), np.float32))
    init.xavier_normal_(weight)
    assert weight.is_leaf
    assert weight.requires_grad
