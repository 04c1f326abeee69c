"""Every op's record on a GPU, through CUDA torch tensors: values and gradients against float64.

An op must be no further from float64 than twice PyTorch is at the same dtype on the same GPU.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from cases import OpCase, Sample, all_cases
from oracle import cotangent, floating, function, gradient_positions, map_sample, torch_function

import pyfast as pf

pytestmark = pytest.mark.skipif(
    not (pf.cuda.is_available() and torch.cuda.is_available()), reason="no CUDA device"
)
DTYPES = [torch.float32, torch.float16, torch.bfloat16]
CASES = [pytest.param(c, id=c.name) for c in all_cases() if c.oracle]


def run(f: Any, case: OpCase, sample: Sample, dtype: Any, device: str) -> list[Any]:
    """Outputs and gradients in float64 on the host."""

    def move(a: Any) -> Any:
        t = torch.from_numpy(a.copy())
        return t.to(device, dtype if t.is_floating_point() else None)

    moved = map_sample(sample, move)
    args = list(moved.args)
    positions = gradient_positions(case, sample)
    for i in positions:
        args[i].requires_grad_()
    outputs = f(*args, **moved.kwargs)
    several = list(outputs) if isinstance(outputs, tuple | list) else [outputs]
    first = floating(several)[0]
    if positions and first.requires_grad:
        way = torch.from_numpy(cotangent(tuple(first.shape), np.float64))
        first.backward(way.to(device, first.dtype))
    grads = [torch.zeros_like(args[i]) if args[i].grad is None else args[i].grad for i in positions]
    return [a.detach().cpu().double() for a in [*floating(several), *grads]]


def rounded(sample: Sample, dtype: Any) -> Sample:
    """Inputs that the dtype holds exactly, so that only the computation's error is seen."""

    def nearest(a: Any) -> Any:
        if a.dtype.kind != "f":
            return a
        return torch.from_numpy(a).to(dtype).double().numpy()

    return map_sample(sample, nearest)


def check(case: OpCase, sample: Sample, dtype: Any) -> None:
    exact = rounded(sample.cast(np.float64), dtype)
    try:
        got = run(function(case), case, exact, dtype, "cuda")
    except NotImplementedError as missing:
        pytest.skip(str(missing))
    theirs = run(torch_function(case), case, exact, dtype, "cuda")
    wanted = run(torch_function(case), case, exact, torch.float64, "cpu")
    spacing = torch.finfo(dtype).eps
    for a, b, want in zip(got, theirs, wanted, strict=True):
        same = torch.isfinite(want) & torch.isfinite(b)
        assert torch.equal(torch.isnan(a[~same]), torch.isnan(b[~same])), f"{case.name}({sample})"
        scale = want[same].abs().max().item() if same.any() else 0.0
        error = (a - want)[same].abs().max().item() if same.any() else 0.0
        allowed = 2 * (b - want)[same].abs().max().item() if same.any() else 0.0
        assert error <= allowed + spacing * scale, f"{case.name}({sample}): {error} > {allowed}"


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("case", CASES)
def test_small_cases_are_as_close_as_torch(case: OpCase, dtype: Any) -> None:
    for sample in case.samples():
        check(case, sample, dtype)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("case", CASES)
def test_large_cases_are_as_close_as_torch(case: OpCase, dtype: Any) -> None:
    for sample in case.large():
        check(case, sample, dtype)


@pytest.mark.parametrize("case", CASES)
def test_small_cases_give_the_same_bits_again(case: OpCase) -> None:
    for sample in case.samples()[:8]:
        exact = rounded(sample.cast(np.float64), torch.float32)
        try:
            first = run(function(case), case, exact, torch.float32, "cuda")
        except NotImplementedError as missing:
            pytest.skip(str(missing))
        again = run(function(case), case, exact, torch.float32, "cuda")
        for a, b in zip(first, again, strict=True):
            np.testing.assert_array_equal(a.numpy(), b.numpy())


