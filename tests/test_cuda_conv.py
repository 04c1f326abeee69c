"""Convolution by tiles that any GPU has, and copies of arrays for fast kernels, on the CPU.

The kernels' very source, thread by thread (csrc/cuda/core/emulator.h), as in
test_cuda_hopper_conv.py, whose cases these are; here they lie in memory in every way.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
from test_cuda_attention import SPACING, decode, draw, encode, host, largest
from test_cuda_hopper_conv import GEOMETRIES, out_size

import pyfast as pf
from pyfast.nn.epilogue import apply_named

Shape = tuple[int, int, int, int]
TILES = 0  # blocks of threads: those of no kernel of sm_90a
KERNELS = [TILES, 3]
NAMES = ["tiles", "sm_90a"]


def first(x: Any) -> Any:
    return np.ascontiguousarray(x)


def last(x: Any) -> Any:
    return np.ascontiguousarray(x.transpose(0, 2, 3, 1)).transpose(0, 3, 1, 2)


def apart(x: Any) -> Any:
    """Part of a larger array: nothing beside anything, nothing at a multiple of 16 bytes."""
    room = np.zeros((*x.shape[:3], 2 * x.shape[3] + 1), x.dtype)
    room[..., 1::2] = x
    return room[..., 1::2]


ORDERS = [first, last, apart]


class Case:
    """One convolution, its arrays in memory as `lie` puts them."""

    def __init__(
        self, dtype: str, image: Shape, maps: int, kernel: Any, stride: Any = 1, padding: Any = 0,
        dilation: Any = 1, lie: Callable[[Any], Any] = first, groups: int = 1,
    ) -> None:  # fmt: skip
        def two(n: Any) -> tuple[int, int]:
            return (n, n) if isinstance(n, int) else n

        self.dtype, self.lie, self.shape = dtype, lie, image
        steps = tuple(map(two, (stride, padding, dilation)))
        self.settings = (*steps, groups)
        kernel = two(kernel)
        sizes = [out_size(image[2 + i], kernel[i], *(s[i] for s in steps)) for i in range(2)]
        self.out_shape = (image[0], maps, *sizes)
        channels = image[1] // groups
        fan = channels * kernel[0] * kernel[1]
        self.weight = lie(encode(draw(maps, channels, *kernel, seed=1) / fan**0.5, dtype))

    def array(self, shape: Any, seed: int) -> Any:
        return self.lie(encode(draw(*shape, seed=seed), self.dtype))

    def room(self, shape: Any) -> Any:
        """NaN in either type."""
        wide = self.dtype == "float32"
        return self.lie(np.full(shape, np.nan if wide else 0x7FFF, "f4" if wide else "u2"))

    def exact(self, x: Any) -> Any:
        return decode(x, self.dtype)

    def run(
        self, which: str, x: Any, y: Any, blocks: int, tile: int | None = None, **terms: Any
    ) -> None:
        names = ("scale", "bias", "residual")
        host.conv2d_sm90a(
            which, self.dtype, x, self.weight, y, *(terms.get(n) for n in names),
            terms.get("activation"), *self.settings, blocks, tile, terms.get("linear"),
        )  # fmt: skip

    def check(self, got: Any, want: Any) -> None:
        got = self.exact(got)
        bound = SPACING[self.dtype] * np.maximum(np.abs(want), 2.0**-4) * 0.51
        bound += 2e-6 * (1 + largest(want))
        assert np.all(np.abs(got - want) <= bound), np.abs(got - want).max()

    def forward(self, blocks: int, **terms: Any) -> Any:
        x, y = self.array(self.shape, 0), self.room(self.out_shape)
        if terms.pop("residual", False):
            terms["residual"] = self.array(self.out_shape, 5)
        if terms.pop("linear", False):
            terms["linear"] = self.room(self.out_shape)
        self.run("maps", x, y, blocks, **terms)
        operands = (self.exact(x), self.exact(self.weight), None)
        want = pf._core.conv2d(*operands, *self.settings, None)
        for name, term in terms.items():
            if name == "scale":
                want = want * term.astype(np.float64)[:, None, None]
            if name == "bias":
                want = want + term.astype(np.float64)[:, None, None]
            if name == "residual":
                want = want + self.exact(term)
        if "linear" in terms:
            self.check(terms["linear"], want)
        self.check(y, apply_named(terms.get("activation"), want))
        return y

    def gradients(self, blocks: int, which: str) -> Any:
        """Of the image or the weight."""
        grad, x = self.array(self.out_shape, 7), self.array(self.shape, 0)
        operands = [self.exact(a) for a in (grad, x, self.weight)]
        wanted = (which == "image", which == "weight", False)
        wants = pf._core.conv2d_backward(*operands, None, wanted, *self.settings, None)
        if which == "image":
            x = self.room(self.shape)
        else:
            self.weight = self.room(self.weight.shape)
        self.run(which, x, grad, blocks)
        got = x if which == "image" else self.weight
        self.check(got, wants[0 if which == "image" else 1])
        return got


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
        Case(dtype, (1, columns, *size), 40, **kernel).gradients(TILES, "image")


@pytest.mark.parametrize("blocks", KERNELS, ids=NAMES)
@pytest.mark.parametrize("lie", ORDERS)
@pytest.mark.parametrize("named", GEOMETRIES, ids=str)
def test_geometries(named: dict[str, Any], lie: Any, blocks: int) -> None:
    case = Case("float16", (2, 11, 11, 12), 13, lie=lie, **named)
    case.forward(blocks)
    case.gradients(blocks, "image")
    if blocks != TILES:
        case.gradients(blocks, "weight")


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
            case.gradients(blocks, "weight")


@pytest.mark.parametrize("blocks", KERNELS, ids=NAMES)
@pytest.mark.parametrize("shape", [(2, 64, 8, 8), (3, 72, 16, 5), (1, 130, 4, 20)])
def test_planes_that_are_moved_by_vectors(shape: Shape, blocks: int) -> None:
    case = Case("float16", shape, 72, 1)
    case.forward(blocks, residual=True, activation="relu")
    case.gradients(blocks, "image")
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
    case.gradients(TILES, "image")


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
        case.forward(TILES, residual=True, activation="relu", linear=True, **terms)
        case.gradients(TILES, "image")
        case.gradients(TILES, "weight")


def test_chunks_of_pixels_add_up_to_a_weights_gradient() -> None:
    Case("float32", (3, 8, 30, 30), 8, 3, 1, 1, lie=last, groups=8).gradients(TILES, "weight")
