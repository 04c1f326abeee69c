"""Depthwise 3 x 3 straight from the image: any width, and nothing read beside the plane."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from oracle import threads

import pyfast as pf
from pyfast import _core

Array = np.ndarray[Any, Any]

WIDTHS = [1, 2, 3, 4, 5, 7, 8, 9, 15, 16, 17, 18, 31, 32, 33, 34, 47, 48, 49, 63, 64, 65, 66, 97]


def operands(height: int, width: int, dtype: Any = np.float32) -> tuple[Array, Array, Array]:
    """Planes that lie in a frame of NaN, 2 x 3 of them; weight and bias."""
    rng = np.random.default_rng(height * 100 + width)
    frame = np.full((2, 3, height + 2, width + 5), np.nan, dtype)
    x = frame[:, :, 1:-1, 2:-3]
    x[...] = rng.standard_normal(x.shape)
    w = rng.standard_normal((3, 1, 3, 3)).astype(dtype)
    return x, w, rng.standard_normal(3).astype(dtype)


def expected(x: Array, w: Array, b: Array, stride: int, padding: int) -> Array:
    inputs = (torch.from_numpy(np.ascontiguousarray(a)).double() for a in (x, w, b))
    return F.conv2d(*inputs, stride, padding, 1, 3).numpy()


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("padding", [0, 1])
def test_every_width(width: int, stride: int, padding: int) -> None:
    # taller than 1,600 points allow: smaller planes of stride 1 are taken as one row each
    for height in (1, 2, 3, 4, 6, 9, 1600 // width + 3):
        if min(height, width) + 2 * padding < 3:
            continue
        for dtype, tolerance in ((np.float32, 2e-6), (np.float64, 1e-14)):
            x, w, b = operands(height, width, dtype)
            want = expected(x, w, b, stride, padding)
            got = pf.ops.conv2d(x, w, b, stride, padding, 1, 3)
            assert np.abs(got - want).max() <= tolerance * np.abs(want).max()


@pytest.mark.parametrize("stride", [1, 2])
def test_activation_residual_layout_and_packed_weight(stride: int) -> None:
    x, w, b = operands(70, 61)
    want = expected(x, w, b, stride, 1)
    plain = pf.ops.conv2d(x, w, b, stride, 1, 1, 3)
    np.testing.assert_allclose(plain, want, rtol=0, atol=5e-6)
    relu = pf.ops.conv2d(x, w, b, stride, 1, 1, 3, activation="relu")
    np.testing.assert_array_equal(relu, np.maximum(plain, 0))
    last = np.ascontiguousarray(x.transpose(0, 2, 3, 1)).transpose(0, 3, 1, 2)
    np.testing.assert_array_equal(pf.ops.conv2d(last, w, b, stride, 1, 1, 3), plain)
    packed = _core.PackedConvWeight(w, 3)
    settings = stride, 1, 1
    np.testing.assert_array_equal(_core.conv_packed(x, packed, b, *settings, None), plain)
    summed = _core.conv_packed(x, packed, b, *settings, "relu", np.ones_like(plain))
    np.testing.assert_allclose(summed, np.maximum(want + 1, 0), rtol=0, atol=5e-6)


@pytest.mark.parametrize("padding", [1, 2])
def test_transposed(padding: int) -> None:
    """Of stride 1: the taps in reverse."""
    x, w, b = operands(50, 61)
    want = F.conv_transpose2d(
        *(torch.from_numpy(np.ascontiguousarray(a)).double() for a in (x, w, b)), 1, padding, 0, 3
    ).numpy()
    got = pf.ops.conv_transpose2d(x, w, b, 1, padding, 0, 3)
    np.testing.assert_allclose(got, want, rtol=0, atol=5e-6)


@pytest.mark.parametrize("stride", [1, 2])
def test_blocks_of_a_large_plane_and_threads(stride: int) -> None:
    x, w, b = operands(523, 260)
    want = expected(x, w, b, stride, 1)
    results = []
    for count in (1, 3):
        with threads(count):
            results.append(pf.ops.conv2d(x, w, b, stride, 1, 1, 3))
    np.testing.assert_array_equal(*results)
    np.testing.assert_allclose(results[0], want, rtol=0, atol=5e-6)


@pytest.mark.skipif(_core.isa() == "scalar", reason="the scalar baseline has no FMA, PyTorch has")
@pytest.mark.parametrize("stride", [1, 2])
def test_errs_no_more_than_pytorch(stride: int) -> None:
    rng = np.random.default_rng(0)
    x = np.abs(rng.standard_normal((2, 32, 56, 56), np.float32))
    w = rng.standard_normal((32, 1, 3, 3), np.float32)
    want = F.conv2d(
        torch.from_numpy(x).double(), torch.from_numpy(w).double(), None, stride, 1, 1, 32
    )
    theirs = F.conv2d(torch.from_numpy(x), torch.from_numpy(w), None, stride, 1, 1, 32)
    got = pf.ops.conv2d(x, w, None, stride, 1, 1, 32)
    error, other = (np.square(y - want.numpy()).mean() ** 0.5 for y in (got, theirs.numpy()))
    assert error <= 1.1 * other
