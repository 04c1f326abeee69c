"""Scaled dot-product attention: full, causal, with a boolean mask; forward and backward."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

import pyfast as pf

from ..family import Arrays, Call, Family, Shape

Params = Mapping[str, Any]


def _blocks(rng: np.random.Generator, size: tuple[int, ...]) -> Any:
    """Two packed sequences: each attends to itself only."""
    half = np.arange(size[-1]) < size[-1] // 2
    return half[:, None] == half[None, :]


def _block_bias(rng: np.random.Generator, size: tuple[int, ...]) -> Any:
    return np.where(_blocks(rng, size), 0, -np.inf).astype(np.float32)


def _causal_bias(rng: np.random.Generator, size: tuple[int, ...]) -> Any:
    return np.where(np.tri(size[-1], dtype=bool), 0, -np.inf).astype(np.float32)


def _shape(batch: int, heads: int, length: int, dim: int, kind: str) -> Shape:
    size = (batch, heads, length, dim)
    sizes: dict[str, tuple[int, ...]] = {"q": size, "k": size, "v": size, "g": size}
    if kind == "mask":
        sizes["m"] = (length, length)
    if kind != "full":
        sizes["bias"] = (length, length)  # the mask as ONNX graphs take it
    share = 1.0 if kind == "full" else 0.5
    return Shape(
        name=f"{batch}x{heads}x{length}x{dim} {kind}",
        sizes=sizes,
        work=4.0 * batch * heads * length * length * dim * share,
        params={"causal": kind == "causal", "biased": kind != "full", "scale": dim**-0.5},
        make={"m": _blocks, "bias": _causal_bias if kind == "causal" else _block_bias},
    )


# batch and heads by length: about the same work, but for the longest
LENGTHS = {128: (8, 8), 256: (2, 8), 512: (1, 8), 1024: (1, 8), 2048: (1, 4), 4096: (1, 4)}

SHAPES = tuple(
    _shape(*LENGTHS[length], length, dim, kind)
    for dim in (32, 64, 128)
    for length in LENGTHS
    for kind in ("full", "causal", "mask")
)


def _pyfast(a: Arrays, p: Params) -> Call:
    mask = a.get("m")
    return lambda: pf.ops.scaled_dot_product_attention(
        a["q"], a["k"], a["v"], mask, is_causal=p["causal"]
    )


def _numpy(a: Arrays, p: Params) -> Call:
    length, dim = a["q"].shape[-2:]
    mask = np.tri(length, dtype=bool) if p["causal"] else a.get("m")

    def call() -> Any:
        scores = a["q"] @ a["k"].swapaxes(-1, -2) * np.float32(1 / math.sqrt(dim))
        if mask is not None:
            scores = np.where(mask, scores, np.float32(-np.inf))
        scores = np.exp(scores - scores.max(-1, keepdims=True))
        return scores / scores.sum(-1, keepdims=True) @ a["v"]

    return call


def _torch(a: Any, p: Params) -> Call:
    import torch

    mask = a.get("m")
    return lambda: torch.nn.functional.scaled_dot_product_attention(
        a["q"], a["k"], a["v"], mask, is_causal=p["causal"]
    )


def _jax(jax: Any, p: Params) -> Any:
    def attention(q: Any, k: Any, v: Any, g: Any, m: Any = None, bias: Any = None) -> Any:
        del g, bias
        q, k, v = (x.swapaxes(1, 2) for x in (q, k, v))
        mask = None if m is None else m[None, None]
        out = jax.nn.dot_product_attention(q, k, v, mask=mask, is_causal=p["causal"])
        return out.swapaxes(1, 2)

    return attention


def _onnx(helper: Any, p: Params) -> Any:
    """softmax(q kᵀ / √d + bias) v in plain nodes, which both runtimes fuse as they can."""
    scores = "biased" if p["biased"] else "scaled"
    nodes = [
        helper.make_node("Transpose", ["k"], ["kt"], perm=[0, 1, 3, 2]),
        helper.make_node("MatMul", ["q", "kt"], ["scores"]),
        helper.make_node("Constant", [], ["scale"], value_float=p["scale"]),
        helper.make_node("Mul", ["scores", "scale"], ["scaled"]),
        helper.make_node("Softmax", [scores], ["weights"], axis=-1),
        helper.make_node("MatMul", ["weights", "v"], ["output"]),
    ]
    if p["biased"]:
        nodes.insert(4, helper.make_node("Add", ["scaled", "bias"], ["biased"]))
    return nodes


def _pyfast_backward(a: Arrays, p: Params) -> Call:
    tensors = [pf.Tensor(a[name], requires_grad=True) for name in "qkv"]
    mask = a.get("m")
    y = pf.ops.scaled_dot_product_attention(*tensors, mask, is_causal=p["causal"])

    def call() -> Any:
        for t in tensors:
            t.grad = None
        y.backward(a["g"], retain_graph=True)
        return tuple(np.asarray(t.grad) for t in tensors)

    return call


def _torch_backward(a: Any, p: Params) -> Call:
    import torch

    tensors = [a[name].detach().requires_grad_() for name in "qkv"]
    y = torch.nn.functional.scaled_dot_product_attention(
        *tensors, a.get("m"), is_causal=p["causal"]
    )
    return lambda: torch.autograd.grad(y, tensors, a["g"], retain_graph=True)


FAMILIES = (
    Family("attention", SHAPES, _pyfast, _numpy, _torch, _jax, _onnx),
    Family("attention backward", SHAPES, _pyfast_backward, torch=_torch_backward, work=2.5),
)
