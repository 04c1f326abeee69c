"""Convolutions of numbers from 1e-38 to 1e38, by every way that a convolution is computed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

import pyfast as pf
from pyfast import _core

Array = np.ndarray[Any, Any]
Draw = Callable[[np.random.Generator, tuple[int, ...]], Array]

# Samples, channels, size, filters, kernel, stride, groups.
LAYERS = [
    (3, 20, 14, 20, 3, 1, 20),
    (2, 20, 50, 20, 3, 2, 20),
    (2, 16, 30, 16, 3, 1, 8),
    (2, 8, 28, 8, 3, 1, 1),
    (2, 3, 64, 64, 7, 2, 1),
    (2, 64, 28, 64, 3, 1, 1),
    (2, 64, 28, 64, 3, 2, 1),
    (2, 256, 14, 64, 1, 1, 1),
    (2, 200, 7, 64, 3, 1, 1),
]


def normal(size: float = 1) -> Draw:
    return lambda r, shape: size * r.standard_normal(shape)


def mixture(low: float, high: float, axis: int | None = None) -> Draw:
    """Magnitudes 10**low to 10**high, of every number or of what lies along an axis."""

    def draw(r: np.random.Generator, shape: tuple[int, ...]) -> Array:
        of = shape if axis is None else tuple(n if i == axis else 1 for i, n in enumerate(shape))
        return r.standard_normal(shape).clip(-3, 3) * 10 ** r.uniform(low, high, of)

    return draw


# No sum is beyond float32, nor is a product that matters below it.
KINDS: dict[str, tuple[Draw, Draw]] = {
    "inputs of all magnitudes": (mixture(-38, 37.5), normal(1e-4)),
    "weights of all magnitudes": (normal(1e-4), mixture(-38, 37.5)),
    "both": (mixture(-18, 16), mixture(-18, 16)),
    "huge weights, tiny inputs": (normal(1e-36), normal(1e36)),
    "huge inputs, tiny weights": (normal(1e36), normal(1e-36)),
    "huge inputs": (normal(1e37), normal(1e-3)),
    "tiny inputs": (normal(1e-36), normal()),
    "filters of all magnitudes": (normal(), mixture(-35, 35, 0)),
    "samples of all magnitudes": (mixture(-35, 35, 0), normal()),
}


def relative_error(got: Array, want: Array, axes: tuple[int, ...]) -> float:
    """Root mean square over whatever has its own magnitude."""
    size = np.sqrt(np.mean(np.square(want), axes, keepdims=True))
    return float(np.sqrt(np.mean(np.square((got - want) / size))))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("layer", LAYERS, ids=str)
def test_errs_no_more_than_pytorch(layer: tuple[int, ...], kind: str) -> None:
    n, channels, size, filters, k, stride, groups = layer
    r = np.random.default_rng(sum(layer))
    inputs, weights = KINDS[kind]
    x = inputs(r, (n, channels, size, size)).astype(np.float32)
    w = weights(r, (filters, channels // groups, k, k)).astype(np.float32)

    def theirs(dtype: torch.dtype) -> Array:
        a, b = torch.from_numpy(x).to(dtype), torch.from_numpy(w).to(dtype)
        return torch.conv2d(a, b, None, stride, k // 2, 1, groups).numpy()

    want = theirs(torch.float64)
    ours = pf.ops.conv2d(x, w, None, stride, k // 2, 1, groups)
    assert np.abs(want).max() < 1e38
    assert np.isfinite(ours).all()
    axes = (2, 3) if "filters" in kind or "samples" in kind else (0, 1, 2, 3)
    if _core.isa() == "scalar":  # has no FMA, PyTorch has
        return
    limit = 1.1 * relative_error(theirs(torch.float32), want, axes)
    assert relative_error(ours, want, axes) <= limit
