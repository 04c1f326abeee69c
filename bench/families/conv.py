"""Convolution, forward and backward."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

import pyfast as pf
from pyfast import _core

from ..family import Arrays, Call, Family, Shape

Params = Mapping[str, Any]


def _shape(
    batch: int, channels: int, size: int, filters: int, kernel: int, stride: int = 1,
    groups: int = 1, dilation: int = 1, transposed: bool = False,
) -> Shape:  # fmt: skip
    padding = (kernel - 1) * dilation // 2
    if transposed:  # doubles an even size at stride 2 and kernel 4
        out = (size - 1) * stride - 2 * padding + kernel
        weight, points = (channels, filters, kernel, kernel), size * size
    else:
        out = (size + 2 * padding - dilation * (kernel - 1) - 1) // stride + 1
        weight, points = (filters, channels // groups, kernel, kernel), out * out
    words = [
        "depthwise" if groups == channels and groups > 1 else f"groups {groups}" * (groups > 1),
        f"dilation {dilation}" * (dilation > 1),
        "transposed" * transposed,
    ]
    name = f"{batch}x{channels}x{size}x{size} {filters}@{kernel}x{kernel}/{stride}"
    return Shape(
        name=" ".join([name, *(w for w in words if w)]),
        sizes={
            "x": (batch, channels, size, size),
            "w": weight,
            "b": (filters,),
            "g": (batch, filters, out, out),
        },
        work=2.0 * batch * filters * points * (channels // groups) * kernel * kernel,
        params={
            "stride": stride,
            "padding": padding,
            "groups": groups,
            "dilation": dilation,
            "transposed": transposed,
        },
        warm=3,  # after a single call 26 MB seemed up to 30 % slower than after three
    )


# ResNet-50 (v1.5), each distinct layer once: channels, size, filters, kernel, stride.
RESNET50 = (
    (3, 224, 64, 7, 2),
    (64, 56, 64, 1, 1), (64, 56, 64, 3, 1), (64, 56, 256, 1, 1), (256, 56, 64, 1, 1),
    (256, 56, 128, 1, 1), (128, 56, 128, 3, 2), (128, 28, 512, 1, 1), (256, 56, 512, 1, 2),
    (512, 28, 128, 1, 1), (128, 28, 128, 3, 1),
    (512, 28, 256, 1, 1), (256, 28, 256, 3, 2), (256, 14, 1024, 1, 1), (512, 28, 1024, 1, 2),
    (1024, 14, 256, 1, 1), (256, 14, 256, 3, 1),
    (1024, 14, 512, 1, 1), (512, 14, 512, 3, 2), (512, 7, 2048, 1, 1), (1024, 14, 2048, 1, 2),
    (2048, 7, 512, 1, 1), (512, 7, 512, 3, 1),
)  # fmt: skip

# Depthwise 3 x 3 layers of MobileNet: channels, size, stride.
MOBILENET = ((32, 112, 1), (144, 56, 1), (144, 56, 2), (576, 14, 1), (960, 7, 1))

SHAPES = (
    _shape(1, 8, 8, 8, 3),
    _shape(64, 1, 28, 32, 3),
    *(_shape(n, *layer) for n in (8, 1) for layer in RESNET50),
    *(_shape(n, c, size, c, 3, s, groups=c) for n in (8, 1) for c, size, s in MOBILENET),
    _shape(8, 128, 28, 128, 3, groups=32),
    _shape(8, 64, 56, 64, 3, dilation=2),
    _shape(8, 128, 14, 64, 4, 2, transposed=True),
)


def _convolve(x: Any, w: Any, b: Any, p: Params) -> Any:
    stride, padding, dilation, groups = (
        p["stride"], p["padding"], p["dilation"], p["groups"],
    )  # fmt: skip
    if p["transposed"]:
        return pf.ops.conv_transpose2d(x, w, b, stride, padding)
    return pf.ops.conv2d(x, w, b, stride, padding, dilation, groups)


def _pyfast(a: Arrays, p: Params) -> Call:
    return lambda: _convolve(a["x"], a["w"], a["b"], p)


def _prepared(a: Arrays, p: Params) -> Call | None:
    if p["transposed"]:
        return None
    weight = _core.PackedConvWeight(a["w"], p["groups"])
    settings = p["stride"], p["padding"], p["dilation"], None
    return lambda: _core.conv_packed(a["x"], weight, a["b"], *settings)


def _numpy(a: Arrays, p: Params) -> Call | None:
    if p["groups"] != 1 or p["dilation"] != 1 or p["transposed"]:
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

    x, w, b, stride, padding = a["x"], a["w"], a["b"], p["stride"], p["padding"]
    if p["transposed"]:
        return lambda: torch.conv_transpose2d(x, w, b, stride, padding)
    return lambda: torch.conv2d(x, w, b, stride, padding, p["dilation"], p["groups"])


def _jax(jax: Any, p: Params) -> Any:
    def conv(x: Any, w: Any, b: Any, g: Any) -> Any:
        del g
        stride, padding = p["stride"], p["padding"]
        settings: dict[str, Any] = {"window_strides": (stride,) * 2}
        if p["transposed"]:
            reach = w.shape[-1] - 1 - padding
            w = w.swapaxes(0, 1)[:, :, ::-1, ::-1]
            settings = {"window_strides": (1, 1), "lhs_dilation": (stride,) * 2}
            padding = reach
        out = jax.lax.conv_general_dilated(
            x, w, padding=[(padding,) * 2] * 2, rhs_dilation=(p["dilation"],) * 2,
            feature_group_count=p["groups"], **settings,
        )  # fmt: skip
        return out + b[:, None, None]

    return conv


def _onnx(helper: Any, p: Params) -> Any:
    return [
        helper.make_node(
            "ConvTranspose" if p["transposed"] else "Conv", ["x", "w", "b"], ["output"],
            strides=[p["stride"]] * 2, pads=[p["padding"]] * 4, group=p["groups"],
            dilations=[p["dilation"]] * 2,
        )
    ]  # fmt: skip


def _pyfast_backward(a: Arrays, p: Params) -> Call:
    x, w = pf.Tensor(a["x"], requires_grad=True), pf.Tensor(a["w"], requires_grad=True)
    y = _convolve(x, w, None, p)

    def call() -> Any:
        x.grad = w.grad = None
        y.backward(a["g"], retain_graph=True)
        return np.asarray(x.grad), np.asarray(w.grad)

    return call


def _torch_backward(a: Any, p: Params) -> Call:
    import torch

    settings = (
        (p["stride"],) * 2, (p["padding"],) * 2, (p["dilation"],) * 2, p["transposed"], (0, 0),
        p["groups"],
    )  # fmt: skip
    backward = torch.ops.aten.convolution_backward
    mask = (True, True, False)
    return lambda: backward(a["g"], a["x"], a["w"], None, *settings, mask)[:2]


FAMILIES = (
    Family(
        "conv2d", SHAPES, _pyfast, _numpy, _torch, jax=_jax, onnx=_onnx,
        constants=("w", "b"), prepared=_prepared, channels_last=True,
    ),
    Family("conv2d backward", SHAPES[1:], _pyfast_backward, torch=_torch_backward,
           channels_last=True, work=2.0),
)  # fmt: skip
