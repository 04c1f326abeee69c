"""Gradients of convolutions, and transposed ones: errors no larger than PyTorch's."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from cases import Sample, all_cases
from precision import LIMIT, drawn, errors, normal

import pyfast as pf
from pyfast import _core

CASES = {case.name: case for case in all_cases()}


def conv(
    batch: int, channels: int, size: int, filters: int, kernel: int, stride: int, groups: int = 1
) -> tuple[str, Sample]:
    x, w = normal(batch, channels, size, size), normal(filters, channels // groups, kernel, kernel)
    return "conv2d", Sample((x, w, None, stride, kernel // 2, 1, groups))


def transposed(
    channels: int, filters: int, kernel: int, padding: int, output_padding: int
) -> tuple[str, Sample]:
    x, w = normal(2, channels, 14, 14), normal(channels, filters, kernel, kernel)
    return "conv_transpose2d", Sample((x, w, None, 2, padding, output_padding))


# What PyTorch adds up in short sums: over channels, then over the taps that it spreads products by;
# over a thread's samples; within groups.
CALLS = {
    "7x7/2 of 1 channel": conv(4, 1, 28, 16, 7, 2),
    "7x7/2 of 2": conv(2, 2, 40, 32, 7, 2),
    "7x7/2 of 3": conv(2, 3, 40, 16, 7, 2),
    "7x7/2 of 16": conv(2, 16, 40, 16, 7, 2),
    "1x1/2 of 70": conv(3, 70, 20, 100, 1, 2),
    "1x1/2 of 70, few filters": conv(4, 70, 14, 32, 1, 2),
    "1x1/3 of 70": conv(2, 70, 28, 64, 1, 3),
    "1x1 over 98 points": conv(2, 512, 7, 256, 1, 1),
    "3x3/2 of 20": conv(2, 20, 28, 30, 3, 2),
    "two groups": conv(2, 16, 20, 24, 3, 1, groups=2),
    "transposed 5x5/2": transposed(16, 8, 5, 2, 1),
    "transposed 4x4/2 to 1": transposed(16, 1, 4, 1, 0),
    "transposed 3x3/2": transposed(32, 64, 3, 1, 1),
    "transposed 3x3/2 of 20": transposed(20, 20, 3, 1, 1),
    "transposed 2x2/2": transposed(64, 64, 2, 0, 0),
    "transposed 2x2/2 of 40": transposed(40, 40, 2, 0, 0),
}


@pytest.mark.skipif(_core.isa() == "scalar", reason="the scalar baseline has no FMA, PyTorch has")
@pytest.mark.parametrize(
    "kind", ["normal", "non-negative", "heavy tails", "1000 and noise", "tens"]
)
@pytest.mark.parametrize("call", CALLS)
def test_error_is_no_larger_than_pytorchs(call: str, kind: str) -> None:
    op, sample = CALLS[call]
    with np.errstate(all="ignore"):
        found = list(errors(CASES[op], drawn(CASES[op], sample, kind, 3, first_only=False)))
    assert len(found) == 3
    worse = [f"{e.what}: {e.ratio:.2f}" for e in found if not e.ratio <= LIMIT]
    assert not worse


# Strides down and across, kernel, padding, dilation: phases without taps, odd extents, several
# passes (a sample has 1.5 MiB), a transposed convolution's bias.
@pytest.mark.parametrize("stride", [(2, 2), (1, 2), (3, 2)])
@pytest.mark.parametrize(
    ("kernel", "padding", "dilation"),
    [((1, 1), 0, 1), ((3, 3), 1, 1), ((2, 4), 1, 1), ((3, 2), 0, 2)],
)
@pytest.mark.parametrize("size", [(5, 8), (14, 13), (2, 3), (48, 64)])
def test_phases_are_woven(
    size: tuple[int, int],
    kernel: tuple[int, int],
    padding: int,
    dilation: int,
    stride: tuple[int, int],
) -> None:
    if any(n + 2 * padding <= (k - 1) * dilation for n, k in zip(size, kernel, strict=True)):
        pytest.skip("no output")
    channels = 64 if size == (48, 64) else 3
    w = torch.from_numpy(normal(4, channels, *kernel))
    image = torch.from_numpy(normal(4, channels, *size)).requires_grad_()
    maps = torch.conv2d(image, w, None, stride, padding, dilation)
    grad = torch.from_numpy(normal(*maps.shape))
    maps.backward(grad)
    x = pf.Tensor(image.detach().numpy(), requires_grad=True)
    pf.ops.conv2d(x, w.numpy(), None, stride, padding, dilation).backward(grad.numpy())
    np.testing.assert_allclose(x.grad, image.grad, rtol=1e-12, atol=1e-12)
    extra = [
        n - ((m - 1) * s - 2 * padding + (k - 1) * dilation + 1)
        for n, m, s, k in zip(size, maps.shape[2:], stride, kernel, strict=True)
    ]
    settings = stride, padding, extra, 1, dilation
    bias = torch.from_numpy(normal(channels))
    want = torch.conv_transpose2d(grad, w, bias, *settings)
    got = pf.ops.conv_transpose2d(grad.numpy(), w.numpy(), bias.numpy(), *settings)
    np.testing.assert_allclose(got, want, rtol=1e-12, atol=1e-12)
