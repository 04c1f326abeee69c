"""Convolutions on AMX tiles in fixed point: as exact as PyTorch's on whatever the data are."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from oracle import threads

import pyfast as pf
from pyfast import _core

Array = np.ndarray[Any, Any]
Generator = np.random.Generator

pytestmark = pytest.mark.skipif(
    _core.isa() != "amx", reason=f"needs AMX and PYFAST_ISA to allow it; runs on {_core.isa()}"
)

# Batch, channels, size, filters, kernel, stride: bands of whole and ragged tiles, several samples,
# several stretches of the depth, channels that fill no step.
LAYERS = [
    (2, 64, 28, 64, 3, 1),
    (1, 96 + 64, 20, 40, 3, 1),
    (8, 256, 7, 64, 3, 1),
    (3, 128, 15, 50, 3, 2),
    (2, 64, 24, 33, (1, 5), 1),
    (2, 128, 28, 64, 1, 1),
    (5, 600, 9, 64, 1, 1),
    (2, 256, 28, 64, 1, 2),
]


def relu(r: Generator, *shape: int) -> Array:
    return np.maximum(r.standard_normal(shape), 0)


def outlier(r: Generator, *shape: int) -> Array:
    x = r.standard_normal(shape)
    x.flat[x.size // 2] = 1e4
    return x


def constant(r: Generator, *shape: int) -> Array:
    return np.full(shape, 0.7)


def one_hot(r: Generator, *shape: int) -> Array:
    x = np.zeros(shape)
    n, c, h, w = shape
    y, z = np.mgrid[0:h, 0:w]
    x[:, r.integers(0, c, (n, h, w)), y, z] = 1
    return x


def one_pixel(r: Generator, *shape: int) -> Array:
    x = np.zeros(shape)
    x[0, 3, 4, 5] = 1
    return x


def spikes(r: Generator, *shape: int) -> Array:
    return np.where(r.random(shape) < 0.02, 1.0, 0.0)


def bright_beside_dark(r: Generator, *shape: int) -> Array:
    """Both in a band: half the rows, and every second sample."""
    x = r.standard_normal(shape)
    x[:, :, : shape[2] // 2] *= 1e-5
    x[::2] *= 1e-4
    return x


def uneven_channels(r: Generator, *shape: int) -> Array:
    return r.standard_normal(shape) * 10 ** r.uniform(-2, 2, (1, shape[1], 1, 1))


IMAGES: dict[str, Callable[..., Array]] = {
    "normal": lambda r, *s: r.standard_normal(s),
    "relu": relu,
    "non-negative": lambda r, *s: np.abs(r.standard_normal(s)),
    "heavy tails": lambda r, *s: r.standard_normal(s) ** 3,
    "very heavy tails": lambda r, *s: r.standard_cauchy(s),
    "pixels": lambda r, *s: r.integers(0, 256, s).astype(float),
    "outlier": outlier,
    "constant": constant,
    "one-hot": one_hot,
    "one pixel": one_pixel,
    "spikes": spikes,
    "bright beside dark": bright_beside_dark,
    "uneven channels": uneven_channels,
    "tiny": lambda r, *s: r.standard_normal(s) * 1e-30,
    "huge": lambda r, *s: r.standard_normal(s) * 1e30,
    "all magnitudes": lambda r, *s: r.standard_normal(s) * 10 ** r.uniform(-15, 15, s),
}


def shapes(layer: tuple[Any, ...]) -> tuple[tuple[int, ...], tuple[int, ...], Any, Any]:
    """Of image and weight; stride and padding."""
    batch, channels, size, filters, kernel, stride = layer
    ky, kx = kernel if isinstance(kernel, tuple) else (kernel, kernel)
    return (batch, channels, size, size), (filters, channels, ky, kx), stride, (ky // 2, kx // 2)


def errors(x: Array, w: Array, stride: Any, padding: Any) -> tuple[Array, Array]:
    """Of pyfast and of PyTorch, squared."""
    t, u = torch.from_numpy(x), torch.from_numpy(w)
    want = torch.conv2d(t.double(), u.double(), None, stride, padding).numpy()
    theirs = torch.conv2d(t, u, None, stride, padding).numpy()
    ours = pf.ops.conv2d(x, w, None, stride, padding)
    return np.square(ours - want), np.square(theirs - want)


@pytest.mark.parametrize("kind", IMAGES)
@pytest.mark.parametrize("layer", LAYERS, ids=str)
def test_error_on_any_image(layer: tuple[Any, ...], kind: str) -> None:
    image, weight, *settings = shapes(layer)
    r = np.random.default_rng(0)
    x = IMAGES[kind](r, *image).astype(np.float32)
    w = (0.05 * r.standard_normal(weight)).astype(np.float32)
    ours, theirs = errors(x, w, *settings)
    assert np.sqrt(ours.mean()) <= 1.1 * np.sqrt(theirs.mean())
    for mine, other in zip(ours, theirs, strict=True):  # a sample is none the worse for another
        assert np.sqrt(mine.mean()) <= 1.2 * np.sqrt(other.mean())


@pytest.mark.parametrize("kind", ["normal", "relu", "non-negative"])
@pytest.mark.parametrize("layer", LAYERS, ids=str)
def test_fixed_point_is_what_runs(layer: tuple[Any, ...], kind: str) -> None:
    """Sums of bfloat16 parts, and multiply-adds, have errors like PyTorch's."""
    image, weight, *settings = shapes(layer)
    r = np.random.default_rng(5)
    x = IMAGES[kind](r, *image).astype(np.float32)
    ours, theirs = errors(x, r.standard_normal(weight).astype(np.float32), *settings)
    assert np.sqrt(ours.mean()) <= 0.6 * np.sqrt(theirs.mean())


