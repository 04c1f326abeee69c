"""3 x 3 kernels of stride 1 by F(2 x 2, 3 x 3): its error, and what must not go by it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from precision import error

import pyfast as pf
from pyfast import _core

Array = np.ndarray[Any, Any]

# Channels, height, width, filters, padding: whole tiles, half ones at the end of rows and columns,
# panels with filters missing, several blocks, several samples in one.
SHAPES = [
    (64, 28, 28, 64, 1),
    (16, 19, 22, 33, 0),
    (37, 31, 29, 70, 2),
    (96, 7, 7, 48, 1),
    (256, 14, 14, 64, 1),
    (24, 5, 90, 40, 1),
    (400, 7, 7, 160, 1),  # as those of many channels go
]


def normal(*shape: int, seed: int = 0) -> Array:
    return np.random.default_rng(seed).standard_normal(shape, np.float32)


def exact(x: Array, w: Array, padding: int = 1) -> Array:
    t, u = torch.from_numpy(x).double(), torch.from_numpy(w).double()
    return torch.conv2d(t, u, None, 1, padding).numpy()


def errors(x: Array, w: Array, padding: int = 1) -> tuple[float, float]:
    """Root mean square error of pyfast and of PyTorch, the smaller of its layouts'."""
    want = exact(x, w, padding)
    ours = np.square(pf.ops.conv2d(x, w, None, 1, padding) - want).mean() ** 0.5
    theirs = np.inf
    for layout in (torch.contiguous_format, torch.channels_last):
        t = torch.from_numpy(x).contiguous(memory_format=layout)
        got = torch.conv2d(t, torch.from_numpy(w), None, 1, padding).numpy()
        theirs = min(theirs, np.square(got - want).mean() ** 0.5)
    return float(ours), float(theirs)


def transformed(x: Array, w: Array) -> Array:
    """What F(2 x 2, 3 x 3) gives in float32: sums of eight channels, added in pairs."""
    filters, channels = w.shape[:2]
    pad = np.pad(x[0], ((0, 0), (1, 1), (1, 1)))
    windows = np.lib.stride_tricks.sliding_window_view(pad, (4, 4), (1, 2))[:, ::2, ::2]

    def rows(d: list[Array]) -> list[Array]:
        return [d[0] - d[2], d[1] + d[2], d[2] - d[1], d[1] - d[3]]

    def sums(m: list[Array]) -> list[Array]:
        return [(m[0] + m[2]) + m[1], m[1] - (m[2] + m[3])]

    along = [rows([windows[..., i, j] for j in range(4)]) for i in range(4)]
    columns = [rows([along[i][j] for i in range(4)]) for j in range(4)]
    source = [[columns[j][i] for j in range(4)] for i in range(4)]
    g = np.array([[1, 0, 0], [0.5, 0.5, 0.5], [0.5, -0.5, 0.5], [0, 0, 1]])
    weights = np.einsum("ia,ocab,jb->ijoc", g, w.astype(np.float64), g).astype(np.float32)

    def product(i: int, j: int) -> Array:
        waiting: list[tuple[int, Array]] = []
        for first in range(0, channels, 8):
            part = np.zeros((filters, *source[0][0].shape[1:]), np.float32)
            for c in range(first, min(first + 8, channels)):
                term = weights[i, j, :, c, None, None].astype(np.float64) * source[i][j][c]
                part = (part + term).astype(np.float32)  # a multiply-add, but for a double rounding
            size = 1
            while waiting and waiting[-1][0] == size:
                part, size = part + waiting.pop()[1], 2 * size
            waiting.append((size, part))
        total = waiting.pop()[1]
        while waiting:
            total = total + waiting.pop()[1]
        return total

    m = [[product(i, j) for j in range(4)] for i in range(4)]
    half = [sums(m[i]) for i in range(4)]
    y = np.empty((1, filters, *x.shape[2:]), np.float32)
    for j in range(2):
        for i, part in enumerate(sums([half[k][j] for k in range(4)])):
            y[0, :, i::2, j::2] = part
    return y


@pytest.mark.skipif(_core.isa() in ("scalar", "amx"), reason="no FMA; tiles come first")
def test_is_what_runs() -> None:
    """Bit for bit, so that what follows does not merely look at the other way."""
    x, w = normal(1, 40, 16, 18), normal(37, 40, 3, 3, seed=1)
    got, want = pf.ops.conv2d(x, w, None, 1, 1), transformed(x, w)
    assert np.mean(got == want) > 0.999


