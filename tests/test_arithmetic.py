"""The kernels behind Tensor's operators on large arrays, and how Tensor comes by them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from oracle import reference_mode, threads

import pyfast as pf
from pyfast import _core

BINARY = {
    "add": np.add,
    "subtract": np.subtract,
    "multiply": np.multiply,
    "divide": np.divide,
}
ELEMENTARY = {
    name: getattr(np, name)
    for name in ("negative", "absolute", "exp", "expm1", "log", "log1p", "sqrt")
}
SHAPES: list[tuple[tuple[int, ...], tuple[int, ...]]] = [
    ((), ()), ((1,), (5,)), ((7,), (7,)), ((3, 5), (5,)), ((3, 5), (3, 1)), ((3, 1), (1, 5)),
    ((2, 3, 4), (3, 1)), ((4, 1, 6), (1, 5, 1)), ((0, 3), (3,)), ((40_000,), (40_000,)),
    ((300, 70), (70,)), ((300, 70), (300, 1)), ((2, 50, 333), (50, 1)), ((40_000,), ()),
]  # fmt: skip


def filled(shape: tuple[int, ...], dtype: Any, seed: int) -> Any:
    return np.asarray(np.random.default_rng(seed).standard_normal(shape), dtype)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("name", BINARY)
def test_binary_gives_numpys_bits(name: str, dtype: Any) -> None:
    for a_shape, b_shape in SHAPES:
        a, b = filled(a_shape, dtype, 1), filled(b_shape, dtype, 2)
        for x, y in ((a, b), (b, a), (a.T, b.T) if a.shape == b.shape else (a, b)):
            got = _core.binary(name, x, y)
            np.testing.assert_array_equal(got, BINARY[name](x, y), strict=True)
            with reference_mode():
                np.testing.assert_allclose(_core.binary(name, x, y), got, rtol=1e-6)
            with threads(3):
                assert _core.binary(name, x, y).tobytes() == got.tobytes()


def test_binary_of_strided_operands() -> None:
    wide = filled((60, 2, 80), np.float32, 3)
    for a in (wide[:, 0, ::2], wide[:, 1, ::-2], wide[::-1, 0, :40], wide[0, :, :40].T[:, :1].T):
        b = filled((40,), np.float32, 4)
        np.testing.assert_array_equal(_core.binary("subtract", a, b), a - b)
        np.testing.assert_array_equal(_core.binary("subtract", b, a), b - a)


@pytest.mark.parametrize("shape", [(7, 1), (3, 5, 1), (1, 9, 1, 1), (4, 1, 6, 1), (7,), (1,)])
def test_strided_operands_whose_last_axes_have_one_element(shape: tuple[int, ...]) -> None:
    r = np.random.default_rng(0)
    values = [r.standard_normal(shape).astype(np.float32) for _ in range(2)]

    def layouts(a: Any) -> list[Any]:
        apart = np.zeros((*shape, 3), np.float32)
        apart[..., 1] = a
        backwards = np.ascontiguousarray(a[::-1])[::-1]
        return [a, apart[..., 1], backwards, np.asfortranarray(a), np.repeat(a, 2, -1)[..., ::2]]

    for a in layouts(values[0]):
        for b in [*layouts(values[1]), values[1][..., :1], values[1][:1]]:
            np.testing.assert_array_equal(_core.binary("subtract", a, b), a - b)
            np.testing.assert_array_equal(_core.binary("subtract", b, a), b - a)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("name", ELEMENTARY)
def test_elementary_agrees_with_numpy(name: str, dtype: Any) -> None:
    x = np.concatenate([filled((40_000,), dtype, 5), np.array([0, np.inf, np.nan, -np.inf], dtype)])
    with np.errstate(all="ignore"):
        wanted = ELEMENTARY[name](x.astype(np.longdouble)).astype(dtype)
    got = _core.elementary(name, x)
    np.testing.assert_allclose(got, wanted, rtol=4 * np.finfo(dtype).eps)
    with reference_mode():
        np.testing.assert_allclose(_core.elementary(name, x), got, rtol=4 * np.finfo(dtype).eps)
    with threads(3):
        assert _core.elementary(name, x).tobytes() == got.tobytes()


def test_operands_that_do_not_fit() -> None:
    x = np.ones((3, 4), np.float32)
    for args, error, message in [
        (("add", x, x[:2]), ValueError, "add: operands of shapes .* do not broadcast"),
        (("add", x, x.astype(np.float64)), TypeError, "add: operands must have one dtype"),
        (("power", x, x), ValueError, "operation must be"),
        (("add", x, x.astype(np.int32)), TypeError, "b must be a float32 or float64 array"),
        (("add", x, None), TypeError, "b must be"),
        ((1, x, x), TypeError, "operation must be a str"),
    ]:
        with pytest.raises(error, match=message):
            _core.binary(*args)
    with pytest.raises(ValueError, match="function must be"):
        _core.elementary("sin", x)
    with pytest.raises(TypeError, match="input must be"):
        _core.elementary("exp", x.astype(np.int64))


def test_large_tensors_have_the_gradients_of_small_ones() -> None:
    def loss(a: pf.Tensor, b: pf.Tensor) -> pf.Tensor:
        return ((a * b - b) / (a + 3.0) + (-a).exp() + (b * b).sqrt()).sum()

    a, b = filled((500, 300), np.float64, 6), filled((300,), np.float64, 7)
    found = []
    for kernels in (True, False):
        x, y = pf.Tensor(a, requires_grad=True), pf.Tensor(b, requires_grad=True)
        threshold = pf.ops.arithmetic._LARGE
        try:
            pf.ops.arithmetic._LARGE = 0 if kernels else 2**62
            loss(x, y).backward()
        finally:
            pf.ops.arithmetic._LARGE = threshold
        found.append((np.asarray(x.grad), np.asarray(y.grad)))
    for with_kernels, without in zip(*found, strict=True):
        np.testing.assert_allclose(with_kernels, without, rtol=1e-12, atol=1e-12)
