"""Convolution's kernels of sm_90a, their very source, run on the CPU.

As test_cuda_hopper.py does for attention: TMA's copies, of pixels in im2col mode too, land at once
or as late as nobody can do without them, products run at once or when they are waited for.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from cuda_conv_case import Case, Shape, first, last
from test_cuda_attention import SPACING, decode, draw, encode, host
from test_cuda_hopper import order  # noqa: F401


def dense(*operands: Any, lie_weight: Any = last, **named: Any) -> Case:
    """A case whose arrays have their channels beside each other: nothing but weights is copied."""
    return Case(*operands, lie=last, lie_weight=lie_weight, **named)


SIZES = {0: (256, 64), 1: (128, 128), 2: (256, 128), 3: (128, 256)}  # pixels by channels


@pytest.mark.parametrize("tile", SIZES)
def test_forward(tile: int, order: None) -> None:  # noqa: F811
    """More tiles than blocks, more slabs than stages; pixels and channels that fill none."""
    columns = SIZES[tile][1]
    dense("float16", (3, 72, 9, 13), columns + 8, 3, padding=1).forward(1, tile=tile)


@pytest.mark.parametrize("tile", SIZES)
def test_gradients_of_images(tile: int, order: None) -> None:  # noqa: F811
    columns = SIZES[tile][1]
    dense("float16", (3, columns + 8, 9, 13), 72, 3, padding=1).gradient("image", 1, tile)


@pytest.mark.parametrize("tile", SIZES)
def test_tiles_of_the_other_type(tile: int) -> None:
    case = dense("bfloat16", (2, 136, 9, 13), 136, 3, padding=1)
    case.forward(2, tile=tile)
    case.gradient("image", 2, tile)


GEOMETRIES: list[dict[str, Any]] = [
    {"kernel": 1}, {"kernel": 1, "stride": 2}, {"kernel": 3, "padding": 1, "stride": 2},
    {"kernel": (3, 5), "padding": (0, 4), "stride": (3, 1)}, {"kernel": 3, "dilation": (2, 3)},
    {"kernel": 7, "padding": 3, "stride": 2}, {"kernel": (1, 4), "padding": (2, 0)},
    {"kernel": 2, "stride": 3}, {"kernel": 3, "dilation": 2, "stride": 2, "padding": 2},
    {"kernel": (5, 2), "padding": (5, 2), "stride": (1, 2), "dilation": (1, 3)},
]  # fmt: skip


@pytest.mark.parametrize("named", GEOMETRIES, ids=str)
def test_geometries(named: dict[str, Any]) -> None:
    dense("bfloat16", (3, 16, 11, 12), 24, **named).forward()


@pytest.mark.parametrize("named", GEOMETRIES, ids=str)
def test_gradients_of_geometries(named: dict[str, Any]) -> None:
    dense("bfloat16", (3, 16, 11, 12), 24, **named).gradient("image")


@pytest.mark.parametrize("tile", [0, 1, 2])
def test_gradients_of_weights(tile: int, order: None) -> None:  # noqa: F811
    """Several parts of the pixels, more tasks than blocks, channels and maps that fill no tile."""
    dense("float16", (5, 72, 20, 14), 136, 2, padding=1).gradient("weight", 2, tile)


@pytest.mark.parametrize("tile", [0, 1, 2])
def test_gradients_of_weights_of_the_other_type(tile: int) -> None:
    dense("bfloat16", (2, 40, 9, 14), 72, (1, 3), lie_weight=first).gradient("weight", 1, tile)


@pytest.mark.parametrize("named", GEOMETRIES, ids=str)
def test_gradients_of_weights_of_geometries(named: dict[str, Any]) -> None:
    dense("bfloat16", (3, 16, 11, 12), 24, **named).gradient("weight")


def test_weights_whose_channels_lie_apart_are_packed() -> None:
    case = dense("float16", (1, 40, 8, 8), 72, (3, 2), lie_weight=first)
    case.forward()
    case.gradient("image")


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
@pytest.mark.parametrize("residual", [False, True])
@pytest.mark.parametrize("activation", [None, "relu"])
def test_epilogues(dtype: str, residual: bool, activation: str | None) -> None:
    rng = np.random.default_rng(3)
    scale, bias = (rng.standard_normal(136).astype(np.float32) for _ in range(2))
    case = dense(dtype, (2, 24, 7, 9), 136, 3, padding=1)
    case.forward(residual=residual, activation=activation, scale=scale, bias=bias)
    case.forward(residual=residual, activation=activation, bias=bias)


@pytest.fixture(params=[False, True], ids=["first first", "last first"])
def whole_warps(request: Any) -> Iterator[None]:
    host.whole_warps(True)
    host.late_copies(False)
    host.last_first(request.param)
    yield
    host.whole_warps(False)
    host.late_copies(True)
    host.last_first(False)


def test_warps_that_run_ahead_find_each_tiles_terms(whole_warps: None) -> None:
    """Tiles of one slab, all of one block: a warp may be two tiles ahead of another."""
    rng = np.random.default_rng(3)
    scale, bias = (rng.standard_normal(520).astype(np.float32) for _ in range(2))
    dense("float16", (1, 24, 16, 18), 520, 1).forward(1, tile=1, scale=scale, bias=bias)


def test_what_is_no_number_stays_where_it_is() -> None:
    """Neither other pixels, nor channels or maps that fill a tile, see it."""
    case = dense("float16", (2, 16, 9, 9), 24, 3, padding=1)
    x, y = case.array(case.shape, 0), case.room(case.out_shape)
    x[1, 3, 4, 4] = np.nan
    case.run("maps", x, y)
    broken = np.isnan(case.exact(y))
    want = np.zeros(broken.shape, bool)
    want[1, :, 3:6, 3:6] = True
    np.testing.assert_array_equal(broken, want)


def test_the_blocks_of_threads_do_not_change_a_bit() -> None:
    case = dense("bfloat16", (4, 40, 12, 12), 264, 3, padding=1)
    one = case.forward(blocks=1)
    for blocks in (2, 5):
        np.testing.assert_array_equal(case.forward(blocks=blocks), one)


@pytest.mark.parametrize(
    "named",
    [
        {"image": (1, 16, 40, 40), "kernel": 3, "stride": 9},
        {"image": (1, 16, 300, 8), "kernel": (3, 1), "dilation": (128, 1)},
        {"image": (1, 16, 8, 8), "kernel": 3, "padding": 200},
    ],
    ids=str,
)
def test_what_is_left_to_the_portable_kernels(named: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="don't take this"):
        dense("float16", maps=16, **named).forward()


@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16"])
@pytest.mark.parametrize("lie", ["channels last", "channels first", "rows apart", "as one"])
@pytest.mark.parametrize("shape", [(3, 72, 40, 41), (5, 70, 1, 1), (2, 9, 50, 30)])
def test_gradients_of_biases(dtype: str, lie: str, shape: Shape) -> None:
    """By the portable kernel: chunks of pixels, 16 bytes at a time where that can be."""
    maps = encode(draw(*shape), dtype)
    if lie == "channels last":
        maps = last(maps)
    elif lie == "rows apart":
        maps = last(np.concatenate([maps, maps], 3))[..., : shape[3]]
    elif lie == "as one":
        maps = np.broadcast_to(maps[:1, :1, :1, :1], shape)
    got = decode(host.bias_gradient(dtype, maps), dtype)
    exact = decode(maps, dtype)
    want, sizes = exact.sum((0, 2, 3)), np.abs(exact).sum((0, 2, 3))
    adds = 48  # that a value goes through: of a thread, of its block, of the chunks
    bound = SPACING[dtype] * np.abs(want) * 0.51 + adds * 2.0**-24 * sizes
    assert np.all(np.abs(got - want) <= bound)