def relu(x: Array) -> Array:
    return np.maximum(x, 0)


def dropped(x: Array, share: float) -> Array:
    keep = np.random.default_rng(9).random(x.shape) < share
    return np.where(keep, x, np.float32(0))


def scaled_channels(x: Array) -> Array:
    exponents = np.random.default_rng(8).integers(-20, 20, (x.shape[1], 1, 1))
    return np.ldexp(x, exponents).astype(np.float32)


def with_outlier(x: Array) -> Array:
    x[0, 3, 2, 3] = 1e4
    return x


def at_tap(w: Array, y: int, x: int) -> Array:
    w[:, :, y, x] *= 100
    return w


def only_tap(w: Array, y: int, x: int) -> Array:
    only = np.zeros_like(w)
    only[:, :, y, x] = w[:, :, y, x]
    return only


def rounded(x: Array, dtype: torch.dtype) -> Array:
    return torch.from_numpy(x).to(dtype).float().numpy()


def heavy(x: Array, freedom: int) -> Array:
    return np.random.default_rng(7).standard_t(freedom, x.shape).astype(np.float32)


def checkered(x: Array) -> Array:
    signs = (-1.0) ** np.add.outer(np.arange(x.shape[2]), np.arange(x.shape[3]))
    return x + 3 * signs.astype(np.float32)


SHARES = [(0.6, 1), (0.4, 1), (0.37, 1), (0.3, 1), (0.1, 1), (0.03, 1)]
SHARES += [(1, 0.5), (1, 0.38), (1, 0.2), (0.65, 0.6), (0.5, 0.5)]
# What is made of normal inputs and weights.
KINDS: dict[str, Any] = {
    "normal": lambda x, w: (x, w),
    "relu": lambda x, w: (relu(x), w),
    "non-negative": lambda x, w: (np.abs(x), np.abs(w)),
    "relu, non-negative": lambda x, w: (relu(x), np.abs(w)),
    "non-negative weights": lambda x, w: (x, np.abs(w)),
    "far from zero": lambda x, w: (x + np.float32(3), w),
    "checkered": lambda x, w: (checkered(x), w),
    "heavy tails": lambda x, w: (heavy(x, 2), heavy(w, 3)),
    "outlier": lambda x, w: (with_outlier(x), w),
    "scaled channels": lambda x, w: (scaled_channels(x), w),
    "channels scaled against each other": lambda x, w: (
        scaled_channels(x),
        (w / scaled_channels(np.ones((1, w.shape[1], 1, 1), np.float32))).astype(np.float32),
    ),
    "corner": lambda x, w: (x, at_tap(w, 0, 0)),
    "corner alone": lambda x, w: (x, only_tap(w, 2, 0)),
    "edge": lambda x, w: (x, at_tap(w, 0, 1)),
    "middle": lambda x, w: (x, at_tap(w, 1, 1)),
    "bfloat16": lambda x, w: (rounded(x, torch.bfloat16), rounded(w, torch.bfloat16)),
    "float16": lambda x, w: (rounded(x, torch.float16), rounded(w, torch.float16)),
    "bfloat16 weights": lambda x, w: (x, rounded(w, torch.bfloat16)),
    "small": lambda x, w: (x * np.float32(1e-14), w * np.float32(1e-14)),
    "tiny": lambda x, w: (x * np.float32(1e-25), w * np.float32(1e-3)),
    "denormal": lambda x, w: (x * np.float32(1e-40), w * np.float32(100)),
    "large": lambda x, w: (x * np.float32(1e14), w * np.float32(1e14)),
    "huge": lambda x, w: (x * np.float32(1e30), w),
    **{
        f"{share:.0%} of inputs, {other:.0%} of weights": lambda x, w, s=share, o=other: (
            dropped(np.abs(x), s),
            dropped(w, o),
        )
        for share, other in SHARES
    },
}


