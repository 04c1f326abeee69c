"""Softmax and activations."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

import pyfast as pf

from ..family import Arrays, Call, Family, Shape
from ..gradients import pyfast_backward, torch_backward

Params = Mapping[str, Any]


def _shape(*size: int) -> Shape:
    sizes = {"x": size, "g": size}
    return Shape("x".join(map(str, size)), sizes, 8.0 * np.prod(size), "byte")


SHAPES = (_shape(64, 10), _shape(16, 128, 512), _shape(4096, 1024))


def _numpy_softmax(a: Arrays, p: Params) -> Call:
    def call() -> Any:
        e = np.exp(a["x"] - a["x"].max(-1, keepdims=True))
        return e / e.sum(-1, keepdims=True)

    return call


def _torch(name: str, *args: Any) -> Any:
    def build(a: Any, p: Params) -> Call:
        import torch

        f = getattr(torch.nn.functional, name)
        return lambda: f(a["x"], *args)

    return build


def _pyfast(name: str, *args: Any) -> Any:
    f = getattr(pf.ops, name)
    return lambda a, p: lambda: f(a["x"], *args)


def _family(name: str, onnx: str, jax_name: str, numpy: Any, *args: Any, **attributes: Any) -> Any:
    def jax_call(jax: Any, p: Params) -> Any:
        if name == "gelu":
            return lambda x, g: jax.nn.gelu(x, approximate=False)
        function = getattr(jax.nn, jax_name)
        return lambda x, g: function(x)  # some take their argument by position only

    return Family(
        name, SHAPES, _pyfast(name, *args), numpy, _torch(name, *args), jax_call,
        lambda helper, p: [helper.make_node(onnx, ["x"], ["output"], **attributes)],
    )  # fmt: skip


def _backward(name: str, *args: Any) -> Family:
    ours = getattr(pf.ops, name)

    def theirs(a: Any, p: Params) -> Any:
        import torch

        return getattr(torch.nn.functional, name)(a["x"], *args)

    return Family(
        f"{name} backward", SHAPES, pyfast_backward(lambda a, p: ours(a["x"], *args), ["x"]),
        torch=torch_backward(theirs, ["x"]), work=1.5,
    )  # fmt: skip


FAMILIES = (
    _family("softmax", "Softmax", "softmax", _numpy_softmax, -1, axis=-1),
    _family("gelu", "Gelu", "gelu", None),
    _family("relu", "Relu", "relu", lambda a, p: lambda: np.maximum(a["x"], 0)),
    _family("sigmoid", "Sigmoid", "sigmoid", lambda a, p: lambda: 1 / (1 + np.exp(-a["x"]))),
    _family("tanh", "Tanh", "tanh", lambda a, p: lambda: np.tanh(a["x"])),
    _family("log_softmax", "LogSoftmax", "log_softmax", None, -1, axis=-1),
    _family("silu", "Swish", "silu", lambda a, p: lambda: a["x"] / (1 + np.exp(-a["x"]))),
    _family("mish", "Mish", "mish", None),
    _family("elu", "Elu", "elu", None),
    _family("softplus", "Softplus", "softplus", None),
    *(_backward(name, -1) for name in ("softmax", "log_softmax")),
    *(_backward(name) for name in ("gelu", "relu", "sigmoid", "tanh", "silu", "mish", "elu")),
)
