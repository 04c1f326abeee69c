"""A whole pretrained encoder: all-MiniLM-L6-v2's sizes, token ids in, hidden states out.

Weights are random (they do not change the time); every library gets them before the timing. 1e9
over the microseconds of 1x128, and 32e9 over those of 32x128, are sentences per 1,000 seconds.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

import pyfast as pf
from pyfast.models import Bert, BertConfig

from ..family import Arrays, Call, Family, Shape

Params = Mapping[str, Any]

LENGTH, WIDTH, HEADS, INNER, LAYERS, VOCABULARY = 128, 384, 12, 1536, 6, 1000
CONFIG = BertConfig(
    vocab_size=VOCABULARY,
    hidden_size=WIDTH,
    num_hidden_layers=LAYERS,
    num_attention_heads=HEADS,
    intermediate_size=INNER,
    max_position_embeddings=LENGTH,
    pooler=False,
)


def _layer_sizes(i: int) -> dict[str, tuple[int, ...]]:
    names = {
        "self_attn.in_proj_": (3 * WIDTH, WIDTH),
        "self_attn.out_proj.": (WIDTH, WIDTH),
        "linear1.": (INNER, WIDTH),
        "linear2.": (WIDTH, INNER),
        "norm1.": (WIDTH,),
        "norm2.": (WIDTH,),
    }
    sizes: dict[str, tuple[int, ...]] = {}
    for name, size in names.items():
        sizes[f"encoder.layers.{i}.{name}weight"] = size
        sizes[f"encoder.layers.{i}.{name}bias"] = size[:1]
    return sizes


WEIGHTS: dict[str, tuple[int, ...]] = {
    "token_embedding.weight": (VOCABULARY, WIDTH),
    "position.weight": (LENGTH, WIDTH),
    "segment_embedding.weight": (2, WIDTH),
    "norm.weight": (WIDTH,),
    "norm.bias": (WIDTH,),
    **{name: size for i in range(LAYERS) for name, size in _layer_sizes(i).items()},
}


def _ids(rng: np.random.Generator, size: tuple[int, ...]) -> Any:
    return rng.integers(0, VOCABULARY, size)


def _small(rng: np.random.Generator, size: tuple[int, ...]) -> Any:
    return rng.standard_normal(size, np.float32) * np.float32(0.05)


def _shape(batch: int) -> Shape:
    per_token = 2 * (4 * WIDTH**2 + 2 * WIDTH * INNER) + 4 * LENGTH * WIDTH
    return Shape(
        name=f"{batch}x{LENGTH}",
        sizes={"ids": (batch, LENGTH), **WEIGHTS},
        work=float(batch * LENGTH * LAYERS * per_token),
        make={"ids": _ids, **dict.fromkeys(WEIGHTS, _small)},
    )


def _model(a: Arrays) -> Bert:
    model = Bert(CONFIG).eval()
    model.load_state_dict({name: a[name] for name in WEIGHTS})
    return model


def _pyfast(a: Arrays, p: Params) -> Call:
    return _encoding(_model(a), a)


def _prepared(a: Arrays, p: Params) -> Call:
    return _encoding(pf.fuse(_model(a)), a)


def _encoding(model: Bert, a: Arrays) -> Call:
    def call() -> Any:
        with pf.no_grad():
            return model(a["ids"]).numpy()

    return call


def _torch(a: Any, p: Params) -> Call:
    """The same model in PyTorch's fused functions: one projection for query, key and value."""
    import torch
    from torch.nn import functional as F

    def norm(x: Any, name: str) -> Any:
        return F.layer_norm(x, (WIDTH,), a[f"{name}.weight"], a[f"{name}.bias"], 1e-12)

    def layer(x: Any, name: str) -> Any:
        weights = {key: a[f"{name}.{key}"] for key in (n.split(".", 3)[3] for n in _layer_sizes(0))}
        qkv = F.linear(x, weights["self_attn.in_proj_weight"], weights["self_attn.in_proj_bias"])
        heads = qkv.view(len(x), LENGTH, 3, HEADS, -1).permute(2, 0, 3, 1, 4)
        mixed = F.scaled_dot_product_attention(*heads.unbind(0))
        mixed = mixed.transpose(1, 2).reshape(len(x), LENGTH, WIDTH)
        out = F.linear(
            mixed, weights["self_attn.out_proj.weight"], weights["self_attn.out_proj.bias"]
        )
        x = norm(x + out, f"{name}.norm1")
        inner = F.gelu(F.linear(x, weights["linear1.weight"], weights["linear1.bias"]))
        return norm(
            x + F.linear(inner, weights["linear2.weight"], weights["linear2.bias"]),
            f"{name}.norm2",
        )

    def call() -> Any:
        with torch.inference_mode():
            x = F.embedding(a["ids"], a["token_embedding.weight"])
            x = norm(x + a["position.weight"] + a["segment_embedding.weight"][0], "norm")
            for i in range(LAYERS):
                x = layer(x, f"encoder.layers.{i}")
            return x

    return call


