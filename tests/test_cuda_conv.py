"""Convolution by tiles that any GPU has, and copies of arrays for fast kernels, on the CPU.

The kernels' very source, thread by thread (csrc/cuda/core/emulator.h), as in
test_cuda_hopper_conv.py, whose cases these are; here they lie in memory in every way.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from cuda_conv_case import SM90A, TILES, Case, Shape, apart, first, last
from test_cuda_attention import host
from test_cuda_hopper_conv import GEOMETRIES

KERNELS = [TILES, SM90A]
NAMES = ["tiles", "sm_90a"]
ORDERS = [first, last, apart]


@pytest.fixture(params=["late", "early"], ids=lambda p: f"{p} copies")
def copies(request: Any) -> Iterator[None]:
    host.late_copies(request.param == "late")
    yield
    host.late_copies(True)


@pytest.mark.parametrize(
    ("dtype", "size", "columns"),
    [
        ("float32", (1, 7), 70), ("float16", (1, 7), 70), ("bfloat16", (1, 7), 70),
        ("float16", (130, 64), 40), ("float16", (120, 140), 136),
    ],
)  # fmt: skip
def test_every_tile(dtype: str, size: tuple[int, int], columns: int, copies: None) -> None:
    """More slabs than stages; the largest tiles are those of the largest results."""
    kernel: dict[str, Any] = {"kernel": (1, 3), "padding": (0, 1), "lie": last}
    Case(dtype, (1, 40, *size), columns, **kernel).forward(TILES)
    if size[1] == 7:
        Case(dtype, (1, columns, *size), 40, **kernel).gradient("image", TILES)


@pytest.mark.parametrize("blocks", KERNELS, ids=NAMES)
@pytest.mark.parametrize("lie", ORDERS)
@pytest.mark.parametrize("named", GEOMETRIES, ids=str)
def test_geometries(named: dict[str, Any], lie: Any, blocks: int) -> None:
    case = Case("float16", (2, 11, 11, 12), 13, lie=lie, **named)
    case.forward(blocks)
    case.gradient("image", blocks)
    if blocks != TILES:
        case.gradient("weight", blocks)


@pytest.mark.parametrize("blocks", KERNELS, ids=NAMES)
@pytest.mark.parametrize("lie", ORDERS)
@pytest.mark.parametrize("channels", [1, 3, 5, 8, 16])
def test_rows_of_taps_become_channels(channels: int, lie: Any, blocks: int) -> None:
    """A network's first layer; taps of 8 or more channels where they are copied anyway."""
    for kernel, stride, dilation in (((7, 7), 2, 1), ((2, 3), (1, 3), (1, 2))):
        image = (2, channels, 13, 18)
        case = Case("bfloat16", image, 24, kernel, stride, (3, 2), dilation, lie)
        case.forward(blocks)
        if blocks != TILES:
            case.gradient("weight", blocks)


@pytest.mark.parametrize("blocks", KERNELS, ids=NAMES)
@pytest.mark.parametrize("shape", [(2, 64, 8, 8), (3, 72, 16, 5), (1, 130, 4, 20)])
def test_planes_that_are_moved_by_vectors(shape: Shape, blocks: int) -> None:
    case = Case("float16", shape, 72, 1)
    case.forward(blocks, residual=True, activation="relu")
    case.gradient("image", blocks)
    Case("float32", shape, 72, 1).forward(TILES)


@pytest.mark.parametrize("blocks", KERNELS, ids=NAMES)
@pytest.mark.parametrize("lie", ORDERS)
@pytest.mark.parametrize("maps", [8, 13, 70])
def test_epilogues(maps: int, lie: Any, blocks: int) -> None:
    """Terms that end where the channels do, though copies go on; one element more would be NaN."""
    rng = np.random.default_rng(3)
    terms = {}
    for name in ("scale", "bias"):
        room = np.append(rng.standard_normal(maps), [np.nan] * 8).astype(np.float32)
        terms[name] = room[:maps]
    case = Case("float16", (2, 24, 7, 9), maps, 3, padding=1, lie=lie)
    case.forward(blocks, residual=True, activation="relu", **terms)
    case.forward(blocks, bias=terms["bias"])
    if blocks == TILES:  # sm_90a's kernels know relu; others are a pass
        case.forward(blocks, residual=True, activation="silu", linear=True, **terms)


@pytest.mark.parametrize("blocks", KERNELS, ids=NAMES)
def test_what_is_no_number_stays_where_it_is(blocks: int) -> None:
    case = Case("float16", (2, 3, 9, 9), 13, 3, padding=1)
    x, y = case.array(case.shape, 0), case.room(case.out_shape)
    x[1, 2, 4, 4] = np.nan
    case.run("maps", x, y, blocks)
    want = np.zeros(y.shape, bool)
    want[1, :, 3:6, 3:6] = True
    np.testing.assert_array_equal(np.isnan(case.exact(y)), want)


def test_float32_gradients_and_many_channels() -> None:
    case = Case("float32", (2, 40, 9, 13), 72, 3, 2, 1)
    case.forward(TILES, residual=True, activation="relu")
    case.gradient("image", TILES)


@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16"])
@pytest.mark.parametrize("lie", ORDERS)
@pytest.mark.parametrize("channels", [5, 16, 72])
def test_depthwise(channels: int, lie: Any, dtype: str) -> None:
    """Every gradient, by the kernels for as many groups as channels; and the epilogue."""
    rng = np.random.default_rng(3)
    terms = {}
    for name in ("scale", "bias"):
        room = np.append(rng.standard_normal(channels), [np.nan] * 8).astype(np.float32)
        terms[name] = room[:channels]
    for kernel, stride, padding, dilation in ((3, 1, 1, 1), ((2, 5), (2, 3), (1, 4), (1, 2))):
        image = (2, channels, 11, 14)
        args = (dtype, image, channels, kernel, stride, padding, dilation, lie, channels)
        case = Case(*args)
        case.forward(TILES, residual=True, activation="relu", **terms)
        case.gradient("image", TILES)
        case.gradient("weight", TILES)


def test_chunks_of_pixels_add_up_to_a_weights_gradient() -> None:
    Case("float32", (3, 8, 30, 30), 8, 3, 1, 1, lie=last, groups=8).gradient("weight", TILES)
