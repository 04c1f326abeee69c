"""Convolution, forward and backward."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

import pyfast as pf

from ..family import Arrays, Call, Family, Shape

Params = Mapping[str, Any]


def _shape(
    batch: int, channels: int, size: int, filters: int, kernel: int, stride: int = 1,
    groups: int = 1,
) -> Shape:  # fmt: skip
    padding = kernel // 2
    out = (size + 2 * padding - kernel) // stride + 1
    kind = " depthwise" if groups == channels and groups > 1 else ""
    return Shape(
        name=f"{batch}x{channels}x{size}x{size} {filters}@{kernel}x{kernel}/{stride}{kind}",
        sizes={
            "x": (batch, channels, size, size),
            "w": (filters, channels // groups, kernel, kernel),
            "b": (filters,),
            "g": (batch, filters, out, out),
        },
        work=2.0 * batch * filters * out * out * (channels // groups) * kernel * kernel,
        params={"stride": stride, "padding": padding, "groups": groups},
    )


SHAPES = (
    _shape(1, 8, 8, 8, 3),
    _shape(64, 1, 28, 32, 3),
    _shape(8, 3, 224, 64, 7, 2),
    _shape(8, 64, 56, 64, 1),
    _shape(8, 64, 56, 64, 3),
    _shape(8, 128, 56, 128, 3, 2),
    _shape(8, 128, 28, 128, 3),
    _shape(8, 256, 14, 256, 3),
    _shape(8, 512, 7, 512, 3),
    _shape(1, 256, 14, 256, 3),
    _shape(8, 1024, 14, 256, 1),
    _shape(8, 144, 56, 144, 3, 1, 144),
)


def _pyfast(a: Arrays, p: Params) -> Call:
    return lambda: pf.ops.conv2d(a["x"], a["w"], a["b"], **p)


def _numpy(a: Arrays, p: Params) -> Call | None:
    if p["groups"] != 1:
        return None
    stride, pad = p["stride"], p["padding"]
    kernel = a["w"].shape[2:]
    weight = a["w"].reshape(len(a["w"]), -1)

    def call() -> Any:
        padded = np.pad(a["x"], ((0, 0), (0, 0), (pad, pad), (pad, pad)))
        windows = np.lib.stride_tricks.sliding_window_view(padded, kernel, axis=(2, 3))
        windows = windows[:, :, ::stride, ::stride]
        n, _, h, w = windows.shape[:4]
        columns = windows.transpose(0, 1, 4, 5, 2, 3).reshape(n, -1, h * w)
        return (weight @ columns + a["b"][:, None]).reshape(n, -1, h, w)

    return call


def _torch(a: Any, p: Params) -> Call:
    import torch

    return lambda: torch.conv2d(a["x"], a["w"], a["b"], p["stride"], p["padding"], 1, p["groups"])


def _jax(jax: Any, p: Params) -> Any:
    def conv(x: Any, w: Any, b: Any, g: Any) -> Any:
        del g
        out = jax.lax.conv_general_dilated(
            x, w, (p["stride"],) * 2, [(p["padding"],) * 2] * 2, feature_group_count=p["groups"]
        )
        return out + b[:, None, None]

    return conv


def _onnx(helper: Any, p: Params) -> Any:
    return [
        helper.make_node(
            "Conv", ["x", "w", "b"], ["output"], strides=[p["stride"]] * 2,
            pads=[p["padding"]] * 4, group=p["groups"],
        )
    ]  # fmt: skip


def _pyfast_backward(a: Arrays, p: Params) -> Call:
    x, w = pf.Tensor(a["x"], requires_grad=True), pf.Tensor(a["w"], requires_grad=True)
    y = pf.ops.conv2d(x, w, None, **p)

    def call() -> Any:
        x.grad = w.grad = None
        y.backward(a["g"], retain_graph=True)
        return np.asarray(x.grad), np.asarray(w.grad)

    return call


def _torch_backward(a: Any, p: Params) -> Call:
    import torch

    settings = ((p["stride"],) * 2, (p["padding"],) * 2, (1, 1), False, (0, 0), p["groups"])
    backward = torch.ops.aten.convolution_backward
    mask = (True, True, False)
    return lambda: backward(a["g"], a["x"], a["w"], None, *settings, mask)[:2]


FAMILIES = (
    Family(
        "conv2d", SHAPES, _pyfast, _numpy, _torch, _jax, _onnx,
        constants=("w", "b"), channels_last=True,
    ),
    Family("conv2d backward", SHAPES[1:], _pyfast_backward, torch=_torch_backward,
           channels_last=True, work=2.0),
)  # fmt: skip