class _Graph:
    """ONNX nodes, each with one output, in the order they are added."""

    def __init__(self, helper: Any) -> None:
        self.helper = helper
        self.nodes: list[Any] = []

    def add(self, op: str, *inputs: str, output: str = "", **attributes: Any) -> str:
        output = output or f"{op}{len(self.nodes)}"
        self.nodes.append(self.helper.make_node(op, list(inputs), [output], **attributes))
        return output

    def constant(self, **value: Any) -> str:
        return self.add("Constant", **value)

    def linear(self, x: str, weight: str, bias: str) -> str:
        return self.add("Add", self.add("MatMul", x, self.add("Transpose", weight)), bias)

    def norm(self, x: str, name: str, output: str = "") -> str:
        weights = (f"{name}.weight", f"{name}.bias")
        return self.add("LayerNormalization", x, *weights, output=output, epsilon=1e-12)


def _onnx_attention(g: _Graph, x: str, name: str) -> str:
    qkv = []
    split = g.constant(value_ints=[0, 0, HEADS, WIDTH // HEADS])
    for i in range(3):  # as exported from PyTorch: a projection each
        rows = [g.constant(value_ints=[n]) for n in (i * WIDTH, (i + 1) * WIDTH)]
        axis = g.constant(value_ints=[0])
        parts = [
            g.add("Slice", f"{name}.in_proj_{kind}", *rows, axis) for kind in ("weight", "bias")
        ]
        qkv.append(g.add("Reshape", g.linear(x, *parts), split))
    query, value = (g.add("Transpose", n, perm=[0, 2, 1, 3]) for n in (qkv[0], qkv[2]))
    key = g.add("Transpose", qkv[1], perm=[0, 2, 3, 1])
    scale = g.constant(value_float=float((WIDTH // HEADS) ** -0.5))
    scores = g.add("Mul", g.add("MatMul", query, key), scale)
    mixed = g.add("MatMul", g.add("Softmax", scores, axis=-1), value)
    back = g.add("Transpose", mixed, perm=[0, 2, 1, 3])
    merged = g.add("Reshape", back, g.constant(value_ints=[0, 0, WIDTH]))
    return g.linear(merged, f"{name}.out_proj.weight", f"{name}.out_proj.bias")


def _onnx(helper: Any, p: Params) -> Any:
    g = _Graph(helper)
    x = g.add("Add", g.add("Gather", "token_embedding.weight", "ids"), "position.weight")
    first = g.constant(value_int=0)
    x = g.norm(g.add("Add", x, g.add("Gather", "segment_embedding.weight", first)), "norm")
    for i in range(LAYERS):
        name = f"encoder.layers.{i}"
        x = g.norm(g.add("Add", x, _onnx_attention(g, x, f"{name}.self_attn")), f"{name}.norm1")
        inner = g.add("Gelu", g.linear(x, f"{name}.linear1.weight", f"{name}.linear1.bias"))
        outer = g.linear(inner, f"{name}.linear2.weight", f"{name}.linear2.bias")
        last = "output" if i == LAYERS - 1 else ""
        x = g.norm(g.add("Add", x, outer), f"{name}.norm2", last)
    return g.nodes


FAMILIES = (
    Family(
        "minilm",
        (_shape(1), _shape(32)),
        _pyfast,
        torch=_torch,
        onnx=_onnx,
        constants=tuple(WEIGHTS),
        prepared=_prepared,
    ),
)
