"""Tiles and index maps of the GPU's matrix products, walked on the CPU against NumPy."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import pyfast as pf

host = pytest.importorskip("pyfast._cuda", reason="built without CUDA").host
rng = np.random.default_rng(0)


def draw(*shape: int) -> Any:
    # small integers: every sum is exact, so that a misplaced element cannot hide in a tolerance
    return rng.integers(-4, 5, shape).astype(np.float32)


SHAPES = [
    ((3, 5), (5, 4)), ((65, 33), (33, 130)), ((5,), (5, 3)), ((4, 5), (5,)), ((7,), (7,)),
    ((2, 3, 4, 5), (3, 5, 6)), ((3, 1, 4, 5), (2, 5, 6)), ((2, 1, 4, 5), (1, 3, 5, 2)),
    ((1, 4, 700), (6, 700, 2)), ((4, 0), (0, 3)), ((0, 3), (3, 2)), ((2, 5), (3, 0, 5, 2)),
]  # fmt: skip


@pytest.mark.parametrize(("a", "b"), SHAPES)
def test_matmul(a: tuple[int, ...], b: tuple[int, ...]) -> None:
    x, y = draw(*a), draw(*b)
    want = x @ y
    np.testing.assert_array_equal(host.matmul(x, y), want)
    grad = draw(*want.shape)
    wants = pf._core.matmul_backward(grad, x, y, True, True)
    for got, expected in zip(host.matmul_backward(grad, x, y), wants, strict=True):
        np.testing.assert_array_equal(got, expected)


def test_matmul_of_views() -> None:
    x, y = draw(6, 70, 8).transpose(2, 1, 0)[::2], draw(9, 2, 6)[::-1, 1].T
    np.testing.assert_array_equal(host.matmul(x, y), x @ y)
    grad = draw(4, 9, 70).transpose(0, 2, 1)
    wants = pf._core.matmul_backward(grad, x, y, True, True)
    for got, expected in zip(host.matmul_backward(grad, x, y), wants, strict=True):
        np.testing.assert_array_equal(got, expected)


@pytest.mark.parametrize(("rows", "n_in", "n_out"), [(1, 1, 1), (70, 33, 65), (2000, 5, 3)])
def test_linear(rows: int, n_in: int, n_out: int) -> None:
    x, w, grad = draw(rows, n_in), draw(n_out, n_in), draw(rows, n_out)
    output, of_x, of_w = host.linear(x, w, grad)
    np.testing.assert_array_equal(output, x @ w.T)
    np.testing.assert_array_equal(of_x, grad @ w)
    np.testing.assert_array_equal(of_w, grad.T @ x)


def test_matmul_of_repeated_rows() -> None:
    x, y = np.broadcast_to(draw(5, 6), (3, 5, 6)), draw(6, 4)
    grad = draw(3, 5, 4)
    of_x, of_y = host.matmul_backward(grad, x, y)
    np.testing.assert_array_equal(of_x, grad @ y.T)
    np.testing.assert_array_equal(of_y, np.einsum("bnk,bnm->km", x, grad))
