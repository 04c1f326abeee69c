"""First layers, of few channels: as exact as PyTorch on any image and weight."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from oracle import threads
from test_conv_amx import IMAGES, WEIGHTS

import pyfast as pf
from pyfast import _core

Array = np.ndarray[Any, Any]

pytestmark = pytest.mark.skipif(
    _core.isa() == "scalar", reason="the scalar baseline has no FMA, PyTorch has"
)
# Batch, channels, height, width, filters, kernel, stride, padding: grids whose rows fill tiles and
# such that don't, rows cut in pieces, padding beyond the image, kernels of one step and of many.
LAYERS = [
    (2, 3, 64, 64, 64, (7, 7), (2, 2), (3, 3)),
    (2, 3, 67, 67, 64, (11, 11), (4, 4), (2, 2)),
    (1, 1, 90, 40, 33, (9, 9), (1, 1), (4, 4)),
    (1, 4, 30, 1700, 16, (5, 5), (1, 2), (0, 3)),
    (3, 2, 33, 47, 17, (7, 5), (3, 2), (6, 4)),
    (2, 3, 24, 24, 24, (5, 5), (1, 1), (0, 0)),
]


def draw(layer: tuple[Any, ...], kind: str, seed: int = 0) -> tuple[Array, Array, Any, Any]:
    batch, channels, height, width, filters, kernel, stride, padding = layer
    r = np.random.default_rng(seed)
    x = IMAGES[kind](r, batch, channels, height, width).astype(np.float32)
    w = (0.05 * r.standard_normal((filters, channels, *kernel))).astype(np.float32)
    return x, w, stride, padding


def errors(x: Array, w: Array, stride: Any, padding: Any) -> tuple[Array, Array]:
    """Of pyfast and of PyTorch, squared."""
    t, u = torch.from_numpy(x), torch.from_numpy(w)
    want = torch.conv2d(t.double(), u.double(), None, stride, padding).numpy()
    theirs = torch.conv2d(t, u, None, stride, padding).numpy()
    return np.square(pf.ops.conv2d(x, w, None, stride, padding) - want), np.square(theirs - want)


KINDS = [k for k in IMAGES if k not in ("one pixel", "one-hot")]  # of more channels than there are


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("layer", LAYERS, ids=str)
def test_error_on_any_image(layer: tuple[Any, ...], kind: str) -> None:
    ours, theirs = errors(*draw(layer, kind))
    assert np.sqrt(ours.mean()) <= 1.1 * np.sqrt(theirs.mean())
    for mine, other in zip(ours, theirs, strict=True):  # a sample is none the worse for another
        assert np.sqrt(mine.mean()) <= 1.2 * np.sqrt(other.mean())


@pytest.mark.parametrize("kind", WEIGHTS)
@pytest.mark.parametrize("layer", LAYERS, ids=str)
def test_error_of_any_weight(layer: tuple[Any, ...], kind: str) -> None:
    x, w, *settings = draw(layer, "normal", seed=1)
    w = WEIGHTS[kind](np.random.default_rng(1), *w.shape).astype(np.float32)
    ours, theirs = errors(x, w, *settings)
    assert np.sqrt(ours.mean()) <= 1.1 * np.sqrt(theirs.mean())
    # Filter by filter; where one weight outweighs all others, its product is rounded once or twice.
    mine, other = np.sqrt(ours.mean((0, 2, 3))), np.sqrt(theirs.mean((0, 2, 3)))
    assert np.all(mine <= (2 if kind == "all magnitudes" else 1.5) * other)
    some = other > 0
    assert not some.any() or np.exp(np.log(mine[some] / other[some]).mean()) <= 1.1


@pytest.mark.parametrize("layer", LAYERS, ids=str)
def test_integers_and_single_pixels_are_exact(layer: tuple[Any, ...]) -> None:
    x, w, *settings = draw(layer, "normal", seed=2)
    whole = np.round(20 * x), np.round(200 * w)
    assert errors(*whole, *settings)[0].max() == 0
    x[:] = 0
    x[:, 0, ::12, ::12] = 1  # a point sees one of them at most
    assert errors(x, w, *settings)[0].max() == 0


@pytest.mark.parametrize("layer", LAYERS, ids=str)
def test_infinities_and_nan_reach_those_that_see_them(layer: tuple[Any, ...]) -> None:
    x, w, *settings = draw(layer, "normal", seed=3)
    x[0, 0, 5, 7], x[-1, -1, 20, 11] = np.inf, np.nan
    got = pf.ops.conv2d(x, w, None, *settings)
    want = torch.conv2d(torch.from_numpy(x), torch.from_numpy(w), None, *settings).numpy()
    np.testing.assert_array_equal(np.isnan(got), np.isnan(want))
    np.testing.assert_array_equal(np.isinf(got), np.isinf(want))


@pytest.mark.parametrize("layer", LAYERS, ids=str)
def test_threads_and_packed_weights_change_no_bit_of_a_mixture(layer: tuple[Any, ...]) -> None:
    x, w, stride, padding = draw(layer, "normal", seed=4)
    x = np.concatenate([x] * 3)
    x[1, :, :12] *= 1e-8
    r = np.random.default_rng(4)
    b = r.standard_normal(len(w)).astype(np.float32)
    packed = _core.PackedConvWeight(w, 1)
    want = pf.ops.conv2d(x, w, b, stride, padding)
    residual = r.standard_normal(want.shape).astype(np.float32)
    for count in (1, 2, 3):
        with threads(count):
            np.testing.assert_array_equal(pf.ops.conv2d(x, w, b, stride, padding), want)
            got = _core.conv_packed(x, packed, b, stride, padding, 1, "relu", residual)
            np.testing.assert_array_equal(got, np.maximum(want + residual, 0))


@pytest.mark.parametrize("groups", [1, 2])
@pytest.mark.parametrize("kind", ["normal", "non-negative", "heavy tails"])
def test_sums_that_pytorch_cuts_short(kind: str, groups: int) -> None:
    """Groups, and odd maps under a stride."""
    r = np.random.default_rng(6)
    shape, k, settings = (2, 70, 17, 18), 1, (2, 0)
    if groups == 2:
        shape, k, settings = (2, 64, 15, 16), 3, (1, 2)
    x = IMAGES[kind](r, *shape).astype(np.float32)
    w = IMAGES[kind](r, 72, shape[1] // groups, k, k).astype(np.float32)
    t, u = torch.from_numpy(x), torch.from_numpy(w)
    want = torch.conv2d(t.double(), u.double(), None, *settings, 1, groups).numpy()
    theirs = torch.conv2d(t, u, None, *settings, 1, groups).numpy()
    ours = pf.ops.conv2d(x, w, None, *settings, 1, groups)
    assert np.linalg.norm(ours - want) <= 1.1 * np.linalg.norm(theirs - want)
