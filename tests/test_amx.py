"""float32 products on AMX tiles: as exact as multiply-adds wherever float32 reaches."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
import torch
from oracle import threads, torch_threads

import pyfast as pf
from pyfast import _core

Array = np.ndarray[Any, Any]

pytestmark = pytest.mark.skipif(
    _core.isa() != "amx", reason=f"needs AMX and PYFAST_ISA to allow it; runs on {_core.isa()}"
)

# Whole and ragged tiles; one depth block, several, and more than is packed at a time.
SHAPES = [
    (160, 144, 64),
    (161, 177, 33),
    (145, 160, 513),
    (176, 164, 1100),
    (164, 650, 2600),
    (1500, 160, 700),
]


def normal(shape: tuple[int, int], seed: int) -> Array:
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def exact(a: Array, b: Array) -> Array:
    return a.astype(np.float64) @ b.astype(np.float64)


def assert_as_exact_as_fma(c: Array, a: Array, b: Array) -> None:
    """Within what float32 multiply-adds reach on such data: roundings of the sum of magnitudes."""
    magnitudes = np.abs(a).astype(np.float64) @ np.abs(b).astype(np.float64)
    depth = a.shape[1]
    tolerance = 2.0**-24 * (6 + 0.3 * np.sqrt(depth)) * magnitudes + depth * 2.0**-149
    reachable = magnitudes < np.finfo(np.float32).max
    error = np.abs(c - exact(a, b))
    assert reachable.any()
    assert np.all(error[reachable] <= tolerance[reachable])


@pytest.mark.parametrize("shape", SHAPES)
def test_every_way_a_product_is_cut(shape: tuple[int, int, int]) -> None:
    m, n, k = shape
    a, b = normal((m, k), 0), normal((k, n), 1)
    for left in (a, np.asfortranarray(a), np.repeat(a, 2, axis=1)[:, ::2]):
        for right in (b, np.asfortranarray(b), np.repeat(b, 2, axis=1)[:, ::2]):
            assert_as_exact_as_fma(pf.ops.matmul(left, right), a, b)


def test_more_exact_than_multiply_adds() -> None:
    a, b = normal((256, 1024), 2), normal((1024, 256), 3)
    error = np.linalg.norm(pf.ops.matmul(a, b) - exact(a, b)) / np.linalg.norm(exact(a, b))
    assert error < 2.0**-24 * np.sqrt(1024) / 3


RANGES = [(low, high) for low in (-38, -30, -20, -10) for high in (-30, -10, 0, 10, 18, 38)]


@pytest.mark.parametrize(("low", "high"), [r for r in RANGES if r[0] <= r[1]])
def test_magnitudes(low: int, high: int) -> None:
    r = np.random.default_rng(4)
    for m, n, k in [(160, 170, 70), (160, 160, 600)]:
        a = normal((m, k), 5) * np.float32(10) ** r.uniform(low, high, (m, k)).astype(np.float32)
        b = normal((k, n), 6) * np.float32(10) ** r.uniform(low, high, (k, n)).astype(np.float32)
        b[:, 0] = 0
        with np.errstate(over="ignore", invalid="ignore"):
            assert_as_exact_as_fma(pf.ops.matmul(a, b), a, b)
            assert_as_exact_as_fma(pf.ops.matmul(a, np.ones_like(b)), a, np.ones_like(b))


@pytest.mark.parametrize("value", [2.0**-149, 2.0**-126, 2.0**-100, 2.0**63, 2.0**127])
def test_one_value_alone(value: float) -> None:
    """A tile of nothing but powers of two has exact results."""
    a = np.zeros((160, 64), np.float32)
    b = np.zeros((64, 160), np.float32)
    a[3, 5], b[5, 7] = value, 1.5
    a[50, 6], b[6, 90] = 1.25, value
    expected = np.zeros((160, 160))
    expected[3, 7], expected[50, 90] = value * 1.5, value * 1.25
    np.testing.assert_array_equal(pf.ops.matmul(a, b), expected.astype(np.float32))


def test_mixed_magnitudes_in_one_row_lose_nothing() -> None:
    a = np.ones((160, 64), np.float32)
    a[:, ::2] = 1e-30
    b = np.zeros((64, 160), np.float32)
    b[::2] = 1e-7  # only the small factors count: 32 products of 1e-37
    np.testing.assert_allclose(pf.ops.matmul(a, b), exact(a, b), rtol=1e-6)


def test_infinities_and_nans() -> None:
    a, b = normal((160, 600), 7), normal((600, 160), 8)
    a[3, 5] = np.inf
    a[60, 590] = np.nan
    b[7, 9] = -np.inf
    with np.errstate(invalid="ignore"):
        c, expected = pf.ops.matmul(a, b), exact(a, b)
    np.testing.assert_array_equal(np.isnan(c), np.isnan(expected))
    infinite = np.isinf(expected)
    np.testing.assert_array_equal(c[infinite], expected[infinite])
    finite = np.isfinite(expected)
    np.testing.assert_allclose(c[finite], expected[finite], rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    ("precision", "least", "most"),
    [("highest", 0, 1e-6), ("high", 1e-7, 2e-5), ("medium", 5e-4, 1e-2)],
)
def test_precision_modes(precision: Any, least: float, most: float) -> None:
    a, b = normal((200, 300), 9), normal((300, 200), 10)
    with pf.set_float32_matmul_precision(precision):
        c = pf.ops.matmul(a, b)
    error = np.linalg.norm(c - exact(a, b)) / np.linalg.norm(exact(a, b))
    assert least <= error <= most


@pytest.mark.parametrize("shape", SHAPES)
def test_any_number_of_threads(shape: tuple[int, int, int]) -> None:
    m, n, k = shape
    a, b = normal((m, k), 11), normal((k, n), 12)
    a[0, 0] = 1e-40  # with the next line: one block is computed by multiply-adds
    b[0, 0] = 1e-30
    results = []
    for count in (1, 2, 3, 7):
        with threads(count):
            results.append(pf.ops.matmul(a, b))
    for result in results[1:]:
        np.testing.assert_array_equal(result, results[0])


# ---- digits


def digits(a: Array, b: Array, products: int = 8) -> Array:
    c = _core.gemm_digits(a.astype(np.float32), b.astype(np.float32), products)
    return c[: a.shape[0], : b.shape[1]]


@pytest.mark.parametrize("products", [6, 7, 8])
@pytest.mark.parametrize("depth", [1, 17, 64, 100, 512])
def test_digits_multiply_integers_exactly(products: int, depth: int) -> None:
    r = np.random.default_rng(20)
    for high in (3, 1 << 7, 1 << 8, 1 << 12):
        a, b = r.integers(-high, high, (32, depth)), r.integers(-(1 << 4), 1 << 4, (depth, 32))
        a[5], b[:, 7] = 0, 0
        a[3, 0] = -high
        np.testing.assert_array_equal(digits(a, b, products), a @ b)


def test_digits_of_one_number() -> None:
    """Times one: what the digits hold. Numbers of 16 bits, and the largest of 24, are exact."""
    numbers = np.zeros((32, 64), np.float32)
    small = 3 * 2.0 ** np.arange(-40, -26)
    numbers[:, 0] = np.r_[-(2.0 ** np.arange(15)), 32767, 65535, 0, small]
    one = np.zeros((64, 16), np.float32)
    one[0] = 1
    np.testing.assert_array_equal(digits(numbers, one), numbers[:, :1].repeat(16, 1))
    np.testing.assert_array_equal(digits(one.T, numbers.T), numbers[:, 0][None].repeat(16, 0))


def test_digits_are_within_half_a_quantum() -> None:
    r = np.random.default_rng(21)
    a = (r.uniform(-1, 1, (32, 64)) * 10.0 ** r.integers(-15, 15, (32, 1))).astype(np.float32)
    a[:16, 5] = a[16:, 6] = np.abs(a).max(1)[16:] * 1.5
    a[::2, 5:7] *= -1
    error = np.abs(digits(a, np.eye(64)[:, :32]) - a[:, :32].astype(np.float64))
    quantum = np.abs(a).max(1) / 0x7F7F00
    assert np.all(error <= 0.51 * quantum[:, None] + np.abs(a[:, :32]) * 2.0**-23)


# ---- which numbers go by digits, and what that does to them

SIZE = 160  # large enough for the tiles


def one_outlier_a_row(r: np.random.Generator, shape: tuple[int, int]) -> Array:
    x = r.standard_normal(shape)
    x[np.arange(shape[0]), r.integers(0, shape[1], shape[0])] *= 1000
    return x


KINDS: dict[str, Callable[[np.random.Generator, tuple[int, int]], Array]] = {
    "normal": lambda r, s: r.standard_normal(s),
    "uniform": lambda r, s: r.uniform(-1, 1, s),
    "relu": lambda r, s: np.maximum(r.standard_normal(s), 0),
    "non-negative": lambda r, s: r.uniform(0, 1, s),
    "heavy-tailed": lambda r, s: r.standard_t(2, s),
    "one outlier a row": one_outlier_a_row,
    "rows of 1e-18 to 1e18": lambda r, s: (
        r.standard_normal(s) * 10.0 ** r.uniform(-18, 18, (s[0], 1))
    ),
    "exponential": lambda r, s: r.exponential(size=s),
    "bfloat16": lambda r, s: np.ldexp(r.integers(-128, 128, s), r.integers(-9, 0, s)),
    "nearly constant": lambda r, s: 1 + 1e-3 * r.standard_normal(s),
    "a twentieth": lambda r, s: r.standard_normal(s) * (r.random(s) < 0.05),
    "a fifth": lambda r, s: r.standard_normal(s) * (r.random(s) < 0.2),
    "two magnitudes": lambda r, s: r.standard_normal(s) * np.where(np.arange(s[1]) % 2, 1, 1e-6),
}


def error_of(c: Array, exact: Array, scale: Array) -> float:
    """Of every element in units of its own: no row counts more than another."""
    return float(np.sqrt(np.mean(np.square((c - exact) / scale))))


def by_pytorch(a: Array, b: Array) -> Iterator[Array]:
    """a bᵀ; two threads share out a large depth, and its sums are shorter then."""
    for count in (1, 2):
        with torch_threads(count):
            yield (torch.from_numpy(a) @ torch.from_numpy(b).T).numpy()


@pytest.mark.parametrize("depth", [32, 64, 128, 384, 1000, 2048, 8192])
@pytest.mark.parametrize("kind", KINDS)
def test_as_exact_as_pytorch(kind: str, depth: int) -> None:
    r = np.random.default_rng(depth)
    shape = (SIZE, depth)
    a = KINDS[kind](r, shape).astype(np.float32)
    for other in {kind, "normal", "uniform"}:
        b = KINDS[other](r, shape).astype(np.float32)
        if other == "two magnitudes":  # large ones meet small ones only
            b = np.ascontiguousarray(b.reshape(SIZE, -1, 2)[:, :, ::-1]).reshape(shape)
        expected, scale = exact(a, b.T), np.sqrt(exact(a**2, b.T**2) + 1e-80)
        limit = 1.1 * min(error_of(c, expected, scale) for c in by_pytorch(a, b))
        assert error_of(pf.ops.matmul(a, b.T), expected, scale) <= limit
        assert error_of(pf.ops.linear(a, b), expected, scale) <= limit


def test_large_meets_small_as_after_training_on_unscaled_features() -> None:
    """Half of the features are a million times the others, and their weights as much smaller."""
    r = np.random.default_rng(30)
    size = np.where(np.arange(256) % 2, 1e6, 1.0)
    a = (r.standard_normal((SIZE, 256)) * size).astype(np.float32)
    b = (r.standard_normal((256, SIZE)) / size[:, None]).astype(np.float32)
    assert_as_exact_as_fma(pf.ops.matmul(a, b), a, b)


@pytest.mark.parametrize("depth", [64, 160, 512, 1100])
def test_integers_stay_exact(depth: int) -> None:
    r = np.random.default_rng(31)
    a, b = r.integers(-(1 << 12), 1 << 12, (SIZE, depth)), r.integers(-3, 4, (depth, SIZE))
    c = pf.ops.matmul(a.astype(np.float32), b.astype(np.float32))
    np.testing.assert_array_equal(c, a @ b)


@pytest.mark.parametrize("seed", [0, 1])
def test_a_row_of_another_is_that_row(seed: int) -> None:
    """Identity, permutation, one-hot rows, and one such row among others."""
    r = np.random.default_rng(32)
    b = (r.standard_normal((256, 200)) * 10.0 ** r.uniform(-30, 30, (256, 1))).astype(np.float32)
    if seed:
        b = r.standard_normal((256, 200)).astype(np.float32)
    rows = r.integers(0, 256, 300)
    for picked in (np.arange(256), r.permutation(256), rows):
        np.testing.assert_array_equal(
            pf.ops.matmul(np.eye(256, dtype=np.float32)[picked], b), b[picked]
        )
        right = pf.ops.matmul(b.T, np.eye(256, dtype=np.float32)[:, picked])
        np.testing.assert_array_equal(right, b.T[:, picked])
    a = r.standard_normal((256, 256)).astype(np.float32)
    a[77] = np.eye(256)[9]
    np.testing.assert_array_equal(pf.ops.matmul(a, b)[77], b[9])
    zeros = np.zeros_like(a)
    np.testing.assert_array_equal(pf.ops.matmul(zeros, b), zeros[:, :200])


@pytest.mark.parametrize("value", [np.inf, -np.inf, np.nan])
def test_what_is_not_finite_among_digits(value: float) -> None:
    r = np.random.default_rng(33)
    a = r.standard_normal((1100, 700)).astype(np.float32)
    b = r.standard_normal((700, 300)).astype(np.float32)
    expected = exact(a, b)
    a[1000, 690] = value
    c = pf.ops.matmul(a, b)
    others = np.arange(1100) != 1000
    assert not np.isfinite(c[1000]).any()
    np.testing.assert_allclose(c[others], expected[others], rtol=0, atol=2e-4)
    assert np.isnan(c[1000]).all() == np.isnan(value)


def test_unfit_blocks_are_computed_otherwise_for_any_number_of_threads() -> None:
    """A heavy row here and there: some blocks by digits, some by parts, some by multiply-adds."""
    a, b = normal((1500, 1100), 34), normal((1100, 330), 35)
    a[40, 3] = 1e6
    a[900, 1000] = 1e30
    a[1300, 500] = np.inf
    b[1050, 7] = 1e4
    results = []
    for count in (1, 2, 3, 7):
        with threads(count):
            results.append(pf.ops.matmul(a, b))
    for result in results[1:]:
        np.testing.assert_array_equal(result, results[0])
    assert_as_exact_as_fma(np.delete(results[0], 1300, 0), np.delete(a, 1300, 0), b)