@pytest.mark.skipif(_core.isa() == "scalar", reason="the scalar baseline has no FMA, PyTorch has")
@pytest.mark.parametrize("shape", [(16, 28, 28, 32, 1), (64, 28, 28, 64, 1), (256, 14, 14, 64, 1)])
@pytest.mark.parametrize("kind", KINDS)
def test_errs_no_more_than_pytorch(kind: str, shape: tuple[int, ...]) -> None:
    channels, height, width, filters, padding = shape
    x, w = normal(2, channels, height, width), normal(filters, channels, 3, 3, seed=1)
    ours, theirs = errors(*KINDS[kind](x, w), padding)
    assert ours <= 1.1 * theirs


@pytest.mark.skipif(_core.isa() == "scalar", reason="as above")
@pytest.mark.parametrize("size", [1e3, 1e4])
@pytest.mark.parametrize(("of_input", "of_weight"), [(True, False), (False, True), (True, True)])
@pytest.mark.parametrize("channels", [32, 40, 64, 256])
def test_an_outlier_costs_its_neighbours_no_bits(
    channels: int, of_input: bool, of_weight: bool, size: float
) -> None:
    """Each output against its own size: the outlier's would hide the others' errors."""
    x, w = normal(2, channels, 15, 16), normal(64, channels, 3, 3, seed=1)
    if of_input:
        x[1, 5, 6, 8] = size
    if of_weight:
        w[3, 7, 1, 2] = size
    a, b = torch.from_numpy(x), torch.from_numpy(w)
    want = torch.conv2d(a.double(), b.double(), None, 1, 1).numpy()
    theirs = torch.conv2d(a, b, None, 1, 1).numpy()
    found = error("output", pf.ops.conv2d(x, w, None, 1, 1), [theirs], want)
    assert found is not None
    assert found.ratio <= 1.1


@pytest.mark.skipif(_core.isa() == "scalar", reason="as above")
@pytest.mark.parametrize("shape", SHAPES)
def test_shapes(shape: tuple[int, ...]) -> None:
    channels, height, width, filters, padding = shape
    x, w = relu(normal(6, channels, height, width)), normal(filters, channels, 3, 3, seed=1)
    ours, theirs = errors(x, w, padding)
    assert ours <= 1.1 * theirs


@pytest.mark.skipif(_core.isa() == "scalar", reason="as above")
@pytest.mark.parametrize("groups", [1, 2])
@pytest.mark.parametrize("padding", [0, 1, 2])
def test_input_gradient(padding: int, groups: int) -> None:
    """The kernel turned by half a turn, and its channels exchanged."""
    w = normal(groups * 40, 48, 3, 3, seed=1)
    x, g = (
        normal(3, groups * 48, 17, 20),
        normal(3, groups * 40, 15 + 2 * padding, 18 + 2 * padding),
    )
    wanted = (True, False, False)
    arguments = (1, padding, 1, groups, None)
    got = _core.conv2d_backward(g, x, w, None, wanted, *arguments)[0]
    results = []
    for dtype in (torch.float32, torch.float64):
        t = torch.from_numpy(x).to(dtype).requires_grad_()
        y = torch.conv2d(t, torch.from_numpy(w).to(dtype), None, 1, padding, 1, groups)
        y.backward(torch.from_numpy(g).to(dtype))
        results.append(t.grad.numpy())
    error, other = (np.square(v - results[1]).mean() ** 0.5 for v in (got, results[0]))
    assert error <= 1.1 * other


@pytest.mark.parametrize(("y", "x"), [(1, 1), (0, 0), (2, 1)])
def test_identity_is_exact(y: int, x: int) -> None:
    """A kernel with one weight, 1, returns its input's channels, shifted."""
    image = scaled_channels(normal(2, 48, 20, 21))
    w = np.zeros((48, 48, 3, 3), np.float32)
    w[np.arange(48), np.arange(48), y, x] = 1
    pad = np.pad(image, ((0, 0), (0, 0), (1, 1), (1, 1)))
    want = pad[:, :, y : y + 20, x : x + 21]
    np.testing.assert_array_equal(pf.ops.conv2d(image, w, None, 1, 1), want)


def test_one_filter_that_is_an_identity() -> None:
    image, w = normal(2, 48, 20, 21), normal(48, 48, 3, 3, seed=1)
    w[5] = 0
    w[5, 7, 1, 1] = 1
    np.testing.assert_array_equal(pf.ops.conv2d(image, w, None, 1, 1)[:, 5], image[:, 7])


