"""Batch norm (training and inference, with ReLU) and layer norm."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

import pyfast as pf

from ..family import Arrays, Call, Family, Shape

Params = Mapping[str, Any]
EPS = 1e-5


def _positive(rng: np.random.Generator, size: tuple[int, ...]) -> Any:
    return rng.random(size, np.float32) + 0.5


def _images(*size: int) -> Shape:
    channels = (size[1],)
    names = ("mean", "var", "w", "b")
    return Shape(
        "x".join(map(str, size)),
        {"x": size, **dict.fromkeys(names, channels)},
        8.0 * np.prod(size),
        "byte",
        make={"var": _positive},
    )


def _rows(*size: int) -> Shape:
    sizes = {"x": size, "w": size[-1:], "b": size[-1:], "g": size}
    return Shape("x".join(map(str, size)), sizes, 8.0 * np.prod(size), "byte")


IMAGES = (_images(8, 64, 56, 56), _images(8, 256, 14, 14), _images(64, 32, 28, 28))
ROWS = (_rows(16, 128, 512), _rows(8, 512, 768), _rows(4096, 1024))


def _pyfast_batch_norm(training: bool) -> Any:
    def build(a: Arrays, p: Params) -> Call:
        mean, var = a["mean"].copy(), a["var"].copy()
        return lambda: pf.ops.batch_norm(
            a["x"], mean, var, a["w"], a["b"], training, activation="relu"
        )

    return build


def _torch_batch_norm(training: bool) -> Any:
    def build(a: Any, p: Params) -> Call:
        import torch

        mean, var = a["mean"].clone(), a["var"].clone()
        return lambda: torch.relu_(
            torch.nn.functional.batch_norm(a["x"], mean, var, a["w"], a["b"], training)
        )

    return build


def _normalise(x: Any, mean: Any, var: Any, w: Any, b: Any, xp: Any) -> Any:
    mean, var, w, b = (v[:, None, None] for v in (mean, var, w, b))
    return xp.maximum((x - mean) / xp.sqrt(var + EPS) * w + b, 0)


def _numpy_train(a: Arrays, p: Params) -> Call:
    def call() -> Any:
        x, axes = a["x"], (0, 2, 3)
        return _normalise(x, x.mean(axes), x.var(axes), a["w"], a["b"], np)

    return call


def _jax_train(jax: Any, p: Params) -> Any:
    def call(x: Any, mean: Any, var: Any, w: Any, b: Any) -> Any:
        axes = (0, 2, 3)
        return _normalise(x, x.mean(axes), x.var(axes), w, b, jax.numpy)

    return call


def _jax_eval(jax: Any, p: Params) -> Any:
    return lambda x, mean, var, w, b: _normalise(x, mean, var, w, b, jax.numpy)


def _onnx_batch_norm(helper: Any, p: Params) -> Any:
    return [
        helper.make_node("BatchNormalization", ["x", "w", "b", "mean", "var"], ["y"], epsilon=EPS),
        helper.make_node("Relu", ["y"], ["output"]),
    ]


def _numpy_layer_norm(a: Arrays, p: Params) -> Call:
    def call() -> Any:
        x = a["x"]
        centred = x - x.mean(-1, keepdims=True)
        return centred / np.sqrt((centred**2).mean(-1, keepdims=True) + EPS) * a["w"] + a["b"]

    return call


def _torch_layer_norm(a: Any, p: Params) -> Call:
    import torch

    return lambda: torch.layer_norm(a["x"], a["w"].shape, a["w"], a["b"], EPS)


def _jax_layer_norm(jax: Any, p: Params) -> Any:
    def call(x: Any, w: Any, b: Any, g: Any) -> Any:
        centred = x - x.mean(-1, keepdims=True)
        return centred / jax.numpy.sqrt((centred**2).mean(-1, keepdims=True) + EPS) * w + b

    return call


def _pyfast_layer_norm_backward(a: Arrays, p: Params) -> Call:
    tensors = [pf.Tensor(a[k], requires_grad=True) for k in ("x", "w", "b")]
    y = pf.ops.layer_norm(tensors[0], a["w"].shape, *tensors[1:])

    def call() -> Any:
        for t in tensors:
            t.grad = None
        y.backward(a["g"], retain_graph=True)
        return tuple(np.asarray(t.grad) for t in tensors)

    return call


def _torch_layer_norm_backward(a: Any, p: Params) -> Call:
    import torch

    tensors = [a[k].detach().requires_grad_() for k in ("x", "w", "b")]
    y = torch.layer_norm(tensors[0], tensors[1].shape, *tensors[1:], EPS)
    return lambda: torch.autograd.grad(y, tensors, a["g"], retain_graph=True)


FAMILIES = (
    Family(
        "batch_norm+relu training", IMAGES, _pyfast_batch_norm(True), _numpy_train,
        _torch_batch_norm(True), _jax_train, channels_last=True,
    ),
    Family(
        "batch_norm+relu inference", IMAGES, _pyfast_batch_norm(False),
        lambda a, p: lambda: _normalise(a["x"], a["mean"], a["var"], a["w"], a["b"], np),
        _torch_batch_norm(False), _jax_eval, _onnx_batch_norm,
        constants=("mean", "var", "w", "b"), channels_last=True,
    ),
    Family(
        "layer_norm", ROWS,
        lambda a, p: lambda: pf.ops.layer_norm(a["x"], a["w"].shape, a["w"], a["b"]),
        _numpy_layer_norm, _torch_layer_norm, _jax_layer_norm,
        lambda helper, p: [
            helper.make_node("LayerNormalization", ["x", "w", "b"], ["output"], epsilon=EPS)
        ],
        constants=("w", "b"),
    ),
    Family("layer_norm backward", ROWS, _pyfast_layer_norm_backward,
           torch=_torch_layer_norm_backward),
)  # fmt: skip
