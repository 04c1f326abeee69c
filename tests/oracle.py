"""Running one sample of an op: on pyfast, on PyTorch, and by finite differences."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from cases import OpCase, Sample

import pyfast as pf
from pyfast import _core

Array = np.ndarray[Any, Any]


def function(case: OpCase) -> Callable[..., Any]:
    return getattr(pf.ops, case.name)


def torch_function(case: OpCase) -> Callable[..., Any]:
    return case.torch or getattr(torch.nn.functional, case.name)


def floating(outputs: Any) -> list[Any]:
    """The floating outputs of a call, whatever their kind (indices carry no gradient)."""
    several = outputs if isinstance(outputs, tuple | list) else [outputs]
    return [o for o in several if "float" in str(o.dtype)]


def map_arrays(value: Any, f: Callable[[Array], Any]) -> Any:
    if isinstance(value, np.ndarray):
        return f(value)
    if isinstance(value, tuple | list) and any(isinstance(v, np.ndarray) for v in value):
        return type(value)(map_arrays(v, f) for v in value)
    return value


def map_sample(sample: Sample, f: Callable[[Array], Any]) -> Sample:
    return Sample(
        tuple(map_arrays(a, f) for a in sample.args),
        {k: map_arrays(v, f) for k, v in sample.kwargs.items()},
    )


def gradient_positions(case: OpCase, sample: Sample) -> list[int]:
    return [
        i
        for i in case.differentiable
        if i < len(sample.args)
        and isinstance(sample.args[i], np.ndarray)
        and sample.args[i].dtype.kind == "f"
    ]


def cotangent(shape: tuple[int, ...], dtype: Any) -> Array:
    """A fixed direction, so that pyfast and its oracles see the same incoming gradient."""
    return np.asarray(np.random.default_rng(7).standard_normal(shape), dtype)


def run_pyfast(case: OpCase, sample: Sample) -> tuple[list[Array], list[Array]]:
    """Outputs and gradients of one call through Tensors."""
    positions = gradient_positions(case, sample)
    args = list(sample.args)
    for i in positions:
        args[i] = pf.Tensor(args[i], requires_grad=True)
    pf.manual_seed(0)  # the same draws in every run of a random op
    outputs = function(case)(*args, **sample.kwargs)
    several = list(outputs) if isinstance(outputs, tuple | list) else [outputs]
    if positions:
        first = floating(outputs)[0]
        first.backward(cotangent(first.shape, first.dtype))
    return [np.asarray(o.numpy() if isinstance(o, pf.Tensor) else o) for o in several], [
        np.asarray(args[i].grad) for i in positions
    ]


def run_torch(case: OpCase, sample: Sample) -> tuple[list[Array], list[Array]]:
    """The same on PyTorch."""
    positions = gradient_positions(case, sample)
    on_torch = map_sample(sample, lambda a: torch.from_numpy(a.copy()))
    args = list(on_torch.args)
    for i in positions:
        args[i].requires_grad_(True)
    outputs = torch_function(case)(*args, **on_torch.kwargs)
    several = list(outputs) if isinstance(outputs, tuple | list) else [outputs]
    if positions:
        first = floating(outputs)[0]
        if first.requires_grad:
            first.backward(
                torch.from_numpy(cotangent(tuple(first.shape), first.detach().numpy().dtype))
            )
    gradients = [
        (torch.zeros_like(args[i]) if args[i].grad is None else args[i].grad).numpy()
        for i in positions
    ]
    return [o.detach().numpy() for o in several], gradients


def numerical_gradient(case: OpCase, sample: Sample, position: int, direction: Array) -> float:
    """Derivative of <cotangent, op> along `direction` of one argument: 4th-order differences."""
    h = case.gradcheck_step

    def value(t: float) -> float:
        args = list(sample.args)
        args[position] = args[position] + t * h * direction
        pf.manual_seed(0)
        out = floating(function(case)(*args, **sample.kwargs))[0]
        return float(np.sum(np.asarray(out) * cotangent(out.shape, out.dtype)))

    return (8 * (value(1) - value(-1)) - (value(2) - value(-2))) / (12 * h)


def assert_close(actual: Array, desired: Array, rtol: float, atol: float, what: str) -> None:
    """Elementwise within rtol of the largest finite magnitude; NaN and inf in the same places."""
    assert actual.shape == desired.shape, f"{what}: shape {actual.shape} for {desired.shape}"
    assert actual.dtype == desired.dtype, f"{what}: dtype {actual.dtype} for {desired.dtype}"
    if actual.dtype.kind != "f":
        np.testing.assert_array_equal(actual, desired, err_msg=what)
        return
    finite = np.abs(desired[np.isfinite(desired)])
    scale = float(finite.max()) if finite.size else 0.0
    np.testing.assert_allclose(
        actual, desired, rtol=rtol, atol=atol + rtol * scale, equal_nan=True, err_msg=what
    )


@contextmanager
def reference_mode() -> Iterator[None]:
    """Every op runs its naive C++ reference."""
    _core.use_reference(True)
    try:
        yield
    finally:
        _core.use_reference(False)


@contextmanager
def threads(n: int) -> Iterator[None]:
    before = pf.get_num_threads()
    pf.set_num_threads(n)
    try:
        yield
    finally:
        pf.set_num_threads(before)


@contextmanager
def torch_threads(n: int) -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(n)
    try:
        yield
    finally:
        torch.set_num_threads(before)