@pytest.mark.parametrize(("inputs", "weights"), [(255, 127), (1000, 100), (3, 40)])
def test_integers_are_exact(inputs: int, weights: int) -> None:
    r = np.random.default_rng(2)
    x = r.integers(0, inputs + 1, (2, 32, 20, 20)).astype(np.float32)
    w = r.integers(-weights, weights + 1, (40, 32, 3, 3)).astype(np.float32)
    w[3] = np.abs(w[3]) // 4  # sums near 2^24
    want = exact(x, w)
    assert np.abs(want).max() < 2**24
    np.testing.assert_array_equal(pf.ops.conv2d(x, w, None, 1, 1), want)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 3e38])
@pytest.mark.parametrize("of_weight", [False, True])
def test_what_is_not_finite_stays_where_it_is_seen(value: float, of_weight: bool) -> None:
    x, w = normal(3, 32, 30, 30), normal(40, 32, 3, 3, seed=1)
    if of_weight:
        w[7, 3, 0, 2] = value
    else:
        x[1, 5, 11, 12] = value
        x[2, 6, 0, 29] = value
    with np.errstate(over="ignore", invalid="ignore"):
        padded = torch.from_numpy(np.pad(x, ((0, 0), (0, 0), (1, 1), (1, 1))))  # 0 inf is NaN
        want = torch.conv2d(padded, torch.from_numpy(w)).numpy()
        got = pf.ops.conv2d(x, w, None, 1, 1)
    np.testing.assert_array_equal(np.isnan(got), np.isnan(want))
    np.testing.assert_array_equal(np.isposinf(got), np.isposinf(want))
    np.testing.assert_array_equal(np.isneginf(got), np.isneginf(want))
    fine = np.isfinite(want)
    np.testing.assert_allclose(got[fine], want[fine], rtol=1e-5, atol=1e-4)


def mixed() -> tuple[Array, Array]:
    """Some blocks suit, some don't."""
    x = normal(4, 64, 40, 40)
    x[1] = dropped(x[1], 0.1)
    x[2, :, 20:, :] = np.nan
    return x, normal(80, 64, 3, 3, seed=1)


@pytest.mark.parametrize(
    "operands",
    [
        mixed,
        lambda: (normal(2, 96, 14, 14), normal(200, 96, 3, 3)),
        lambda: (normal(9, 400, 7, 7), normal(170, 400, 3, 3)),
    ],
)
def test_threads_packing_and_layout_give_the_same_bits(operands: Any) -> None:
    x, w = operands()
    bias, residual = normal(len(w)), normal(len(x), len(w), *x.shape[2:], seed=3)
    before = pf.get_num_threads()
    try:
        results = []
        for threads in (1, 2, 3, 7):
            pf.set_num_threads(threads)
            results.append(pf.ops.conv2d(x, w, bias, 1, 1, activation="relu"))
    finally:
        pf.set_num_threads(before)
    weight = _core.PackedConvWeight(w)
    results.append(_core.conv_packed(x, weight, bias, 1, 1, 1, "relu"))
    last = np.ascontiguousarray(x.transpose(0, 2, 3, 1)).transpose(0, 3, 1, 2)
    results.append(pf.ops.conv2d(last, w, bias, 1, 1, activation="relu"))
    for other in results[1:]:
        np.testing.assert_array_equal(other, results[0])
    sums = _core.conv_packed(x, weight, None, 1, 1, 1, None) + bias[:, None, None] + residual
    got = _core.conv_packed(x, weight, bias, 1, 1, 1, None, residual)
    np.testing.assert_allclose(got, sums, rtol=1e-6, atol=1e-6)


def test_a_batch_in_which_few_blocks_do_not_suit() -> None:
    """Those alone are computed tap by tap: the others keep their bits."""
    x, w = normal(16, 32, 40, 40), normal(40, 32, 3, 3, seed=1)
    before = pf.ops.conv2d(x, w, None, 1, 1)
    x[5, 2, 3, 4] = np.inf
    after = pf.ops.conv2d(x, w, None, 1, 1)
    np.testing.assert_array_equal(np.delete(after, 5, 0), np.delete(before, 5, 0))
    assert not np.isfinite(after[5, :, 2:5, 3:6]).any()
    assert np.isfinite(after).sum() == after.size - 9 * len(w)
