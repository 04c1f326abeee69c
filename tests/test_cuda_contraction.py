"""Tiles and index maps of the GPU's products and convolutions, walked on the CPU."""

from __future__ import annotations

import sys
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


def column_major(flat: Any, rows: int, columns: int, leading: int, step: int, batch: int) -> Any:
    size = flat.itemsize
    strides = (step * size, size, leading * size)
    # the view must not leave the array: cuBLASLt would read beyond it, too
    assert max(0, batch - 1) * step + (columns - 1) * leading + rows <= flat.size
    assert leading >= rows
    return np.lib.stride_tricks.as_strided(flat, (batch, rows, columns), strides)


def by_cublaslts_rules(product: Any, a: Any, b: Any, want: Any) -> bool:
    """Whether cuBLASLt would be used; if so, its column-major product must be the wanted one."""
    if product is None:
        return False
    left, right, output, batch = product
    operands = []
    for x, (rows, columns, leading, step, transposed) in ((b, left), (a, right)):
        x = column_major(x, rows, columns, leading, step, batch)
        operands.append(x.transpose(0, 2, 1) if transposed else x)
    out = np.full(want.size, np.nan, np.float32)
    column_major(out, *output[:4], batch)[:] = operands[0] @ operands[1]
    np.testing.assert_array_equal(out.reshape(want.shape), want)
    return True


@pytest.mark.parametrize(("a", "b"), SHAPES)
def test_what_cublaslt_is_told_of_matmul(a: tuple[int, ...], b: tuple[int, ...]) -> None:
    x, y = draw(*a), draw(*b)
    want = x @ y
    if min(x.size, y.size, want.size) == 0:
        pytest.skip("no product is launched")
    grad = draw(*want.shape)
    of_x, of_y = pf._core.matmul_backward(grad, x, y, True, True)
    products = host.lt_matmul(x, y, grad)
    x, y, grad = x.ravel(), y.ravel(), grad.ravel()
    used = [
        by_cublaslts_rules(products[0], x, y, want),
        by_cublaslts_rules(products[1], grad, y, of_x),
        by_cublaslts_rules(products[2], x, grad, of_y),
    ]
    assert all(used) or len(a) > 2 or len(b) > 2


def test_what_cublaslt_is_told_of_transposed_matrices() -> None:
    x, y, grad = draw(7, 5), draw(4, 7), draw(5, 4)
    want = x.T @ y.T
    of_x, of_y = pf._core.matmul_backward(grad, x.T, y.T, True, True)
    products = host.lt_matmul(x.T, y.T, grad)
    assert by_cublaslts_rules(products[0], x.ravel(), y.ravel(), want)
    assert by_cublaslts_rules(products[1], grad.ravel(), y.ravel(), of_x)
    assert by_cublaslts_rules(products[2], x.ravel(), grad.ravel(), of_y)


@pytest.mark.parametrize("sizes", [(1, 1, 1), (7, 1, 3), (1, 5, 4), (6, 5, 1), (7, 5, 3)])
def test_what_cublaslt_is_told_of_linear(sizes: tuple[int, int, int]) -> None:
    rows, n_in, n_out = sizes
    x, w, grad = draw(rows, n_in), draw(n_out, n_in), draw(rows, n_out)
    products = host.lt_linear(*sizes)
    assert by_cublaslts_rules(products[0], x.ravel(), w.ravel(), x @ w.T)
    assert by_cublaslts_rules(products[1], grad.ravel(), w.ravel(), grad @ w)
    assert by_cublaslts_rules(products[2], grad.ravel(), x.ravel(), grad.T @ x)


CONVS = [  # image, maps' channels, kernel, stride, padding, dilation, groups
    ((2, 3, 7, 9), 4, (3, 3), (1, 1), (1, 1), (1, 1), 1),
    ((2, 4, 11, 8), 6, (3, 2), (2, 3), (2, 0), (1, 2), 2),
    ((1, 5, 6, 6), 70, (1, 1), (1, 1), (0, 0), (1, 1), 1),
    ((3, 8, 9, 10), 8, (5, 3), (3, 1), (2, 1), (2, 1), 8),
    ((2, 65, 5, 4), 3, (2, 4), (1, 2), (1, 3), (1, 1), 1),
    ((1, 2, 64, 64), 2, (3, 3), (1, 1), (1, 1), (1, 1), 1),
]


def last(x: Any) -> Any:
    """The same values with channels last in memory."""
    return np.ascontiguousarray(x.transpose(0, 2, 3, 1)).transpose(0, 3, 1, 2)


@pytest.mark.parametrize("order", [lambda x: x, last], ids=["nchw", "nhwc"])
@pytest.mark.parametrize(
    ("shape", "maps", "kernel", "stride", "padding", "dilation", "groups"), CONVS
)
def test_conv2d(
    order: Any, shape: Any, maps: int, kernel: Any, stride: Any, padding: Any, dilation: Any,
    groups: int,
) -> None:  # fmt: skip
    settings = (stride, padding, dilation, groups)
    x, w = draw(*shape), draw(maps, shape[1] // groups, *kernel)
    want = pf._core.conv2d(x, w, None, *settings, None)
    grad = draw(*want.shape)
    wants = pf._core.conv2d_backward(grad, x, w, None, (True, True, False), *settings, None)
    x, w, grad = order(x), order(w), order(grad)
    y, of_x, of_w = [np.full_like(a, np.nan) for a in (grad, x, w)]  # full_like keeps the order
    host.conv2d("maps", x, w, y, *settings)
    np.testing.assert_array_equal(y, want)
    host.conv2d("image", of_x, w, grad, *settings)
    np.testing.assert_array_equal(of_x, wants[0])
    host.conv2d("weight", x, of_w, grad, *settings)
    np.testing.assert_array_equal(of_w, wants[1])


@pytest.mark.parametrize("spatial", [1, 2])
@pytest.mark.parametrize("transposed", [False, True])
def test_conv_launches_say_that_there_is_no_gpu(
    monkeypatch: pytest.MonkeyPatch, spatial: int, transposed: bool
) -> None:
    if pf.cuda.is_available():
        pytest.skip("what happens without a GPU")
    from fake_cupy import FakeArray, module

    from pyfast.cuda import frameworks

    monkeypatch.setitem(sys.modules, "cupy", module())
    frameworks.cupy_kernels.cache_clear()
    x, w = [FakeArray(np.zeros((2, 2, 3, 3)[: 2 + spatial], np.float32)) for _ in range(2)]
    name = f"conv{'_transpose' if transposed else ''}{spatial}d"
    with pytest.raises(RuntimeError, match=rf"{name}: no CUDA (driver|device) was found; "):
        getattr(pf.ops, name)(x, w)
    with pytest.raises(ValueError, match=f"{name}: groups must be positive, got 0"):
        getattr(pf.ops, name)(x, w, groups=0)
    frameworks.cupy_kernels.cache_clear()