def attention_errors(tensors: list[Any], mask: Any, named: dict[str, Any]) -> list[float]:
    """Of the output and the gradients against float64, relative to their size."""
    exact = [t.detach().cpu().double().requires_grad_() for t in tensors]
    wanted = torch.nn.functional.scaled_dot_product_attention(
        *exact, None if mask is None else mask.cpu(), **named
    )
    way = torch.from_numpy(cotangent(tuple(wanted.shape), np.float64))
    wants = [wanted.detach(), *torch.autograd.grad(wanted, exact, way)]
    got = pf.ops.scaled_dot_product_attention(*tensors, mask, **named)
    gots = [got.detach(), *torch.autograd.grad(got, tensors, way.to(got.device, got.dtype))]
    return [
        ((a.cpu().double() - want).abs().max() / (1 + want.abs().max())).item()
        for a, want in zip(gots, wants, strict=True)
    ]


@pytest.mark.parametrize("dtype", DTYPES[1:], ids=str)
@pytest.mark.parametrize("width", [64, 128, 256])
@pytest.mark.parametrize("kind", ["full", "causal", "grouped", "boolean", "lengths"])
def test_small_attention_by_both_kernels(dtype: Any, width: int, kind: str) -> None:
    """The kernels of sm_90a and the portable ones, which other devices and small calls take."""
    from pyfast import _cuda

    if not _cuda.hopper_kernels_run():
        pytest.skip("no device of compute capability 9.0")
    torch.manual_seed(0)
    heads = {"grouped": (8, 2)}.get(kind, (8, 8))
    shapes = ((8, heads[0], 300, width), *((8, heads[1], 333, width),) * 2)
    tensors = [torch.randn(s, dtype=dtype, device="cuda", requires_grad=True) for s in shapes]
    mask = None
    if kind == "boolean":
        mask = torch.rand(300, 333, device="cuda") < 0.4
        mask[:, 0] = True
    elif kind == "lengths":
        ends = torch.arange(40, 360, 40, device="cuda")[:, None, None, None]
        mask = torch.arange(333, device="cuda") < ends
    named = {"is_causal": kind == "causal", "enable_gqa": kind == "grouped"}
    ours = attention_errors(tensors, mask, named)
    _cuda.use_portable_kernels(True)
    try:
        portable = attention_errors(tensors, mask, named)
    finally:
        _cuda.use_portable_kernels(False)
    assert ours != portable, "one kernel ran both times; does the driver refuse the tensor maps?"
    spacing = torch.finfo(dtype).eps
    for one, other in zip(ours, portable, strict=True):
        assert one <= 2 * other + spacing / 2


LAYOUTS = [torch.channels_last, torch.contiguous_format]


