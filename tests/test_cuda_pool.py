"""Pooling of images whose channels lie last, by the kernels' very source, run on the CPU."""

from __future__ import annotations

import sys
from typing import Any

import numpy as np
import pytest
from test_cuda_attention import SPACING, decode, draw, encode, host

import pyfast as pf

WINDOWS = [  # kernel, stride, padding, dilation, ceil_mode
    (3, 2, 1, 1, False), (2, 2, 0, 1, False), ((2, 3), (1, 2), (1, 0), (2, 1), True),
    ((5, 1), (3, 1), (2, 0), 1, False), (2, 3, 0, 1, True),
]  # fmt: skip
SHAPES = [(2, 16, 9, 11), (3, 5, 7, 8), (1, 72, 6, 5)]


def last(x: Any) -> Any:
    return np.ascontiguousarray(x.transpose(0, 2, 3, 1))


def first(x: Any) -> Any:
    return np.ascontiguousarray(x.transpose(0, 3, 1, 2))


@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16"])
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("window", WINDOWS, ids=str)
def test_maxima_and_their_gradients(dtype: str, shape: Any, window: Any) -> None:
    """Small integers: ties, of which the first wins; and NaN, which wins over all."""
    x = np.random.default_rng(2).integers(-3, 4, shape).astype(np.float64)
    x[0, 1, 3, 2] = np.nan
    coded = encode(x, dtype)
    output, taps = host.max_pool_channels(dtype, last(coded), window)
    want, where = pf._core.max_pool2d_taps(x, *window)
    np.testing.assert_array_equal(first(decode(output, dtype)), want)
    np.testing.assert_array_equal(first(taps), where)
    grad = np.random.default_rng(3).integers(-8, 9, want.shape).astype(np.float64)
    args = (last(encode(grad, dtype)), taps, shape, window)
    got = host.max_pool_channels_backward(dtype, *args)
    want = pf._core.max_pool2d_taps_backward(grad, where, shape, *window)
    np.testing.assert_array_equal(first(decode(got, dtype)), want)


MEANS: list[Any] = [  # kernel, stride, padding, ceil_mode, count_include_pad, divisor_override
    (2, 2, 0, False, True, None), (3, 2, 1, True, False, None), (3, 1, 1, False, True, 7),
    ((2, 3), (3, 1), (1, 0), True, True, None), ((1, 1),), ((3, 4),), ((9, 2),),
]  # fmt: skip


@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16"])
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("window", MEANS, ids=str)
def test_means_and_their_gradients(dtype: str, shape: Any, window: Any) -> None:
    x = draw(*shape)
    coded = encode(x, dtype)
    name = "adaptive_avg_pool2d" if len(window) == 1 else "avg_pool2d"
    want = getattr(pf._core, name)(decode(coded, dtype), *window)
    got = first(decode(host.avg_pool_channels(dtype, last(coded), window), dtype))
    np.testing.assert_allclose(got, want, rtol=SPACING[dtype], atol=1e-6)
    grad = encode(draw(*want.shape, seed=1), dtype)
    want = getattr(pf._core, name + "_backward")(decode(grad, dtype), shape, *window)
    got = host.avg_pool_channels_backward(dtype, last(grad), shape, window)
    np.testing.assert_allclose(first(decode(got, dtype)), want, rtol=SPACING[dtype], atol=2e-6)


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> Any:
    """The arrays that a call makes before it finds no device to launch on."""
    if pf.cuda.is_available():
        pytest.skip("what happens without a GPU")
    from fake_cupy import module

    from pyfast.cuda import frameworks

    fake = module()
    monkeypatch.setitem(sys.modules, "cupy", fake)
    frameworks.cupy_kernels.cache_clear()
    yield fake.made
    frameworks.cupy_kernels.cache_clear()


CALLS = {
    "max_pool2d": (3, 2, 1),
    "avg_pool2d": (2, 2),
    "adaptive_avg_pool2d": ((4, 4),),
}


@pytest.mark.parametrize("name", sorted(CALLS))
def test_results_lie_as_the_image_does(name: str, made: Any) -> None:
    from fake_cupy import FakeArray

    x = np.zeros((2, 16, 8, 9), np.float32)
    for image, axes in ((x, (0, 1, 2, 3)), (last(x).transpose(0, 3, 1, 2), (0, 2, 3, 1))):
        del made[:]
        with pytest.raises(RuntimeError, match=f"{name}: no CUDA"):
            getattr(pf.ops, name)(FakeArray(image), *CALLS[name])
        want = getattr(pf.ops, name)(x, *CALLS[name]).shape
        assert made[0].shape == tuple(want[axis] for axis in axes)


def test_gradients_lie_as_what_was_saved_does(made: Any) -> None:
    from fake_cupy import FakeArray

    from pyfast import _cuda
    from pyfast.cuda.frameworks import kernels_of

    grad, taps = np.zeros((2, 4, 4, 16), np.float32), np.zeros((2, 4, 4, 16), np.uint8)
    arrays = [FakeArray(a.transpose(0, 3, 1, 2)) for a in (grad, taps)]
    kernels = kernels_of(arrays[0], "max_pool2d")
    calls: list[tuple[Any, ...]] = [
        (kernels.max_pool2d_taps_backward, *arrays, (2, 16, 8, 8), 2, 2, 0, 1, False),
        (kernels.avg_pool2d_backward, arrays[0], (2, 16, 8, 8), 2, 2, 0, False, True, None),
    ]
    assert hasattr(_cuda, "max_pool2d_taps_backward")
    for call, *args in calls:
        del made[:]
        with pytest.raises(RuntimeError, match="no CUDA"):
            call(*args)
        assert [a.shape for a in made] == [(2, 8, 8, 16)]
        del made[:]
        args[0] = FakeArray(np.zeros((2, 16, 4, 4), np.float32))
        with pytest.raises(RuntimeError, match="no CUDA"):
            call(*args)
        assert made[-1].shape == (2, 16, 8, 8)
