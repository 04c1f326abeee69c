"""Batch norm (training and inference, with ReLU) and layer norm."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

import pyfast as pf

from ..family import Arrays, Call, Family, Shape
from ..gradients import pyfast_backward, torch_backward

Params = Mapping[str, Any]
EPS = 1e-5


def _positive(rng: np.random.Generator, size: tuple[int, ...]) -> Any:
    return rng.random(size, np.float32) + 0.5


def _images(*size: int) -> Shape:
    channels = (size[1],)
    names = ("mean", "var", "w", "b")
    return Shape(
        "x".join(map(str, size)),
        {"x": size, **dict.fromkeys(names, channels), "g": size},
        8.0 * np.prod(size),
        "byte",
        make={"var": _positive},
    )


def _rows(*size: int) -> Shape:
    sizes = {"x": size, "w": size[-1:], "b": size[-1:], "g": size}
    return Shape("x".join(map(str, size)), sizes, 8.0 * np.prod(size), "byte")


IMAGES = (
    _images(1, 64, 56, 56),
    _images(8, 64, 56, 56),
    _images(8, 256, 14, 14),
    _images(64, 32, 28, 28),
)
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
    def call(x: Any, mean: Any, var: Any, w: Any, b: Any, g: Any) -> Any:
        axes = (0, 2, 3)
        return _normalise(x, x.mean(axes), x.var(axes), w, b, jax.numpy)

    return call


def _jax_eval(jax: Any, p: Params) -> Any:
    return lambda x, mean, var, w, b, g: _normalise(x, mean, var, w, b, jax.numpy)


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


def _pyfast_rms_norm(a: Any, p: Params) -> Any:
    return pf.ops.rms_norm(a["x"], a["w"].shape, a["w"], EPS)


def _torch_rms_norm(a: Any, p: Params) -> Any:
    import torch

    return torch.rms_norm(a["x"], a["w"].shape, a["w"], EPS)


def _jax_rms_norm(jax: Any, p: Params) -> Any:
    def call(x: Any, w: Any, b: Any, g: Any) -> Any:
        return x / jax.numpy.sqrt((x * x).mean(-1, keepdims=True) + EPS) * w

    return call


GROUPS = 8


def _pyfast_group_norm(a: Any, p: Params) -> Any:
    return pf.ops.group_norm(a["x"], GROUPS, a["w"], a["b"], EPS)


def _torch_group_norm(a: Any, p: Params) -> Any:
    import torch

    return torch.group_norm(a["x"], GROUPS, a["w"], a["b"], EPS)


def _jax_group_norm(jax: Any, p: Params) -> Any:
    def call(x: Any, mean: Any, var: Any, w: Any, b: Any, g: Any) -> Any:
        groups = x.reshape(x.shape[0], GROUPS, -1)
        centred = groups - groups.mean(-1, keepdims=True)
        scaled = centred / jax.numpy.sqrt((centred**2).mean(-1, keepdims=True) + EPS)
        return scaled.reshape(x.shape) * w[:, None, None] + b[:, None, None]

    return call


def _torch_fused(a: Any, p: Params) -> Any:
    import torch

    return torch.relu(torch.nn.functional.batch_norm(a["x"], None, None, a["w"], a["b"], True))


def _pyfast_fused(a: Any, p: Params) -> Any:
    return pf.ops.batch_norm(a["x"], None, None, a["w"], a["b"], True, activation="relu")


AFFINE = ("x", "w", "b")

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
    Family(
        "layer_norm backward", ROWS,
        pyfast_backward(
            lambda a, p: pf.ops.layer_norm(a["x"], a["w"].shape, a["w"], a["b"]), AFFINE
        ),
        torch=torch_backward(lambda a, p: _torch_layer_norm(a, p)(), AFFINE),
    ),
    Family("batch_norm+relu backward", IMAGES, pyfast_backward(_pyfast_fused, AFFINE),
           torch=torch_backward(_torch_fused, AFFINE), channels_last=True),
    Family(
        "rms_norm", ROWS, lambda a, p: lambda: _pyfast_rms_norm(a, p),
        torch=lambda a, p: lambda: _torch_rms_norm(a, p), jax=_jax_rms_norm,
    ),
    Family("rms_norm backward", ROWS, pyfast_backward(_pyfast_rms_norm, AFFINE[:2]),
           torch=torch_backward(_torch_rms_norm, AFFINE[:2])),
    Family(
        "group_norm", IMAGES, lambda a, p: lambda: _pyfast_group_norm(a, p),
        torch=lambda a, p: lambda: _torch_group_norm(a, p), jax=_jax_group_norm,
        channels_last=True,
    ),
    Family("group_norm backward", IMAGES, pyfast_backward(_pyfast_group_norm, AFFINE),
           torch=torch_backward(_torch_group_norm, AFFINE), channels_last=True),
)  # fmt: skip
