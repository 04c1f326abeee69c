"""The vector functions of csrc/simd against wider arithmetic, for the instruction set that runs.

``python tests/test_simd.py`` prints the largest error in ulp of each function (float32, float64),
with the argument, over ten times as many arguments as the tests take.
"""

from __future__ import annotations

import ctypes
import mmap
import sys
from collections.abc import Callable
from typing import Any

import mpmath
import numpy as np
import pytest
from scipy import special

from pyfast import _core

Array = np.ndarray[Any, Any]
INF, NAN = np.inf, np.nan
LIMIT = 2.0  # ulp


def sigmoid(x: Array) -> Array:
    e = np.exp(-abs(x))
    return np.where(x >= 0, 1, e) / (1 + e)


def erf(x: Array) -> Array:
    if x.dtype == np.float64:
        return np.asarray(special.erf(x))
    with mpmath.workprec(80):
        exact = [mpmath.erf(float(v)) for v in x]
        high = np.array([float(v) for v in exact])
        low = np.array([float(v - h) for v, h in zip(exact, high.tolist(), strict=True)])
    return high.astype(np.longdouble) + low


FUNCTIONS: dict[str, Callable[[Array], Array]] = {
    "exp": np.exp,
    "exp2": np.exp2,
    "expm1": np.expm1,
    "log": np.log,
    "log1p": np.log1p,
    "tanh": np.tanh,
    "sigmoid": sigmoid,
    "erf": erf,
}

SPECIALS: dict[str, list[tuple[float, float]]] = {
    "exp": [(-INF, 0), (INF, INF), (0, 1), (-0.0, 1), (1e30, INF), (-1e30, 0), (-800, 0)],
    "exp2": [(-INF, 0), (INF, INF), (0, 1), (-0.0, 1), (1e30, INF), (-1e30, 0), (3, 8)],
    "expm1": [(-INF, -1), (INF, INF), (0, 0), (-0.0, -0.0), (1e30, INF), (-1e30, -1)],
    "log": [(0, -INF), (-0.0, -INF), (INF, INF), (-INF, NAN), (-1, NAN), (1, 0)],
    "log1p": [(-1, -INF), (-INF, NAN), (-2, NAN), (INF, INF), (0, 0), (-0.0, -0.0)],
    "tanh": [(INF, 1), (-INF, -1), (0, 0), (-0.0, -0.0), (1e30, 1), (-1e30, -1)],
    "sigmoid": [(INF, 1), (-INF, 0), (0, 0.5), (-0.0, 0.5), (1e30, 1), (-1e30, 0)],
    "erf": [(INF, 1), (-INF, -1), (0, 0), (-0.0, -0.0), (1e30, 1), (-1e30, -1)],
}

each_function = pytest.mark.parametrize("name", FUNCTIONS)
each_dtype = pytest.mark.parametrize("dtype", [np.float32, np.float64])


def arguments(dtype: Any, n: int) -> Array:
    """Bit patterns of every kind, and the intervals where the functions bend."""
    random = np.random.default_rng(0)
    if dtype == np.float32:
        patterns = np.linspace(0, 2**32 - 1, n).astype(np.uint32).view(np.float32)
    else:
        patterns = random.integers(0, 2**64, n, dtype=np.uint64).view(np.float64)
    limit = 110 if dtype == np.float32 else 750
    small = np.ldexp(random.uniform(-1, 1, n), random.integers(-60, 1, n))
    intervals = [random.uniform(*i, n) for i in ((-limit, limit), (-6.5, 6.5), (-1, 1), (0.5, 2))]
    return np.concatenate([patterns, small.astype(dtype), *(i.astype(dtype) for i in intervals)])


def ulps(actual: Array, exact: Array) -> Array:
    """|actual - exact| in units of the last place of `exact` in actual's dtype."""
    info = np.finfo(actual.dtype)
    with np.errstate(all="ignore"):
        exponent = np.maximum(np.frexp(exact)[1], info.minexp + 1)
        unit = np.ldexp(exact.dtype.type(1), exponent - info.nmant - 1)
        error = abs(actual.astype(exact.dtype) - exact) / unit
        same = (actual == exact.astype(actual.dtype)) | (np.isnan(actual) & np.isnan(exact))
    return np.where(same, 0, np.where(np.isnan(error), INF, error))


