"""The GEMM engine on its own: every way a shape is cut up, every epilogue, any threads."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from oracle import threads, torch_threads
from scipy import special

from pyfast import _core

Array = np.ndarray[Any, Any]
DTYPES = [np.float32, np.float64]

# One below, at and above the register tiles and vectors of every instruction set.
EDGES = (1, 2, 3, 4, 5, 7, 8, 9, 13, 14, 15, 16, 17, 29, 31, 32, 33, 47, 65)

# Shapes that each take a way of their own through the engine, and what their plan then shows.
WAYS: dict[str, tuple[tuple[int, int, int], Any]] = {
    "shares a": ((40, 300, 100), lambda p: p["shared"] == "a"),
    "shares b": ((300, 40, 100), lambda p: p["shared"] == "b"),
    "several depth blocks": ((60, 70, 1100), lambda p: p["depth"][0] < 1100 <= p["depth"][1]),
    "sums held past the shared depth": ((600, 40, 5000), lambda p: p["depth"][1] < 5000),
    "slices of the shared block": (
        (1500, 1300, 300),
        lambda p: p["shared_slice"] < p["shared_block"],
    ),
    "shared blocks": ((2300, 2250, 1900), lambda p: p["shared_block"] < 2250),
    "passes over the private rows": (
        (9000, 400, 2600),
        lambda p: p["private_pass"] < 9000 and p["depth"][1] < 2600,
    ),
    "depth split": ((20, 30, 40000), lambda p: p["splits"] > 1),
    "row times matrix": ((1, 700, 300), lambda p: True),
    "matrix times column": ((700, 1, 300), lambda p: True),
}


def operands(m: int, n: int, k: int, dtype: Any, seed: int = 0) -> tuple[Array, Array]:
    r = np.random.default_rng(seed)
    return r.standard_normal((m, k)).astype(dtype), r.standard_normal((k, n)).astype(dtype)


def layouts(a: Array, i: int) -> Array:
    """The same values: contiguous, transposed, stepped."""
    if i % 3 == 1:
        return np.asfortranarray(a)
    return np.repeat(a, 2, axis=1)[:, ::2] if i % 3 == 2 else a


def assert_product(c: Array, a: Array, b: Array) -> None:
    """Within a few roundings of each element's own sum of magnitudes."""
    wide = a.astype(np.float64), b.astype(np.float64)
    bound = np.abs(wide[0]) @ np.abs(wide[1])
    tolerance = np.finfo(c.dtype).eps * (4 + 0.2 * np.sqrt(a.shape[1]))
    assert np.all(np.abs(c - wide[0] @ wide[1]) <= tolerance * bound)


