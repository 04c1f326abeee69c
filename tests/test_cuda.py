"""The CUDA backend as far as it goes without a GPU: where calls go, and what they complain of."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import Any

import fake_cupy
import numpy as np
import pytest
from fake_cupy import FakeArray, HostKernels, HostTorch

import pyfast as pf

BUILT = pf.cuda.why_not() != "pyfast was built without CUDA; build it with PYFAST_CUDA=ON"
needs_module = pytest.mark.skipif(not BUILT, reason="built without CUDA")
without_gpu = pytest.mark.skipif(pf.cuda.is_available(), reason="what happens without a GPU")


@pytest.fixture
def cupy(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    from pyfast.cuda import frameworks

    module = fake_cupy.module()
    monkeypatch.setitem(sys.modules, "cupy", module)
    frameworks.cupy_kernels.cache_clear()
    yield module
    frameworks.cupy_kernels.cache_clear()


def test_why_not_is_empty_exactly_when_available() -> None:
    assert pf.cuda.is_available() == (pf.cuda.why_not() == "")


@without_gpu
def test_device_info_says_why_there_is_none() -> None:
    assert pf.cuda.device_count() == 0
    with pytest.raises(RuntimeError, match=r"device_info: .*(driver|device|without CUDA)"):
        pf.cuda.device_info()


@pytest.mark.skipif(BUILT, reason="what happens without _cuda")
def test_a_gpu_array_without_the_module(cupy: Any) -> None:
    with pytest.raises(RuntimeError, match="softmax: pyfast was built without CUDA"):
        pf.ops.softmax(FakeArray(np.zeros((2, 3), np.float32)))


@needs_module
@without_gpu
def test_a_launch_without_a_driver_says_so_each_time(cupy: Any) -> None:
    for _ in range(2):
        with pytest.raises(RuntimeError, match=r"softmax: no CUDA (driver|device) was found; "):
            pf.ops.softmax(FakeArray(np.zeros((2, 3), np.float32)))
    assert [a.shape for a in cupy.made] == [(2, 3), (2, 3)]


@needs_module
def test_arguments_are_checked_as_on_the_cpu(cupy: Any) -> None:
    x = FakeArray(np.zeros((2, 3), np.float32))
    with pytest.raises(IndexError, match=r"softmax: dim must be in \[-2, 1\], got 2"):
        pf.ops.softmax(x, 2)
    with pytest.raises(TypeError, match="softmax: dim must be an int"):
        pf.ops.softmax(x, "a")
    for dtype in (np.float64, np.int32, np.complex64):
        with pytest.raises(TypeError, match=f"softmax: input must be .*, got {np.dtype(dtype)}"):
            pf.ops.softmax(FakeArray(np.zeros(3, dtype)))


@needs_module
def test_a_head_too_wide_is_refused_before_anything_is_made(cupy: Any) -> None:
    x = FakeArray(np.zeros((1, 2, 300), np.float32))
    message = "scaled_dot_product_attention: query must have at most 256 features on a GPU .* 300"
    with pytest.raises(ValueError, match=message):
        pf.ops.scaled_dot_product_attention(x, x, x)
    assert cupy.made == []


@needs_module
def test_the_frameworks_memory_ends(cupy: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its own error comes through, and the next call is as good as any."""
    x = FakeArray(np.zeros((2, 3), np.float32))

    def full(shape: tuple[int, ...], dtype: str) -> Any:
        raise MemoryError(f"Out of memory allocating {shape}")

    with monkeypatch.context() as patch:
        patch.setattr(cupy, "empty", full)
        for _ in range(2):
            with pytest.raises(MemoryError, match="Out of memory allocating"):
                pf.ops.softmax(x)
    with pytest.raises(IndexError, match=r"softmax: dim must be in \[-2, 1\], got 2"):
        pf.ops.softmax(x, 2)


@needs_module
def test_arrays_of_two_devices(cupy: Any) -> None:
    from pyfast.cuda.frameworks import cupy_kernels

    x = FakeArray(np.zeros((2, 3), np.float32))
    y = FakeArray(np.zeros((2, 3), np.float32), device=1)
    with pytest.raises(ValueError, match="output is on cuda:1, but grad on cuda:0; move them"):
        cupy_kernels(cupy).softmax_backward(x, y, -1)


