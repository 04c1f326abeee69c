"""Every op's record on its way to a GPU and back, as far as it goes without one.

On stand-ins for CuPy and for CUDA tensors, whose kernels are `_core`'s, every op must give what it
gives on NumPy arrays; and `_cuda` must take every call that was made on the way, up to the launch,
and make outputs like those of `_core`.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import Any

import fake_cupy
import numpy as np
import pytest
import torch
from cases import OpCase, Sample, all_cases
from fake_cupy import FakeArray, HostKernels, HostTorch
from oracle import cotangent, floating, function, gradient_positions, map_arrays, map_sample

import pyfast as pf
from pyfast.cuda import frameworks
from pyfast.ops import _dispatch

BUILT = pf.cuda.why_not() != "pyfast was built without CUDA; build it with PYFAST_CUDA=ON"
CASES = [pytest.param(c, id=c.name) for c in all_cases()]


def samples(case: OpCase) -> list[Sample]:
    return [s.cast(np.float32) for s in case.samples()]


def on_cpu(case: OpCase, sample: Sample) -> list[Any]:
    """Outputs, then gradients."""
    return run(case, sample, lambda a: a, lambda t: t.numpy())


def run(case: OpCase, sample: Sample, move: Any, read: Any) -> list[Any]:
    positions = gradient_positions(case, sample)
    moved = map_sample(sample, lambda a: move(a.copy()))
    args = list(moved.args)
    for i in positions:
        args[i] = pf.Tensor(args[i], requires_grad=True)
    pf.manual_seed(0)
    outputs = function(case)(*args, **moved.kwargs)
    several = list(outputs) if isinstance(outputs, tuple | list) else [outputs]
    if positions:
        first = floating(several)[0]
        first.backward(move(cotangent(tuple(first.shape), np.float32)))
    return [
        *[read(o) if isinstance(o, pf.Tensor) else o for o in several],
        *[read(args[i].grad) for i in positions],
    ]


@pytest.fixture
def cupy(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    module = fake_cupy.module()
    monkeypatch.setitem(sys.modules, "cupy", module)
    monkeypatch.setattr(frameworks, "why_not", lambda: "")
    frameworks.cupy_kernels.cache_clear()
    yield module
    frameworks.cupy_kernels.cache_clear()


@pytest.mark.parametrize("case", CASES)
def test_cupy_arrays_go_there_and_back(
    case: OpCase, cupy: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    kernels = HostKernels()
    monkeypatch.setattr(frameworks, "kernels_of", lambda value, op: kernels)

    def host(value: Any) -> Any:
        return value.host if isinstance(value, FakeArray) else value

    for sample in samples(case):
        want = on_cpu(case, sample)
        kernels.called.clear()
        got = run(case, sample, FakeArray, lambda t: t.data)
        assert kernels.called, sample  # computed where the arrays lie
        for a, b in zip(got, want, strict=True):
            np.testing.assert_array_equal(host(a), b, err_msg=str(sample))


@pytest.mark.parametrize("case", CASES)
def test_torch_tensors_go_there_and_back(case: OpCase, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*args: Any, **kwargs: Any) -> Any:
        raise TypeError("can't convert cuda:0 device type tensor to numpy")

    where = _dispatch.backend_for
    monkeypatch.setattr(
        _dispatch,
        "backend_for",
        lambda a, op: "cuda" if isinstance(a, torch.Tensor) else where(a, op),
    )
    kernels = HostTorch()
    monkeypatch.setattr(frameworks, "kernels_of", lambda value, op: kernels)
    monkeypatch.setattr(torch.Tensor, "__array__", refuse)
    for sample in samples(case):
        want = on_cpu(case, sample)
        positions = gradient_positions(case, sample)
        moved = map_sample(sample, lambda a: torch.from_numpy(a.copy()))
        args = list(moved.args)
        for i in positions:
            args[i].requires_grad_()
        pf.manual_seed(0)
        outputs = function(case)(*args, **moved.kwargs)
        several = list(outputs) if isinstance(outputs, tuple | list) else [outputs]
        if positions:
            first = floating(several)[0]
            first.backward(torch.from_numpy(cotangent(tuple(first.shape), np.float32)))
        grads = [torch.zeros_like(args[i]) if args[i].grad is None else args[i].grad
                 for i in positions]  # fmt: skip
        for a, b in zip([*several, *grads], want, strict=True):
            np.testing.assert_array_equal(a.detach().numpy(), b, err_msg=str(sample))


class Replay(HostKernels):
    """Gives `_cuda` each call, too, which must take it and stop at the launch."""

    def __init__(self, cupy: Any) -> None:
        super().__init__()
        self.made = cupy.made
        self.gpu = frameworks.cupy_kernels(cupy)

    def __getattr__(self, name: str) -> Any:
        on_host = super().__getattr__(name)

        def function(*args: Any, **kwargs: Any) -> Any:
            want = on_host(*args, **kwargs)
            self.made.clear()
            if name == "batch_norm_add_backward":  # what is saved is each backend's own affair
                bits = FakeArray(np.zeros((args[1].size + 7) // 8, np.uint8))
                args = (*args[:3], None if args[7] is None else bits, *args[4:])
            try:
                getattr(self.gpu, name)(*args, **kwargs)
            except RuntimeError as problem:
                if "no CUDA" not in str(problem):
                    raise
                self.require(name, want)
            return want

        return function

    def require(self, name: str, want: Any) -> None:
        """What was made before the first launch are outputs like these, and workspace."""
        if name.startswith(("conv", "linear")) and name.endswith("_backward"):
            return  # the activation's slope is launched first
        several = want if isinstance(want, tuple) else (want,)
        made = [(a.shape, a.dtype) for a in self.made]
        if name.startswith("varlen"):  # kernels see heads first
            several = [None if a is None else a.swapaxes(0, 1) for a in several]
        first = several[:1]  # others may be made after the first launch
        for a in first if isinstance(first[0], FakeArray) else ():
            assert (a.shape, a.dtype) in made, f"{name}: {a.shape} {a.dtype} is not among {made}"


@pytest.mark.skipif(not BUILT, reason="built without CUDA")
@pytest.mark.skipif(pf.cuda.is_available(), reason="stand-ins have no memory on a GPU")
@pytest.mark.parametrize("case", CASES)
def test_the_cuda_module_takes_every_call(
    case: OpCase, cupy: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    kernels = Replay(cupy)
    monkeypatch.setattr(frameworks, "kernels_of", lambda value, op: kernels)
    for sample in samples(case):
        run(case, sample, FakeArray, lambda t: t.data)


@pytest.mark.skipif(not BUILT, reason="built without CUDA")
@pytest.mark.parametrize("case", CASES)
def test_bad_calls_are_refused_as_on_the_cpu(
    case: OpCase, cupy: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the same exception, though dtypes that only the CPU has are named otherwise."""
    kernels = frameworks.cupy_kernels(cupy)
    monkeypatch.setattr(frameworks, "kernels_of", lambda value, op: kernels)
    for bad in case.bad():
        if not any(isinstance(a, np.ndarray) and a.dtype.kind == "f" for a in bad.args):
            continue
        args = [map_arrays(a, lambda a: FakeArray(single(a))) for a in bad.args]
        kwargs = {k: map_arrays(v, lambda a: FakeArray(single(a))) for k, v in bad.kwargs.items()}
        try:
            with pytest.raises(bad.error):
                function(case)(*args, **kwargs)
        except RuntimeError as problem:
            if "no CUDA" not in str(problem):  # what only values show goes as far as the launch
                raise
        except TypeError as problem:
            if "must lie on the GPU" not in str(problem):  # a list there, ragged or not
                raise


