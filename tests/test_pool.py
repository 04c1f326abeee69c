"""What pooling and padding promise beyond their records in cases/pool.py and cases/pad.py."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F

import pyfast as pf
from pyfast import _core

DIMENSIONS = [1, 2]


def pool(name: str, spatial: int) -> Any:
    return getattr(pf.ops, f"{name}{spatial}d")


@pytest.mark.parametrize("spatial", DIMENSIONS)
@pytest.mark.parametrize("name", ["adaptive_max_pool", "adaptive_avg_pool"])
def test_an_adaptive_output_may_be_empty(name: str, spatial: int) -> None:
    # PyTorch's forward allows it, its backward raises
    x = pf.Tensor(np.ones((1, 2, 5, 5)[: spatial + 2], np.float32), requires_grad=True)
    y = pool(name, spatial)(x, 0)
    assert y.shape == (1, 2, 0, 0)[: spatial + 2]
    y.backward(np.zeros(y.shape, np.float32))
    np.testing.assert_array_equal(x.grad.numpy(), np.zeros(x.shape))


@pytest.mark.parametrize("name", ["max_pool", "avg_pool"])
@pytest.mark.parametrize("spatial", DIMENSIONS)
def test_channels_last_strides_give_the_same_bits(name: str, spatial: int) -> None:
    rng = np.random.default_rng(0)
    for channels in (8, 16, 17, 40):
        shape = (2, channels, 9, 37) if spatial == 2 else (2, channels, 37)
        x = rng.standard_normal(shape).astype(np.float32)
        last = np.moveaxis(np.ascontiguousarray(np.moveaxis(x, 1, -1)), -1, 1)
        y, z = (pool(name, spatial)(a, 3, 2, 1) for a in (x, last))
        np.testing.assert_allclose(z, y, rtol=1e-6, atol=1e-6)
        if name == "max_pool":
            assert z.tobytes() == y.tobytes()
            kept = [pool(name, spatial)(a, 3, 2, 1, return_indices=True)[1] for a in (x, last)]
            np.testing.assert_array_equal(kept[0], kept[1])


def test_positions_beyond_float32_integers_are_exact() -> None:
    wide = 4097
    x = np.zeros((1, 1, 4200, wide), np.float32)
    x[0, 0, 4198, wide - 2] = 1
    _, index = pf.ops.max_pool2d(x, (4199, 1), 1, return_indices=True)
    assert index[0, 0, 0, wide - 2] == 4198 * wide + wide - 2
    last = np.moveaxis(np.zeros((1, 4200, wide // 100, 16), np.float32), -1, 1)
    last[0, 3, 4198, 1] = 1
    _, index = pf.ops.max_pool2d(last, (4199, 1), 1, return_indices=True)
    assert index[0, 3, 0, 1] == 4198 * (wide // 100) + 1


@pytest.mark.parametrize("size", [(700, 701), (100_000, 3), (3, 100_000)])
def test_long_averages_keep_their_digits(size: tuple[int, int]) -> None:
    x = np.full((1, 1, *size), 0.1, np.float32)
    assert abs(float(pf.ops.adaptive_avg_pool2d(x, 1)[0, 0, 0, 0]) - 0.1) < 5e-8
    assert abs(float(pf.ops.avg_pool2d(x, size)[0, 0, 0, 0]) - 0.1) < 5e-8


@pytest.mark.parametrize("spatial", DIMENSIONS)
def test_saved_indices_are_not_trusted(spatial: int) -> None:
    backward = getattr(_core, f"max_pool{spatial}d_backward")
    shape, out = (2, 3, 4, 4)[: spatial + 2], (2, 3, 2, 2)[: spatial + 2]
    grad, index = np.ones(out, np.float32), np.zeros(out, np.int64)
    assert backward(grad, index, shape).sum() == grad.size
    plane = 4**spatial
    for wrong in (-1, plane, 2**62, -(2**63)):
        index[-1, -1, -1] = wrong
        with pytest.raises(IndexError, match=rf"indices must be in \[0, {plane}\), got {wrong}"):
            backward(grad, index, shape)
        _core.use_reference(True)
        try:
            with pytest.raises(IndexError, match="indices must be in"):
                backward(grad, index, shape)
        finally:
            _core.use_reference(False)


@pytest.mark.parametrize("spatial", DIMENSIONS)
def test_saved_taps_are_not_trusted(spatial: int) -> None:
    forward = getattr(_core, f"max_pool{spatial}d_taps")
    backward = getattr(_core, f"max_pool{spatial}d_taps_backward")
    shape, windows = (2, 3, 7, 7)[: spatial + 2], (3, 2, 1, 1, False)
    y, taps = forward(np.ones(shape, np.float32), *windows)
    assert taps.dtype == np.uint8
    assert backward(y, taps, shape, *windows).sum() == y.size
    first = (0,) * (spatial + 2)
    for reference in (False, True):
        _core.use_reference(reference)
        try:
            for place, tap in ((first, 0), (first, 3**spatial), ((-1,) * (spatial + 2), 255)):
                wrong = taps.copy()
                wrong[place] = tap
                with pytest.raises(IndexError, match="taps must"):
                    backward(y, wrong, shape, *windows)
        finally:
            _core.use_reference(False)
    with pytest.raises(ValueError, match="grad must have shape"):
        backward(y[1:], taps, shape, *windows)
    with pytest.raises(ValueError, match="taps must have shape"):
        backward(y, taps[1:], shape, *windows)
    with pytest.raises(TypeError, match="taps must be a uint8 array"):
        backward(y, taps.astype(np.int64), shape, *windows)


def test_windows_of_more_taps_than_a_byte_numbers_train_too() -> None:
    x = np.random.default_rng(6).standard_normal((1, 2, 40, 40))
    assert _core.max_pool2d_taps(x, 16, 8, 8, 1, False)[1].dtype == np.int64
    ours = pf.Tensor(x, requires_grad=True)
    theirs = torch.tensor(x, requires_grad=True)
    pf.ops.max_pool2d(ours, 16, 8, 8).sum().backward()
    torch.max_pool2d(theirs, 16, 8, 8).sum().backward()
    np.testing.assert_array_equal(np.asarray(ours.grad), theirs.grad.numpy())


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_random_pooling_has_the_gradient_of_torch(dtype: Any) -> None:
    rng = np.random.default_rng(5)
    for i in range(150):
        kernel = tuple(int(n) for n in rng.integers(1, 5, 2))
        padding = tuple(int(rng.integers(0, k // 2 + 1)) for k in kernel)
        stride = (int(rng.integers(1, 4)), int(rng.integers(1, 4)))
        x = rng.standard_normal((2, 3, *(int(n) for n in rng.integers(4, 40, 2)))).astype(dtype)
        for name in ("max_pool2d", "avg_pool2d"):
            ours = pf.Tensor(x, requires_grad=True)
            theirs = torch.tensor(x, requires_grad=True)
            ceil = {"ceil_mode": bool(i % 2)}
            y = getattr(pf.ops, name)(ours, kernel, stride, padding, **ceil)
            g = rng.standard_normal(y.shape).astype(dtype)
            y.backward(g)
            getattr(torch.nn.functional, name)(theirs, kernel, stride, padding, **ceil).backward(
                torch.from_numpy(g)
            )
            np.testing.assert_allclose(
                np.asarray(ours.grad), theirs.grad.numpy(), rtol=1e-5, atol=1e-6
            )


@pytest.mark.parametrize("spatial", DIMENSIONS)
def test_backward_operands_must_agree(spatial: int) -> None:
    backward = getattr(_core, f"max_pool{spatial}d_backward")
    shape, out = (2, 3, 4, 4)[: spatial + 2], (2, 3, 2, 2)[: spatial + 2]
    grad, index = np.ones(out, np.float32), np.zeros(out, np.int64)
    for args, error in [
        ((grad, index[:1], shape), ValueError),
        ((grad, index, (1, *shape[1:])), ValueError),
        ((grad, index, shape[1:]), ValueError),
        ((grad, index, (*shape, 1)), ValueError),
        ((grad, index, (-2, *shape[1:])), ValueError),
        ((grad, index, (2, 3, 0, 0)[: spatial + 2]), ValueError),
        ((grad, index, (2, 3, 2**40, 2**40)[: spatial + 2]), (ValueError, MemoryError)),
        ((grad, index, 4), TypeError),
        ((grad, index.astype(np.float32), shape), TypeError),
        ((grad.astype(np.int64), index, shape), TypeError),
        ((None, index, shape), TypeError),
    ]:
        with pytest.raises(error, match=None if error == (ValueError, MemoryError) else "max_pool"):
            backward(*args)
    average = getattr(_core, f"avg_pool{spatial}d_backward")
    with pytest.raises(ValueError, match="grad must have shape"):
        average(grad, shape, 3, None, 0, False, True, None)
    adaptive = getattr(_core, f"adaptive_avg_pool{spatial}d_backward")
    with pytest.raises(ValueError, match="grad must have shape"):
        adaptive(grad, shape, 3)
    with pytest.raises(TypeError, match="grad must be"):
        adaptive(index, shape, 2)


def test_pad_backward_operands_must_agree() -> None:
    grad = np.ones((2, 7), np.float32)
    assert _core.pad_backward(grad, (2, 5), (1, 1), "reflect").shape == (2, 5)
    for args, error in [
        ((grad, (2, 6), (1, 1), "reflect"), ValueError),
        ((grad, (2,), (1, 1), "constant"), ValueError),
        ((grad, (2, -5), (6, 6), "constant"), ValueError),
        ((grad, (2, 5), (1, 1), "mirror"), ValueError),
        ((grad.astype(np.int64), (2, 5), (1, 1), "constant"), TypeError),
    ]:
        with pytest.raises(error, match="pad_backward"):
            _core.pad_backward(*args)


def test_sizes_at_the_edge_of_int64_raise_or_return() -> None:
    x = np.ones((1, 1, 3), np.float32)
    big = 2**62
    assert pf.ops.max_pool1d(x, big, big, big // 2).shape == (1, 1, 1)
    assert pf.ops.avg_pool1d(x, big, big, big // 2).shape == (1, 1, 1)
    assert pf.ops.max_pool1d(x, big, 1, big // 2).shape == (1, 1, 4)
    steps = np.arange(8, dtype=np.float32).reshape(1, 8)
    assert pf.ops.max_pool1d(steps, 4, 2**63 - 1, 2).tolist() == [[1]]
    assert pf.ops.avg_pool1d(steps, 4, 2**63 - 1, 2).tolist() == [[0.25]]
    with pytest.raises(ValueError, match="overflow"):
        pf.ops.max_pool1d(x, 2**63 - 1, 1, big - 1)
    with pytest.raises(ValueError, match="overflow"):
        pf.ops.max_pool1d(x, 3, 2**63 - 1, 1, 1, True)


def test_reversed_rows_are_not_taken_for_the_constant() -> None:
    x = np.arange(1.0, 13.0).reshape(2, 2, 3, 1)[:, ::-1, ::-1]  # rows at offsets down to -1
    np.testing.assert_array_equal(
        pf.ops.pad(x, (1, 1, 1, 1)), np.pad(x, ((0, 0), (0, 0), (1, 1), (1, 1)))
    )


@pytest.mark.parametrize("mode", ["constant", "reflect", "replicate", "circular"])
def test_random_pads_agree_with_torch(mode: str) -> None:
    rng = np.random.default_rng(3)
    for _ in range(60):
        shape = tuple(int(n) for n in rng.integers(4, 7, 4))
        amounts = tuple(int(n) for n in rng.integers(-1, 3, 4))
        x = rng.standard_normal(shape)
        wanted = torch.nn.functional.pad(torch.from_numpy(x), amounts, mode).numpy()
        np.testing.assert_array_equal(pf.ops.pad(x, amounts, mode), wanted)


def test_random_pooling_agrees_with_torch() -> None:
    rng = np.random.default_rng(4)
    for _ in range(150):
        kernel = tuple(int(n) for n in rng.integers(1, 5, 2))
        padding = tuple(int(rng.integers(0, k // 2 + 1)) for k in kernel)
        stride = tuple(int(n) for n in rng.integers(1, 5, 2))
        ceil = bool(rng.integers(2))
        x = rng.standard_normal((2, 3, *(int(n) for n in rng.integers(4, 40, 2)))).astype("f4")
        on_torch = torch.from_numpy(x)
        wanted, where = torch.nn.functional.max_pool2d(
            on_torch, kernel, stride, padding, ceil_mode=ceil, return_indices=True
        )
        y, index = pf.ops.max_pool2d(
            x, kernel, stride, padding, ceil_mode=ceil, return_indices=True
        )
        np.testing.assert_array_equal(y, wanted.numpy())
        np.testing.assert_array_equal(index, where.numpy())
        np.testing.assert_array_equal(
            pf.ops.max_pool2d(x, kernel, stride, padding, ceil_mode=ceil), wanted.numpy()
        )
        include = bool(rng.integers(2))
        average = torch.nn.functional.avg_pool2d(on_torch, kernel, stride, padding, ceil, include)
        np.testing.assert_allclose(
            pf.ops.avg_pool2d(x, kernel, stride, padding, ceil, include),
            average.numpy(),
            rtol=1e-5,
            atol=1e-6,
        )


@pytest.mark.parametrize(
    ("size", "kernel", "stride"),
    [((14, 14), 2, 2), ((10, 10), 2, 2), ((28, 28), 2, 2), ((7, 7), 7, 1), ((9, 15), 3, 3),
     ((14, 14), 3, 1), ((15, 15), 3, 2), ((7, 7), 3, 2)],
)  # fmt: skip
def test_many_small_planes(size: tuple[int, int], kernel: int, stride: int) -> None:
    """Planes that windows tile exactly are pooled as one tall plane."""
    rng = np.random.default_rng(0)
    x = rng.standard_normal((5, 67, *size), np.float32)
    x[2, 3, 4, 5], x[4, 66, -1, -1] = np.nan, np.inf
    last = np.ascontiguousarray(x.transpose(0, 2, 3, 1)).transpose(0, 3, 1, 2)
    padding = 1 if stride < kernel < 7 else 0
    for name in ("max_pool2d", "avg_pool2d"):
        want = getattr(F, name)(torch.from_numpy(x), kernel, stride, padding).numpy()
        for images in (x, last, np.repeat(x, 2, 0)[::2]):
            got = getattr(pf.ops, name)(images, kernel, stride, padding)
            np.testing.assert_allclose(got, want, rtol=1e-5, atol=1e-6)


def test_adaptive_windows_that_divide_are_fixed_ones() -> None:
    x = np.random.default_rng(0).standard_normal((3, 37, 14, 21), np.float32)
    for size in (1, 7, (2, 3)):
        want = F.adaptive_avg_pool2d(torch.from_numpy(x), size).numpy()
        np.testing.assert_allclose(pf.ops.adaptive_avg_pool2d(x, size), want, rtol=1e-5, atol=1e-6)
        largest = F.adaptive_max_pool2d(torch.from_numpy(x), size).numpy()
        np.testing.assert_array_equal(pf.ops.adaptive_max_pool2d(x, size), largest)