@pytest.mark.parametrize("dtype", DTYPES)
def test_edges_of_the_tiles(dtype: Any) -> None:
    r = np.random.default_rng(1)
    for i in range(400):
        m, n, k = (int(v) for v in r.choice(EDGES, 3))
        a, b = operands(m, n, k, dtype, i)
        c, _ = _core.gemm(layouts(a, i), layouts(b, i // 3), column_major=i % 2 == 0)
        assert_product(c.T if i % 2 == 0 else c, a, b)


@pytest.mark.parametrize("way", WAYS)
def test_every_way_through_the_engine(way: str) -> None:
    (m, n, k), expected = WAYS[way]
    assert expected(_core.gemm_plan(m, n, k, False)), _core.gemm_plan(m, n, k, False)
    a, b = operands(m, n, k, np.float32)
    with threads(1):
        alone, _ = _core.gemm(a, b)
    assert_product(alone, a, b)
    with threads(3):
        shared, _ = _core.gemm(a, b)
    assert shared.tobytes() == alone.tobytes()


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("k", [64, 79, 2100])
def test_few_rows_times_columns_that_are_contiguous(k: int, dtype: Any) -> None:
    for m in range(2, 18):
        for n in (1, 2, 17, 47, 130):
            a, b = operands(m, n, k, dtype, m)
            a, b = layouts(a, m), np.asfortranarray(b)
            with threads(1):
                alone, _ = _core.gemm(a, b)
            assert_product(alone, a, b)
            with threads(3):
                shared, _ = _core.gemm(a, b)
            assert shared.tobytes() == alone.tobytes()


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("column_major", [False, True])
def test_epilogue(column_major: bool, dtype: Any) -> None:
    r = np.random.default_rng(2)
    for m, n, k in ((1, 1, 1), (15, 33, 9), (33, 5, 40), (1, 70, 20), (70, 1, 20), (20, 30, 5000)):
        a, b = operands(m, n, k, dtype)
        vectors = {"row_scale": m, "row_bias": m, "col_bias": n}
        terms = {key: r.standard_normal(size).astype(dtype) for key, size in vectors.items()}
        residual = r.standard_normal((n, m)).astype(dtype).T
        c, linear = _core.gemm(
            a,
            b,
            alpha=0.5,
            residual=residual,
            activation="gelu",
            column_major=column_major,
            **terms,
        )
        if column_major:
            c, linear = c.T, linear.T
        wide = {key: v.astype(np.float64) for key, v in terms.items()}
        z = 0.5 * wide["row_scale"][:, None] * (a.astype(np.float64) @ b.astype(np.float64))
        z += wide["row_bias"][:, None] + wide["col_bias"] + residual
        tolerance = 20 * np.finfo(dtype).eps * (1 + np.abs(z).max())
        np.testing.assert_allclose(linear, z, rtol=0, atol=tolerance)
        np.testing.assert_allclose(c, z * special.ndtr(z), rtol=0, atol=1.5 * tolerance)


def test_no_depth_gives_the_bias() -> None:
    bias = np.arange(5, dtype=np.float32)
    c, _ = _core.gemm(np.zeros((3, 0), np.float32), np.zeros((0, 5), np.float32), col_bias=bias)
    np.testing.assert_array_equal(c, np.tile(bias, (3, 1)))


@pytest.mark.parametrize("shape", [(0, 3, 2), (3, 0, 2), (0, 0, 0)])
def test_empty_products(shape: tuple[int, int, int]) -> None:
    m, n, k = shape
    assert _core.gemm(*operands(m, n, k, np.float32))[0].shape == (m, n)


def test_nan_and_infinity_stay_in_their_row() -> None:
    a, b = operands(40, 40, 40, np.float32)
    a[3, 5] = np.nan
    a[7, 2] = np.inf
    c, _ = _core.gemm(a, b)
    assert np.isnan(c[3]).all()
    assert np.isinf(c[7]).all()
    assert np.isfinite(np.delete(c, [3, 7], axis=0)).all()


def test_at_least_as_accurate_as_a_running_sum() -> None:
    """Against float32 summed in order: the root mean square error over many dot products."""
    a, b = operands(64, 64, 4096, np.float32)
    exact = a.astype(np.float64) @ b.astype(np.float64)
    c, _ = _core.gemm(a, b)
    running = np.zeros((64, 64), np.float32)
    for k in range(4096):
        # The product is exact in float64: this rounds once a step, as an FMA does.
        running = (running + np.outer(a[:, k].astype(np.float64), b[k])).astype(np.float32)
    assert np.std(c - exact) <= 1.05 * np.std(running - exact) or _core.isa() == "scalar"


@pytest.mark.skipif(_core.isa() == "scalar", reason="the scalar baseline has no FMA, PyTorch has")
@pytest.mark.parametrize("density", [0.05, 0.2, 1])
@pytest.mark.parametrize("depth", [2048, 4096, 8192])
def test_deep_sums_err_no_more_than_pytorch(depth: int, density: float) -> None:
    """Few terms in many blocks; PyTorch's threads share out the depth and add less in a row."""
    r = np.random.default_rng(depth)
    a, b = (
        (r.standard_normal((160, depth)) * (r.random((160, depth)) < density)).astype(np.float32)
        for _ in range(2)
    )
    exact = a.astype(np.float64) @ b.T.astype(np.float64)
    theirs = []
    for count in (1, 2):
        with torch_threads(count):
            theirs.append(np.std((torch.from_numpy(a) @ torch.from_numpy(b).T).numpy() - exact))
    assert np.std(_core.gemm(a, b.T)[0] - exact) <= 1.1 * min(theirs)


@pytest.mark.parametrize(
    ("kwargs", "error", "match"),
    [
        ({"b": np.zeros((4, 2), np.float32)}, ValueError, r"b must have shape \(3, 2\)"),
        ({"b": np.zeros(3, np.float32)}, ValueError, "b must have 2 dimensions"),
        ({"b": np.zeros((3, 2))}, TypeError, "b must have the dtype of a"),
        ({"row_bias": np.zeros(3, np.float32)}, ValueError, r"row_bias must have shape \(2,\)"),
        ({"residual": np.zeros((1, 2), np.float32)}, ValueError, "residual must have shape"),
        ({"activation": "x"}, ValueError, "activation must be"),
    ],
)
def test_bad_input(kwargs: dict[str, Any], error: type[Exception], match: str) -> None:
    good = {"a": np.zeros((2, 3), np.float32), "b": np.zeros((3, 2), np.float32)}
    with pytest.raises(error, match=match):
        _core.gemm(**{**good, **kwargs})


@pytest.mark.parametrize("dtype", DTYPES)
def test_packed_weight_gives_the_same_bits(dtype: Any) -> None:
    r = np.random.default_rng(3)
    shapes = ((1, 70, 20), (3, 5, 9), (40, 33, 700), (300, 50, 64), (60, 40, 5000))
    few = (
        (1, 300, 700),
        (8, 130, 1500),
        (14, 65, 600),
        (23, 500, 1100),
        (56, 40, 300),
        (20, 30, 40000),
    )
    on_tiles = ((300, 200, 700), (90, 400, 700), (200, 150, 2500))  # where there are any
    for m, n, k in (*shapes, *few, *on_tiles):
        x, w = r.standard_normal((m, k)).astype(dtype), r.standard_normal((n, k)).astype(dtype)
        bias = r.standard_normal(n).astype(dtype)
        for weight in (w, np.asfortranarray(w)):
            packed = _core.PackedWeight(weight)
            assert packed.shape == (n, k)
            got = _core.linear_packed(x, packed, bias, "relu")
            exact = x.astype(np.float64) @ w.astype(np.float64).T + bias
            assert np.abs(got - np.maximum(exact, 0)).max() <= 1e3 * np.finfo(dtype).eps * k**0.5
            if m > 16 or (m > 1 and k < 64):  # a few rows that are not packed go another way
                np.testing.assert_array_equal(got, _core.linear(x, weight, bias, "relu", False))


def test_packed_weight_bad_input() -> None:
    x, w = np.zeros((2, 3), np.float32), np.zeros((4, 3), np.float32)
    with pytest.raises(ValueError, match="PackedWeight: weight must have 2 dimensions"):
        _core.PackedWeight(w[0])
    with pytest.raises(TypeError, match="PackedWeight: weight must be"):
        _core.PackedWeight(w.astype(np.int64))
    packed = _core.PackedWeight(w)
    with pytest.raises(ValueError, match=r"linear_packed: weight of shape .* does not fit"):
        _core.linear_packed(x[:, :2], packed, None, None)
    with pytest.raises(TypeError, match="weight must have the dtype of input"):
        _core.linear_packed(x.astype(np.float64), packed, None, None)
    with pytest.raises(ValueError, match=r"bias must have shape \(4,\)"):
        _core.linear_packed(x, packed, np.zeros(3, np.float32), None)
    assert _core.linear_packed(
        np.zeros((2, 0), np.float32), _core.PackedWeight(np.zeros((4, 0), np.float32)), None, None
    ).shape == (2, 4)