@pytest.mark.parametrize("dtype", DTYPES[1:], ids=str)
@pytest.mark.parametrize("layout", LAYOUTS, ids=str)
@pytest.mark.parametrize(("channels", "maps"), [(72, 64), (72, 128), (72, 520), (3, 61)])
@pytest.mark.parametrize(("kernel", "stride"), [(1, 1), (1, 2), (3, 1), (3, 2)])
def test_convolutions_by_both_kernels(
    dtype: Any, layout: Any, channels: int, maps: int, kernel: int, stride: int
) -> None:
    from pyfast import _cuda

    if not _cuda.hopper_kernels_run():
        pytest.skip("no device of compute capability 9.0")
    torch.manual_seed(0)
    x = torch.randn(6, channels, 30, 26, dtype=dtype, device="cuda")
    x = x.contiguous(memory_format=layout).requires_grad_()
    shape = (maps, channels, kernel, kernel)
    w = torch.randn(shape, dtype=dtype, device="cuda", requires_grad=True)
    b = torch.randn(maps, dtype=dtype, device="cuda", requires_grad=True)
    tensors, where = [x, w, b], {"stride": stride, "padding": kernel // 2}

    def errors() -> list[float]:
        exact = [t.detach().cpu().double().requires_grad_() for t in tensors]
        wanted = torch.nn.functional.conv2d(*exact, **where)
        way = torch.from_numpy(cotangent(tuple(wanted.shape), np.float64))
        wants = [wanted.detach(), *torch.autograd.grad(wanted, exact, way)]
        got = pf.ops.conv2d(*tensors, **where)
        gots = [got.detach(), *torch.autograd.grad(got, tensors, way.to("cuda", dtype))]
        return [
            ((a.cpu().double() - want).abs().max() / (1 + want.abs().max())).item()
            for a, want in zip(gots, wants, strict=True)
        ]

    ours = errors()
    _cuda.use_portable_kernels(True)
    try:
        portable = errors()
    finally:
        _cuda.use_portable_kernels(False)
    spacing = torch.finfo(dtype).eps
    for one, other in zip(ours, portable, strict=True):
        assert one <= 2 * other + spacing / 2


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("layout", LAYOUTS, ids=str)
@pytest.mark.parametrize("channels", [64, 61])
def test_networks_of_either_layout(dtype: Any, layout: Any, channels: int) -> None:
    """Depthwise convolution and pooling, whose results lie as their images do."""
    torch.manual_seed(0)
    x = torch.randn(4, channels, 23, 30, dtype=dtype, device="cuda")
    x = x.contiguous(memory_format=layout).requires_grad_()
    w = torch.randn(channels, 1, 3, 3, dtype=dtype, device="cuda", requires_grad=True)

    def net(ops: Any, x: Any, w: Any) -> Any:
        y = ops.max_pool2d(ops.conv2d(x, w, None, 2, 1, 1, channels), 3, 2, 1)
        return ops.avg_pool2d(y, 2)

    exact = [t.detach().cpu().double().requires_grad_() for t in (x, w)]
    wanted = net(torch.nn.functional, *exact)
    way = torch.from_numpy(cotangent(tuple(wanted.shape), np.float64))
    wants = [wanted.detach(), *torch.autograd.grad(wanted, exact, way)]
    got = net(pf.ops, x, w)
    assert got.is_contiguous(memory_format=layout)
    gots = [got.detach(), *torch.autograd.grad(got, [x, w], way.to("cuda", dtype))]
    assert gots[1].is_contiguous(memory_format=layout)
    spacing = torch.finfo(dtype).eps
    for ours, want in zip(gots[:1], wants[:1], strict=True):
        error = (ours.cpu().double() - want).abs().max().item()
        assert error <= 4 * spacing * want.abs().max().item()
    for ours, want in zip(gots[1:], wants[1:], strict=True):  # a tie of rounded maxima moves some
        close = (ours.cpu().double() - want).abs() <= 8 * spacing * want.abs().max()
        assert close.double().mean() > 0.97


def test_the_callers_stream_is_used() -> None:
    stream = torch.cuda.Stream()
    x = torch.zeros(1 << 24, device="cuda")
    with torch.cuda.stream(stream):
        for _ in range(50):
            x += 1
        y = pf.ops.relu(x)
    stream.synchronize()
    assert bool((y == 50).all())


def test_dropout_masks_are_the_cpus() -> None:
    x = np.ones((33, 40), np.float32)
    pf.manual_seed(5)
    want = pf.ops.dropout(x, 0.3)
    pf.manual_seed(5)
    got = pf.ops.dropout(torch.from_numpy(x).cuda(), 0.3)
    np.testing.assert_array_equal(got.cpu().numpy(), want)


def test_a_failed_call_leaves_the_context_usable() -> None:
    x = torch.zeros(3, device="cuda")
    with pytest.raises(IndexError):
        pf.ops.softmax(x, 5)
    with pytest.raises((MemoryError, RuntimeError)):
        pf.ops.softmax(torch.zeros(1, device="cuda").expand(1 << 40), -1)
    assert bool((pf.ops.softmax(x, 0) == 1 / 3).all())