@needs_module
def test_a_cpu_array_beside_a_gpu_array(cupy: Any) -> None:
    from pyfast.cuda.frameworks import cupy_kernels

    x = FakeArray(np.zeros((2, 3), np.float32))
    with pytest.raises(TypeError, match=r"output must lie on the GPU .* cupy.asarray\(array\)"):
        cupy_kernels(cupy).softmax_backward(x, np.zeros((2, 3), np.float32), -1)


@needs_module
def test_an_op_without_a_kernel(cupy: Any) -> None:
    from pyfast.cuda.frameworks import cupy_kernels

    with pytest.raises(NotImplementedError, match="no_such_op: not on CUDA yet: copy"):
        cupy_kernels(cupy).no_such_op()


@needs_module
def test_an_array_of_nobody() -> None:
    with pytest.raises(TypeError, match="neither a CuPy array nor a torch tensor"):
        pf.ops.softmax(FakeArray(np.zeros(3, np.float32)))


@pytest.fixture
def host_kernels(cupy: Any, monkeypatch: pytest.MonkeyPatch) -> HostKernels:
    """A GPU whose kernels are the CPU's: what is left is the way there and back."""
    from pyfast.cuda import frameworks

    kernels = HostKernels()
    monkeypatch.setattr(frameworks, "kernels_of", lambda value, op: kernels)
    monkeypatch.setattr(frameworks, "why_not", lambda: "")
    return kernels


def small_model() -> Any:
    pf.manual_seed(3)
    return pf.nn.Sequential(
        pf.nn.Conv2d(2, 4, 3), pf.nn.BatchNorm2d(4), pf.nn.ReLU(), pf.nn.MaxPool2d(2),
        pf.nn.Flatten(), pf.nn.Linear(16, 8), pf.nn.LayerNorm(8), pf.nn.GELU(), pf.nn.Linear(8, 3),
    )  # fmt: skip


def train(device: str, optimizer_class: Any) -> tuple[list[float], Any]:
    model = small_model().to(device)
    optimizer = optimizer_class(model.parameters(), lr=0.01)
    random = np.random.default_rng(4)
    x = pf.Tensor(random.standard_normal((5, 2, 6, 6)).astype(np.float32)).to(device)
    target = pf.Tensor(random.integers(0, 3, 5)).to(device)
    losses = []
    for _ in range(3):
        optimizer.zero_grad()
        loss = pf.ops.cross_entropy(model(x), target) + (x * 0.5).mean() ** 2
        loss.backward()
        optimizer.step()
        losses.append(float(loss.cpu().item()))
    return losses, model.to("cpu")


@pytest.mark.parametrize("optimizer", [pf.optim.SGD, pf.optim.AdamW])
def test_training_is_the_same_on_both_sides_of_the_tape(
    host_kernels: HostKernels, optimizer: Any
) -> None:
    want, expected = train("cpu", optimizer)
    assert host_kernels.called == []
    got, model = train("cuda", optimizer)
    assert got == want
    assert {"conv2d", "batch_norm_backward", "max_pool2d_taps_backward"} < set(host_kernels.called)
    for a, b in zip(model.parameters(), expected.parameters(), strict=True):
        np.testing.assert_array_equal(a.numpy(), b.numpy())


@pytest.mark.parametrize("kept_on", ["cpu", "cuda"])
def test_a_run_goes_on_from_what_was_kept(host_kernels: HostKernels, kept_on: str) -> None:
    def step(model: Any, optimizer: Any) -> float:
        optimizer.zero_grad()
        loss = model(FakeArray(np.ones((5, 2, 6, 6), np.float32))).square().mean()
        loss.backward()
        optimizer.step()
        return float(loss.cpu().item())

    first = small_model().to("cuda")
    optimizer = pf.optim.AdamW(first.parameters(), lr=0.01)
    step(first, optimizer)
    model = {k: v.to(kept_on).clone() for k, v in first.state_dict().items()}
    kept = optimizer.state_dict()
    if kept_on == "cpu":
        for state in kept["state"].values():
            state.update({k: v.get() for k, v in state.items() if isinstance(v, FakeArray)})
    second = small_model().to("cuda")
    second.load_state_dict(model)
    again = pf.optim.AdamW(second.parameters(), lr=0.01)
    again.load_state_dict(kept)
    want = step(first, optimizer)
    assert step(second, again) == want
    assert step(first, optimizer) == step(second, again) != want


