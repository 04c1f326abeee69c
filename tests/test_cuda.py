"""The CUDA backend as far as it goes without a GPU: where calls go, and what they complain of."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import Any

import fake_cupy
import numpy as np
import pytest
from fake_cupy import FakeArray

import pyfast as pf

BUILT = pf.cuda.why_not() != "pyfast was built without CUDA; build it with PYFAST_CUDA=ON"
needs_module = pytest.mark.skipif(not BUILT, reason="built without CUDA")
without_gpu = pytest.mark.skipif(pf.cuda.is_available(), reason="what happens without a GPU")


@pytest.fixture
def cupy(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    from pyfast.cuda import frameworks

    module = fake_cupy.module()
    monkeypatch.setitem(sys.modules, "cupy", module)
    frameworks.cupy_kernels.cache_clear()
    yield module
    frameworks.cupy_kernels.cache_clear()


def test_why_not_is_empty_exactly_when_available() -> None:
    assert pf.cuda.is_available() == (pf.cuda.why_not() == "")


@without_gpu
def test_device_info_says_why_there_is_none() -> None:
    assert pf.cuda.device_count() == 0
    with pytest.raises(RuntimeError, match=r"device_info: .*(driver|device|without CUDA)"):
        pf.cuda.device_info()


@pytest.mark.skipif(BUILT, reason="what happens without _cuda")
def test_a_gpu_array_without_the_module(cupy: Any) -> None:
    with pytest.raises(RuntimeError, match="softmax: pyfast was built without CUDA"):
        pf.ops.softmax(FakeArray(np.zeros((2, 3), np.float32)))


@needs_module
@without_gpu
def test_a_launch_without_a_driver_says_so_each_time(cupy: Any) -> None:
    for _ in range(2):
        with pytest.raises(RuntimeError, match=r"softmax: no CUDA (driver|device) was found; "):
            pf.ops.softmax(FakeArray(np.zeros((2, 3), np.float32)))
    assert [a.shape for a in cupy.made] == [(2, 3), (2, 3)]


@needs_module
def test_arguments_are_checked_as_on_the_cpu(cupy: Any) -> None:
    x = FakeArray(np.zeros((2, 3), np.float32))
    with pytest.raises(IndexError, match=r"softmax: dim must be in \[-2, 1\], got 2"):
        pf.ops.softmax(x, 2)
    with pytest.raises(TypeError, match="softmax: dim must be an int"):
        pf.ops.softmax(x, "a")
    for dtype in (np.float64, np.int32, np.complex64):
        with pytest.raises(TypeError, match=f"softmax: input must be .*, got {np.dtype(dtype)}"):
            pf.ops.softmax(FakeArray(np.zeros(3, dtype)))


@needs_module
def test_arrays_of_two_devices(cupy: Any) -> None:
    from pyfast.cuda.frameworks import cupy_kernels

    x = FakeArray(np.zeros((2, 3), np.float32))
    y = FakeArray(np.zeros((2, 3), np.float32), device=1)
    with pytest.raises(ValueError, match="output is on cuda:1, but grad on cuda:0; move them"):
        cupy_kernels(cupy).softmax_backward(x, y, -1)


@needs_module
def test_a_cpu_array_beside_a_gpu_array(cupy: Any) -> None:
    from pyfast.cuda.frameworks import cupy_kernels

    x = FakeArray(np.zeros((2, 3), np.float32))
    with pytest.raises(TypeError, match=r"output must lie on the GPU .* cupy.asarray\(array\)"):
        cupy_kernels(cupy).softmax_backward(x, np.zeros((2, 3), np.float32), -1)


@needs_module
def test_an_op_without_a_kernel(cupy: Any) -> None:
    from pyfast.cuda.frameworks import cupy_kernels

    with pytest.raises(NotImplementedError, match="no_such_op: no CUDA kernel yet"):
        cupy_kernels(cupy).no_such_op()


@needs_module
def test_an_array_of_nobody() -> None:
    with pytest.raises(TypeError, match="neither a CuPy array nor a torch tensor"):
        pf.ops.softmax(FakeArray(np.zeros(3, np.float32)))
