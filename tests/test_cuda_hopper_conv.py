"""Convolution's kernels of sm_90a, their very source, run on the CPU.

As test_cuda_hopper.py does for attention: TMA's copies, of pixels in im2col mode too, land at once
or as late as nobody can do without them, products run at once or when they are waited for.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from test_cuda_attention import SPACING, decode, draw, encode, host, largest
from test_cuda_hopper import order  # noqa: F401

import pyfast as pf

Shape = tuple[int, int, int, int]


def last(x: Any) -> Any:
    """The same array with its channels beside each other."""
    return np.ascontiguousarray(x.transpose(0, 2, 3, 1)).transpose(0, 3, 1, 2)


def empty(shape: Any) -> Any:
    return last(np.full(shape, 0x7FFF, np.uint16))  # NaN of either type


def out_size(n: int, k: int, s: int, p: int, d: int) -> int:
    return (n + 2 * p - d * (k - 1) - 1) // s + 1


class Case:
    """Operands of one convolution: as the kernels get them, and exactly what they hold."""

    def __init__(
        self, dtype: str, image: Shape, maps: int, kernel: Any, stride: Any = 1, padding: Any = 0,
        dilation: Any = 1, packed: bool = False,
    ) -> None:  # fmt: skip
        def two(n: Any) -> tuple[int, int]:
            return (n, n) if isinstance(n, int) else n

        self.dtype = dtype
        self.settings = tuple(map(two, (stride, padding, dilation)))
        kernel = two(kernel)
        self.shape = image
        sizes = [
            out_size(image[2 + i], kernel[i], *(s[i] for s in self.settings)) for i in range(2)
        ]
        self.out_shape = (image[0], maps, *sizes)
        self.fan = image[1] * kernel[0] * kernel[1]
        coded = encode(draw(maps, image[1], *kernel, seed=1) / self.fan**0.5, dtype)
        self.weight = coded if packed else last(coded)

    def array(self, shape: Any, seed: int = 0) -> Any:
        return last(encode(draw(*shape, seed=seed), self.dtype))

    def exact(self, x: Any) -> Any:
        return decode(x, self.dtype)

    def run(
        self, which: str, image: Any, maps: Any, scale: Any = None, bias: Any = None,
        residual: Any = None, relu: bool = False, blocks: int = 3, tile: int | None = None,
    ) -> None:  # fmt: skip
        host.conv2d_sm90a(
            which, self.dtype, image, self.weight, maps, scale, bias, residual, relu,
            *self.settings, 1, blocks, tile,
        )  # fmt: skip

    def check(self, got: Any, want: Any) -> None:
        got = self.exact(got)
        bound = SPACING[self.dtype] * np.maximum(np.abs(want), 2.0**-4) * 0.51
        bound += 2e-6 * (1 + largest(want))
        assert np.all(np.abs(got - want) <= bound), np.abs(got - want).max()

    def forward(
        self, blocks: int = 3, tile: int | None = None, residual: bool = False, **terms: Any
    ) -> Any:
        """The maps, held against float64 on the same operands."""
        x, y = self.array(self.shape), empty(self.out_shape)
        other = self.array(self.out_shape, 5) if residual else None
        self.run("maps", x, y, residual=other, blocks=blocks, tile=tile, **terms)
        want = pf._core.conv2d(
            self.exact(x), self.exact(self.weight), None, *self.settings, 1, None
        )
        for name in ("scale", "bias"):
            term = terms.get(name)
            if term is not None:
                term = term.astype(np.float64)[:, None, None]
                want = want * term if name == "scale" else want + term
        if other is not None:
            want = want + self.exact(other)
        self.check(y, np.maximum(want, 0) if terms.get("relu") else want)
        return y

    def image_gradient(self, blocks: int = 3, tile: int | None = None) -> Any:
        grad, dx = self.array(self.out_shape, 7), empty(self.shape)
        self.run("image", dx, grad, blocks=blocks, tile=tile)
        want = pf._core.conv2d_backward(
            self.exact(grad), np.zeros(self.shape), self.exact(self.weight), None,
            (True, False, False), *self.settings, 1, None,
        )[0]  # fmt: skip
        self.check(dx, want)
        return dx

    def weight_gradient(self, blocks: int = 3, tile: int | None = None, last_: bool = True) -> Any:
        x, grad = self.array(self.shape), self.array(self.out_shape, 7)
        given, self.weight = self.weight, np.full(self.weight.shape, 0x7FFF, np.uint16)
        if last_:
            self.weight = last(self.weight)
        self.run("weight", x, grad, blocks=blocks, tile=tile)
        want = pf._core.conv2d_backward(
            self.exact(grad), self.exact(x), self.exact(given), None, (False, True, False),
            *self.settings, 1, None,
        )[1]  # fmt: skip
        self.check(self.weight, want)
        return self.weight


TILES = {0: (256, 64), 1: (128, 128), 2: (256, 128), 3: (128, 256)}  # pixels by channels


@pytest.mark.parametrize("tile", TILES)
def test_forward(tile: int, order: None) -> None:  # noqa: F811
    """More tiles than blocks, more slabs than stages; pixels and channels that fill none."""
    columns = TILES[tile][1]
    Case("float16", (3, 72, 9, 13), columns + 8, 3, padding=1).forward(1, tile)


@pytest.mark.parametrize("tile", TILES)
def test_gradients_of_images(tile: int, order: None) -> None:  # noqa: F811
    columns = TILES[tile][1]
    Case("float16", (3, columns + 8, 9, 13), 72, 3, padding=1).image_gradient(1, tile)


@pytest.mark.parametrize("tile", TILES)
def test_tiles_of_the_other_type(tile: int) -> None:
    case = Case("bfloat16", (2, 136, 9, 13), 136, 3, padding=1)
    case.forward(2, tile)
    case.image_gradient(2, tile)


GEOMETRIES: list[dict[str, Any]] = [
    {"kernel": 1}, {"kernel": 1, "stride": 2}, {"kernel": 3, "padding": 1, "stride": 2},
    {"kernel": (3, 5), "padding": (0, 4), "stride": (3, 1)}, {"kernel": 3, "dilation": (2, 3)},
    {"kernel": 7, "padding": 3, "stride": 2}, {"kernel": (1, 4), "padding": (2, 0)},
    {"kernel": 2, "stride": 3}, {"kernel": 3, "dilation": 2, "stride": 2, "padding": 2},
    {"kernel": (5, 2), "padding": (5, 2), "stride": (1, 2), "dilation": (1, 3)},
]  # fmt: skip


@pytest.mark.parametrize("named", GEOMETRIES, ids=str)
def test_geometries(named: dict[str, Any]) -> None:
    Case("bfloat16", (3, 16, 11, 12), 24, **named).forward()


@pytest.mark.parametrize("named", GEOMETRIES, ids=str)
def test_gradients_of_geometries(named: dict[str, Any]) -> None:
    Case("bfloat16", (3, 16, 11, 12), 24, **named).image_gradient()


@pytest.mark.parametrize("tile", [0, 1, 2])
def test_gradients_of_weights(tile: int, order: None) -> None:  # noqa: F811
    """Several parts of the pixels, more tasks than blocks, channels and maps that fill no tile."""
    Case("float16", (5, 72, 20, 14), 136, 2, padding=1).weight_gradient(2, tile)


@pytest.mark.parametrize("tile", [0, 1, 2])
def test_gradients_of_weights_of_the_other_type(tile: int) -> None:
    Case("bfloat16", (2, 40, 9, 14), 72, (1, 3)).weight_gradient(1, tile, last_=False)


@pytest.mark.parametrize("named", GEOMETRIES, ids=str)
def test_gradients_of_weights_of_geometries(named: dict[str, Any]) -> None:
    Case("bfloat16", (3, 16, 11, 12), 24, **named).weight_gradient()


def test_weights_whose_channels_lie_apart_are_packed() -> None:
    case = Case("float16", (1, 40, 8, 8), 72, (3, 2), packed=True)
    case.forward()
    case.image_gradient()


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
@pytest.mark.parametrize("residual", [False, True])
@pytest.mark.parametrize("relu", [False, True])
def test_epilogues(dtype: str, residual: bool, relu: bool) -> None:
    rng = np.random.default_rng(3)
    scale, bias = (rng.standard_normal(136).astype(np.float32) for _ in range(2))
    case = Case(dtype, (2, 24, 7, 9), 136, 3, padding=1)
    case.forward(residual=residual, relu=relu, scale=scale, bias=bias)
    case.forward(residual=residual, relu=relu, bias=bias)


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
    Case("float16", (1, 24, 16, 18), 520, 1).forward(1, 1, scale=scale, bias=bias)


def test_what_is_no_number_stays_where_it_is() -> None:
    """Neither other pixels, nor channels or maps that fill a tile, see it."""
    case = Case("float16", (2, 16, 9, 9), 24, 3, padding=1)
    x, y = case.array(case.shape), empty(case.out_shape)
    x[1, 3, 4, 4] = np.nan
    case.run("maps", x, y)
    broken = np.isnan(case.exact(y))
    want = np.zeros(broken.shape, bool)
    want[1, :, 3:6, 3:6] = True
    np.testing.assert_array_equal(broken, want)


def test_the_blocks_of_threads_do_not_change_a_bit() -> None:
    case = Case("bfloat16", (4, 40, 12, 12), 264, 3, padding=1)
    first = case.forward(blocks=1)
    for blocks in (2, 5):
        np.testing.assert_array_equal(case.forward(blocks=blocks), first)


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
        Case("float16", maps=16, **named).forward()


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