@pytest.mark.skipif(not BUILT, reason="built without CUDA")
@pytest.mark.parametrize("case", CASES)
def test_float64_is_refused_in_words(
    case: OpCase, cupy: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By op, argument and dtype, and what to do instead."""
    kernels = frameworks.cupy_kernels(cupy)
    monkeypatch.setattr(frameworks, "kernels_of", lambda value, op: kernels)
    for sample in case.samples()[:3]:
        moved = map_sample(sample.cast(np.float64), FakeArray)
        if not any(isinstance(a, FakeArray) and a.dtype == np.float64 for a in moved.args):
            continue
        with pytest.raises(TypeError, match=r"^\w+: \w+ must be .* on a GPU, got float64; convert"):
            function(case)(*moved.args, **moved.kwargs)


def single(a: Any) -> Any:
    return a.astype(np.float32) if a.dtype == np.float64 else a


@pytest.mark.parametrize("norm_type", [1.0, 2.0, float("inf")])
def test_gradients_are_clipped_where_they_lie(
    cupy: Any, monkeypatch: pytest.MonkeyPatch, norm_type: float
) -> None:
    kernels = Replay(cupy) if BUILT and not pf.cuda.is_available() else HostKernels()
    monkeypatch.setattr(frameworks, "kernels_of", lambda value, op: kernels)

    def parameters(move: Any) -> list[Any]:
        random = np.random.default_rng(2)
        made = []
        for shape in ((3, 4), (), (700,)):
            made.append(pf.Tensor(np.zeros(shape, np.float32), requires_grad=True))
            made[-1]._grad = pf.Tensor(move(random.standard_normal(shape).astype(np.float32)))
        return made

    mine, theirs = parameters(FakeArray), parameters(lambda a: a)
    for clip in (pf.nn.utils.clip_grad_norm_, pf.nn.utils.clip_grad_value_):
        options = (0.5, norm_type) if clip is pf.nn.utils.clip_grad_norm_ else (0.01,)
        assert clip(mine, *options) == clip(theirs, *options)
        for a, b in zip(mine, theirs, strict=True):
            np.testing.assert_array_equal(a.grad.data.host, b.grad.numpy())
    assert {"gradient_norm", "scale_gradients", "clamp_gradients"} == set(kernels.called)


def test_clipping_nothing() -> None:
    assert pf.nn.utils.clip_grad_norm_([], 1.0) == 0
    pf.nn.utils.clip_grad_value_([], 1.0)