def test_a_fused_models_convolutions_are_one_kernel_each(host_kernels: HostKernels) -> None:
    x = np.random.default_rng(5).standard_normal((2, 2, 6, 6)).astype(np.float32)
    want = small_model().eval()(x).numpy()
    fused = pf.fuse(small_model().eval(), x)
    np.testing.assert_allclose(fused(x).numpy(), want, rtol=1e-5, atol=1e-6)
    got = fused.to("cuda")(FakeArray(x))
    assert host_kernels.called[:2] == ["conv2d_fused", "max_pool2d"]
    np.testing.assert_allclose(got.data.host, want, rtol=1e-5, atol=1e-6)


class Residual(pf.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv, self.norm = pf.nn.Conv2d(4, 4, 3, padding=1), pf.nn.BatchNorm2d(4)
        self.relu = pf.nn.ReLU()

    def forward(self, x: Any) -> Any:
        return self.relu(self.norm(self.conv(x)) + x)


def test_a_sum_is_written_by_the_convolution_before_it(host_kernels: HostKernels) -> None:
    x = np.random.default_rng(5).standard_normal((2, 4, 6, 6)).astype(np.float32)
    model = Residual().eval()
    want = model(x).numpy()
    fused = pf.fuse(model, x).to("cuda")
    got = fused(FakeArray(x))
    assert host_kernels.called == ["conv2d_fused"]
    np.testing.assert_allclose(got.data.host, want, rtol=1e-5, atol=1e-6)
    wanted = pf.Tensor(x, requires_grad=True)
    model(wanted).sum().backward()
    differentiable = pf.Tensor(FakeArray(x), requires_grad=True)
    fused(differentiable).sum().backward()
    gradient = differentiable.grad.data.host
    np.testing.assert_allclose(gradient, wanted.grad.numpy(), rtol=1e-4, atol=1e-5)


@needs_module
@without_gpu
def test_a_fused_convolutions_arguments(cupy: Any) -> None:
    from pyfast.cuda.frameworks import cupy_kernels

    def call(**others: Any) -> None:
        arrays = {"input": (2, 8, 6, 6), "weight": (16, 8, 3, 3), "bias": (16,), "scale": (16,),
                  "residual": (2, 16, 4, 4)}  # fmt: skip
        given = {k: np.zeros(shape, np.float16) for k, shape in arrays.items()} | others
        moved = [None if a is None else FakeArray(a) for a in given.values()]
        cupy_kernels(cupy).conv2d_fused(*moved, 1, 0, 1, 1, "relu")

    def zeros(*shape: int, dtype: Any = np.float32) -> Any:
        return np.zeros(shape, dtype)

    for fine in ({}, {"bias": zeros(16), "scale": None}, {"scale": zeros(16), "residual": None}):
        with pytest.raises(RuntimeError, match="no CUDA"):
            call(**fine)
    with pytest.raises(ValueError, match=r"conv2d: scale must .*\(16,\)"):
        call(scale=zeros(8))
    with pytest.raises(ValueError, match="conv2d: residual must"):
        call(residual=zeros(2, 16, 4, 5, dtype=np.float16))
    with pytest.raises(TypeError, match="conv2d: residual must"):
        call(residual=zeros(2, 16, 4, 4))
    with pytest.raises(TypeError, match="conv2d: bias must"):
        call(bias=zeros(16, dtype=np.float64))


@needs_module
@without_gpu
@pytest.mark.parametrize("last", [False, True])
def test_gradients_of_an_activation_keep_channels_last(cupy: Any, last: bool) -> None:
    """What the convolution's own gradients then read lies as their kernels want it."""
    from pyfast.cuda.frameworks import cupy_kernels

    def array(*shape: int) -> FakeArray:
        if last:
            n, c, h, w = shape
            return FakeArray(np.zeros((n, h, w, c), np.float16).transpose(0, 3, 1, 2))
        return FakeArray(np.zeros(shape, np.float16))

    arrays = [array(2, 16, 4, 5), array(2, 8, 6, 7), array(16, 8, 3, 3), array(2, 16, 4, 5)]
    settings = (1, 0, 1, 1, "relu")
    with pytest.raises(RuntimeError, match="no CUDA"):
        cupy_kernels(cupy).conv2d_backward(*arrays, (True, True, True), *settings)
    assert cupy.made[0].shape == ((2, 4, 5, 16) if last else (2, 16, 4, 5))


def test_an_embeddings_rows_are_scaled_where_they_lie(host_kernels: HostKernels) -> None:
    pf.manual_seed(4)
    ours = pf.nn.Embedding(7, 3, max_norm=1.0)
    theirs = pf.nn.Embedding(7, 3, max_norm=1.0).to("cuda")
    theirs.load_state_dict({k: v * 5 for k, v in ours.state_dict().items()})
    ours.load_state_dict({k: v * 5 for k, v in ours.state_dict().items()})
    picked = np.array([[1, 2, 1], [6, 0, 6]])
    want, got = ours(picked), theirs(FakeArray(picked))
    np.testing.assert_array_equal(got.data.host, want.numpy())
    np.testing.assert_array_equal(theirs.weight.data.host, ours.weight.numpy())
    assert host_kernels.called == ["embedding_renorm", "embedding"]


@needs_module
def test_rows_to_scale_are_checked_before_anything_is_written(cupy: Any) -> None:
    table, picked = np.ones((4, 6), np.float32), np.zeros(3, np.int64)
    for bad, error, message in (
        (table[:, ::2], ValueError, "embedding: weight must be C-contiguous on a GPU, got strides"),
        (table.astype(np.float64), TypeError, "embedding: weight must be float32, float16"),
        (table[0], ValueError, "embedding: weight must have 2 dimensions"),
    ):
        with pytest.raises(error, match=message):
            pf.ops.embedding(FakeArray(picked), FakeArray(bad), max_norm=1.0)
    with pytest.raises(TypeError, match="embedding: input must lie on the GPU"):
        pf.ops.embedding(picked, FakeArray(table), max_norm=1.0)


def test_a_tensor_on_a_gpu(host_kernels: HostKernels) -> None:
    x = pf.Tensor(np.arange(6.0, dtype=np.float32).reshape(2, 3), requires_grad=True)
    y = x.to("cuda")
    assert (x.device, y.device) == ("cpu", "cuda:0")
    assert isinstance(y.data, FakeArray)
    with pytest.raises(TypeError, match=r"numpy: the tensor lies on a GPU; .* cpu\(\)"):
        y.numpy()
    (2 * y.softmax(-1).sum() + y.T[0].sum()).backward()
    assert x.grad is not None
    np.testing.assert_allclose(x.grad.numpy(), [[1, 0, 0], [1, 0, 0]], atol=1e-6)
    for device in ("cuda:x", "cpu:0"):
        with pytest.raises(ValueError, match="to: device must be"):
            x.to(device)


@without_gpu
def test_moving_without_a_gpu_says_why_and_moves_nothing() -> None:
    model = small_model()
    with pytest.raises(RuntimeError, match="to: no GPU can be used: "):
        model.to("cuda")
    with pytest.raises(RuntimeError, match="to: no GPU can be used: "):
        model[0].weight.cuda()
    assert {p.device for p in model.parameters()} == {"cpu"}


def test_an_op_in_torchs_graph() -> None:
    import torch

    from pyfast.cuda.torch_function import torch_function
    from pyfast.ops.norm import _LayerNorm

    layer_norm = torch_function(_LayerNorm, HostTorch(), torch)
    x = torch.randn(4, 5, dtype=torch.float64, requires_grad=True)
    weight = torch.randn(5, dtype=torch.float64, requires_grad=True)
    bias = torch.randn(5, dtype=torch.float64, requires_grad=True)
    operands = (x, weight, bias)

    def ours(*args: Any) -> Any:
        return layer_norm.apply(*args, 5, 1e-5)

    assert torch.autograd.gradcheck(ours, operands)
    want = torch.nn.functional.layer_norm(x, (5,), weight, bias)
    torch.testing.assert_close(ours(*operands), want)
    with torch.no_grad():
        assert ours(*operands).grad_fn is None
    y = ours(*operands)
    with torch.no_grad():
        x.add_(1)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        y.sum().backward()
