"""Tensors and layers whose arrays lie on a GPU: on a stand-in that takes no NumPy array, as CuPy.

What is computed must be what the CPU computes, and stay where it lies.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

import fake_cupy
import numpy as np
import pytest
from fake_cupy import FakeArray, HostKernels

import pyfast as pf
from pyfast import nn
from pyfast.cuda import frameworks


@pytest.fixture(autouse=True)
def gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "cupy", fake_cupy.module())
    kernels = HostKernels()
    monkeypatch.setattr(frameworks, "kernels_of", lambda value, op: kernels)
    monkeypatch.setattr(frameworks, "why_not", lambda: "")


def numbers(*shape: int) -> Any:
    return np.random.default_rng(0).standard_normal(shape).astype(np.float32)


def results(compute: Callable[[Any], Any], device: str, shape: tuple[int, ...]) -> list[Any]:
    """What it gives, and the gradient of its input where there is one."""
    x = pf.Tensor(numbers(*shape)).to(device).detach()
    x.requires_grad = True
    y = compute(x)
    several = list(y) if isinstance(y, tuple | list) else [y]
    tensors = [t for t in several if isinstance(t, pf.Tensor)]
    assert all(isinstance(t.data, FakeArray) == (device == "cuda") for t in tensors)
    if any(t.requires_grad for t in tensors):
        sum(t.sum() for t in tensors if t.requires_grad).backward()
        assert x.grad is not None
        assert isinstance(x.grad.data, FakeArray) == (device == "cuda")
        several.append(x.grad)
    return [t.cpu().numpy() if isinstance(t, pf.Tensor) else t for t in several]


METHODS: dict[str, Callable[[Any], Any]] = {
    "clone": lambda x: x.clone(),
    "argmax": lambda x: x.argmax(-1),
    "argmin": lambda x: x.argmin(),
    "any": lambda x: (x > 1).any(0),
    "all": lambda x: (x > -9).all(),
    "equal": lambda x: x == x,
    "truth": lambda x: bool(x.sum() > -99),
    "clamp": lambda x: x.clamp(max=0.5),
    "clamp both": lambda x: x.clamp(-0.1, 0.5),
    "where": lambda x: pf.where(x > 0, x, -1.0),
    "cat": lambda x: pf.cat([x, 2 * x], 1),
    "stack": lambda x: pf.stack([x, 2 * x]),
    "split": lambda x: x.split(3, -1),
    "items": lambda x: x[1:, ::2],
    "norms": lambda x: (x.var(-1), x.std(-1), x.mean(0), x.max(-1)),
    "like": lambda x: x + x.detach().data,
    "copy_": lambda x: x.detach().copy_(np.ones((3, 4), np.float32)),
}


@pytest.mark.parametrize("name", METHODS)
def test_methods(name: str) -> None:
    got, want = (results(METHODS[name], device, (3, 4)) for device in ("cuda", "cpu"))
    for a, b in zip(got, want, strict=True):
        np.testing.assert_array_equal(a.host if isinstance(a, FakeArray) else a, b)


def test_gradients_add_up() -> None:
    x = pf.Tensor(FakeArray(np.ones(3, np.float32)), requires_grad=True)
    for _ in range(2):
        (2 * x).sum().backward()
    assert x.grad is not None
    assert x.grad.data.host.tolist() == [4, 4, 4]


def beside(x: Any, mask: Any) -> Any:
    """A mask where x lies."""
    return frameworks.move(mask, frameworks.device_of(x.data))


LATER = np.triu(np.ones((5, 5), bool), 1)
PADDING = np.arange(5) >= np.array([[4], [5]])


def masked(model: Any, x: Any, **options: Any) -> Any:
    masks = {"attn_mask": beside(x, LATER), "key_padding_mask": beside(x, PADDING)}
    return model(x, x, x, **masks, **options)


LAYERS: dict[str, tuple[Callable[[], Any], Callable[[Any, Any], Any]]] = {
    "attention": (lambda: nn.MultiheadAttention(8, 2, batch_first=True), masked),
    "attention without weights": (
        lambda: nn.MultiheadAttention(8, 2, batch_first=True),
        lambda m, x: masked(m, x, need_weights=False)[0],
    ),
    "terms": (
        lambda: nn.MultiheadAttention(8, 2, batch_first=True),
        lambda m, x: m(x, x, x, attn_mask=beside(x, np.where(LATER, -np.inf, 0).astype("f4"))),
    ),
    "extra keys": (
        lambda: nn.MultiheadAttention(8, 2, batch_first=True, add_bias_kv=True, add_zero_attn=True),
        lambda m, x: m(x, x, x, key_padding_mask=beside(x, PADDING)),
    ),
    "grouped": (
        lambda: nn.GroupedQueryAttention(8, 2, 1),
        lambda m, x: m(x, key_padding_mask=beside(x, PADDING), is_causal=True),
    ),
    "window": (
        lambda: nn.GroupedQueryAttention(8, 2, 1, window_size=2),
        lambda m, x: m(x, is_causal=True),
    ),
    "additive": (
        lambda: nn.AdditiveAttention(8, 8, 4),
        lambda m, x: m(x, x, x, key_padding_mask=beside(x, PADDING)),
    ),
    "encoder": (
        lambda: nn.TransformerEncoderLayer(8, 2, 16, dropout=0, batch_first=True),
        lambda m, x: m(x, src_key_padding_mask=beside(x, PADDING)),
    ),
    "transformer": (
        lambda: nn.Transformer(8, 2, 1, 1, 16, dropout=0, batch_first=True),
        lambda m, x: m(x, x, tgt_is_causal=True),
    ),
    "positions": (lambda: nn.SinusoidalPositionalEncoding(8), lambda m, x: m(x)),
    "rotary": (
        lambda: nn.RotaryPositionalEmbedding(8),
        lambda m, x: m(x.unsqueeze(1)),
    ),
    "instances": (
        lambda: nn.InstanceNorm1d(5, affine=True, track_running_stats=True),
        lambda m, x: m(x),
    ),
}


@pytest.mark.parametrize("name", LAYERS)
def test_layers(name: str) -> None:
    make, run = LAYERS[name]
    grads = []
    for device in ("cuda", "cpu"):
        pf.manual_seed(3)
        model = make().to(device)
        found = results(lambda x, m=model: run(m, x), device, (2, 5, 8))
        found += [p.grad.cpu().numpy() for p in model.parameters() if p.grad is not None]
        grads.append(found)
    assert len(grads[0]) == len(grads[1])
    for a, b in zip(*grads, strict=True):
        np.testing.assert_array_equal(a.host if isinstance(a, FakeArray) else a, b)