@pytest.mark.parametrize("kind", ["normal", "heavy tails", "spikes", "bright beside dark"])
@pytest.mark.parametrize("stride", [1, 2])
def test_error_of_input_gradients(stride: int, kind: str) -> None:
    r = np.random.default_rng(6)
    grad = IMAGES[kind](r, 2, 128, 14, 14).astype(np.float32)
    x = np.zeros((2, 96, 14 * stride, 14 * stride), np.float32)
    w = (0.05 * r.standard_normal((128, 96, 3, 3))).astype(np.float32)
    wanted = (True, False, False)
    ours = _core.conv2d_backward(grad, x, w, None, wanted, stride, 1, 1, 1, None)[0]
    tensors = [torch.from_numpy(a) for a in (grad, x, w)]
    settings = (None, (stride,) * 2, (1, 1), (1, 1), False, (0, 0), 1, wanted)
    theirs = torch.ops.aten.convolution_backward(*tensors, *settings)[0].numpy()
    double = [t.double() for t in tensors]
    want = torch.ops.aten.convolution_backward(*double, *settings)[0].numpy()
    error, other = (np.square(a - want).mean((1, 2, 3)) ** 0.5 for a in (ours, theirs))
    assert np.all(error <= 1.1 * other)


def identity(r: Generator, *shape: int) -> Array:
    w = np.zeros(shape)
    for o in range(shape[0]):
        w[o, o % shape[1], shape[2] // 2, shape[3] // 2] = 1
    return w


WEIGHTS: dict[str, Callable[..., Array]] = {
    "identity": identity,
    "heavy tails": lambda r, *s: r.standard_normal(s) ** 3,
    "pruned": lambda r, *s: np.where(r.random(s) < 0.9, 0, r.standard_normal(s)),
    "uneven filters": lambda r, *s: r.standard_normal(s) * 10 ** r.uniform(-9, 9, (s[0], 1, 1, 1)),
    "uneven channels": lambda r, *s: r.standard_normal(s) * 10 ** r.uniform(-2, 2, (1, s[1], 1, 1)),
    "averages": lambda r, *s: np.full(s, 1 / 64),
    "all magnitudes": lambda r, *s: r.standard_normal(s) * 10 ** r.uniform(-15, 15, s),
}


@pytest.mark.parametrize("kind", WEIGHTS)
@pytest.mark.parametrize("layer", LAYERS, ids=str)
def test_error_of_any_weight(layer: tuple[Any, ...], kind: str) -> None:
    image, weight, *settings = shapes(layer)
    r = np.random.default_rng(1)
    x, w = relu(r, *image).astype(np.float32), WEIGHTS[kind](r, *weight).astype(np.float32)
    ours, theirs = errors(x, w, *settings)
    mine, other = np.sqrt(ours.mean((0, 2, 3))), np.sqrt(theirs.mean((0, 2, 3)))
    assert np.sqrt(ours.mean()) <= 1.1 * np.sqrt(theirs.mean())
    assert np.all(mine <= 1.5 * other)  # filter by filter


@pytest.mark.parametrize("layer", LAYERS, ids=str)
def test_integers_are_exact(layer: tuple[Any, ...]) -> None:
    image, weight, *settings = shapes(layer)
    r = np.random.default_rng(2)
    x = r.integers(-50, 50, image).astype(np.float32)
    w = r.integers(-20, 20, weight).astype(np.float32)
    assert errors(x, w, *settings)[0].max() == 0


def mixed(layer: tuple[Any, ...]) -> tuple[Array, Array, Any, Any]:
    """A sample among others that is not for the digits."""
    image, weight, *settings = shapes(layer)
    r = np.random.default_rng(3)
    x = np.concatenate([r.standard_normal(image) for _ in range(6)]).astype(np.float32)
    x[2] *= 10 ** r.uniform(-15, 15, x[2].shape).astype(np.float32)
    return x, r.standard_normal(weight).astype(np.float32), *settings


@pytest.mark.parametrize("layer", LAYERS, ids=str)
def test_threads_and_packed_weights_change_no_bit_of_a_mixture(layer: tuple[Any, ...]) -> None:
    x, w, stride, padding = mixed(layer)
    packed = _core.PackedConvWeight(w, 1)
    want = pf.ops.conv2d(x, w, None, stride, padding)
    for count in (1, 2, 3):
        with threads(count):
            np.testing.assert_array_equal(pf.ops.conv2d(x, w, None, stride, padding), want)
            got = _core.conv_packed(x, packed, None, stride, padding, 1, None)
            np.testing.assert_array_equal(got, want)


@pytest.mark.parametrize("groups", [1, 2])
def test_pieces_computed_otherwise_take_bias_residual_and_activation(groups: int) -> None:
    r = np.random.default_rng(4)
    x = np.asarray(r.standard_normal((6, 128, 28, 28)), np.float32)
    x[2, :, :14] *= 1e-6  # too dark for its band's scale; the rest is as large as the residual
    w = np.asarray(0.03 * r.standard_normal((64, 128 // groups, 3, 3)), np.float32)
    stride = padding = 1
    b = np.asarray(r.standard_normal(64), np.float32)
    linear = pf.ops.conv2d(x, w, b, stride, padding, groups=groups)
    residual = r.standard_normal(linear.shape).astype(np.float32)
    packed = _core.PackedConvWeight(w, groups)
    got = _core.conv_packed(x, packed, b, stride, padding, 1, "relu", residual)
    np.testing.assert_array_equal(got, np.maximum(linear + residual, 0))
    t, u, v = (torch.from_numpy(a) for a in (x, w, b))
    want = torch.conv2d(t, u, v, stride, padding, 1, groups).numpy()
    scale = np.abs(want).max((1, 2, 3), keepdims=True)
    np.testing.assert_allclose(linear / scale, want / scale, rtol=1e-4, atol=1e-6)