def worst(name: str, dtype: Any, scale: int = 1) -> tuple[float, float]:
    """The largest error of a function, and where."""
    slow = name == "erf" and dtype == np.float64
    x = arguments(dtype, scale * (500_000 if dtype == np.float32 else 2_000 if slow else 20_000))
    wide = np.float64 if dtype == np.float32 else np.longdouble
    with np.errstate(all="ignore"):
        error = ulps(_core.simd_evaluate(name, x), FUNCTIONS[name](x.astype(wide)))
    at = int(np.argmax(error))
    return float(error[at]), float(x[at])


@each_function
@each_dtype
def test_error_is_at_most_two_ulp(name: str, dtype: Any) -> None:
    if dtype == np.float64 and np.finfo(np.longdouble).nmant <= 52:
        pytest.skip("long double is no wider than double here")
    error, at = worst(name, dtype)
    assert error <= LIMIT, f"{name}({at!r}) is {error:.2f} ulp off"


@each_function
@each_dtype
def test_special_values(name: str, dtype: Any) -> None:
    x, expected = np.array([*SPECIALS[name], (NAN, NAN)], dtype).T
    real = ~np.isnan(expected)  # the sign of a NaN says nothing
    for shift in range(len(x)):  # each value in several lanes
        y = np.roll(_core.simd_evaluate(name, np.roll(x, shift)), -shift)
        np.testing.assert_array_equal(y, expected)
        np.testing.assert_array_equal(np.signbit(y)[real], np.signbit(expected)[real])


@each_dtype
def test_denormals(dtype: Any) -> None:
    tiny = np.finfo(dtype).smallest_subnormal
    x = np.array([tiny, -tiny, 3 * tiny, np.finfo(dtype).smallest_normal / 4], dtype)
    for name in ("expm1", "log1p", "tanh"):
        np.testing.assert_array_equal(_core.simd_evaluate(name, x), x)
    low = np.log(np.finfo(dtype).smallest_normal)
    shrinking = np.exp(low - np.arange(1, 15, dtype=np.float64)).astype(dtype)
    y = _core.simd_evaluate("exp", low - np.arange(1, 15, dtype=dtype))
    assert (y > 0).all()
    np.testing.assert_allclose(y, shrinking, rtol=0.02, atol=float(tiny))


@each_function
@each_dtype
def test_a_value_does_not_depend_on_its_lane(name: str, dtype: Any) -> None:
    x = np.linspace(0.1, 3, 67, dtype=dtype)
    whole = _core.simd_evaluate(name, x)
    for n in range(len(x)):
        np.testing.assert_array_equal(_core.simd_evaluate(name, x[n:]), whole[n:])
        np.testing.assert_array_equal(_core.simd_evaluate(name, x[:n]), whole[:n])


@each_dtype
def test_operations_on_vectors_and_masks(dtype: Any) -> None:
    assert _core.simd_selftest(dtype == np.float64) is None


@pytest.mark.skipif(sys.platform == "win32", reason="needs mprotect")
@each_dtype
def test_the_tail_reads_nothing_beyond_the_array(dtype: Any) -> None:
    page = mmap.PAGESIZE
    memory = mmap.mmap(-1, 2 * page)
    address = ctypes.addressof(ctypes.c_char.from_buffer(memory))
    protect = ctypes.CDLL(None, use_errno=True).mprotect
    protect.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]
    assert protect(address + page, page, 0) == 0
    size = np.dtype(dtype).itemsize
    for n in range(1, 40):
        x = np.frombuffer(memory, dtype, n, page - n * size)
        np.testing.assert_array_equal(_core.simd_evaluate("sigmoid", x), np.full(n, 0.5, dtype))


def test_bad_input() -> None:
    x = np.ones(3, np.float32)
    with pytest.raises(ValueError, match=r"name must be one of .* got sine"):
        _core.simd_evaluate("sine", x)
    with pytest.raises(TypeError, match="x must be a float32 or float64 array"):
        _core.simd_evaluate("exp", np.ones(3, np.int64))


def main() -> None:
    for name in FUNCTIONS:
        found = [worst(name, dtype, 10) for dtype in (np.float32, np.float64)]
        print(f"{name:8}", *(f"{error:.2f} at {at:<24.17g}" for error, at in found))


if __name__ == "__main__":
    main()
