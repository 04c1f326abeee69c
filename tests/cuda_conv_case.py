"""A convolution that CUDA's kernels compute on the CPU, held against _core in float64."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from test_cuda_attention import SPACING, decode, draw, encode, host, largest

import pyfast as pf
from pyfast.nn.epilogue import apply_named

Shape = tuple[int, int, int, int]
Lie = Callable[[Any], Any]
TILES, SM90A = 0, 3  # blocks of threads: those of no kernel of sm_90a, and some


def first(x: Any) -> Any:
    return np.ascontiguousarray(x)


def last(x: Any) -> Any:
    return np.ascontiguousarray(x.transpose(0, 2, 3, 1)).transpose(0, 3, 1, 2)


def apart(x: Any) -> Any:
    """Part of a larger array: nothing beside anything, nothing at a multiple of 16 bytes."""
    room = np.zeros((*x.shape[:3], 2 * x.shape[3] + 1), x.dtype)
    room[..., 1::2] = x
    return room[..., 1::2]


def out_size(n: int, k: int, s: int, p: int, d: int) -> int:
    return (n + 2 * p - d * (k - 1) - 1) // s + 1


class Case:
    """One convolution, its arrays in memory as `lie` puts them, the weight as `lie_weight` does."""

    def __init__(
        self, dtype: str, image: Shape, maps: int, kernel: Any, stride: Any = 1, padding: Any = 0,
        dilation: Any = 1, lie: Lie = first, groups: int = 1, lie_weight: Lie | None = None,
    ) -> None:  # fmt: skip
        def two(n: Any) -> tuple[int, int]:
            return (n, n) if isinstance(n, int) else n

        self.dtype, self.lie, self.shape = dtype, lie, image
        self.lie_weight = lie_weight or lie
        steps = tuple(map(two, (stride, padding, dilation)))
        self.settings = (*steps, groups)
        kernel = two(kernel)
        sizes = [out_size(image[2 + i], kernel[i], *(s[i] for s in steps)) for i in range(2)]
        self.out_shape = (image[0], maps, *sizes)
        channels = image[1] // groups
        fan = channels * kernel[0] * kernel[1]
        coded = encode(draw(maps, channels, *kernel, seed=1) / fan**0.5, dtype)
        self.weight = self.lie_weight(coded)

    def array(self, shape: Any, seed: int) -> Any:
        return self.lie(encode(draw(*shape, seed=seed), self.dtype))

    def room(self, shape: Any, lie: Lie | None = None) -> Any:
        """NaN of any type."""
        wide = self.dtype == "float32"
        room = np.full(shape, np.nan if wide else 0x7FFF, "f4" if wide else "u2")
        return (lie or self.lie)(room)

    def exact(self, x: Any) -> Any:
        return decode(x, self.dtype)

    def run(
        self, which: str, x: Any, y: Any, blocks: int = SM90A, tile: int | None = None,
        **terms: Any,
    ) -> None:  # fmt: skip
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

    def forward(self, blocks: int = SM90A, **terms: Any) -> Any:
        """The maps, held against float64 on the same operands."""
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

    def gradient(self, which: str, blocks: int = SM90A, tile: int | None = None) -> Any:
        """Of the image or the weight."""
        grad, x = self.array(self.out_shape, 7), self.array(self.shape, 0)
        operands = [self.exact(a) for a in (grad, x, self.weight)]
        wanted = (which == "image", which == "weight", False)
        wants = pf._core.conv2d_backward(*operands, None, wanted, *self.settings, None)
        if which == "image":
            x = self.room(self.shape)
        else:
            self.weight = self.room(self.weight.shape, self.lie_weight)
        self.run(which, x, grad, blocks, tile)
        got = x if which == "image" else self.weight
        self.check(got, wants[0 if which == "image" else 1])
        return got
