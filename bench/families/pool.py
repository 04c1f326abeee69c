"""Max and average pooling."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

import pyfast as pf

from ..family import Arrays, Call, Family, Shape
from ..gradients import pyfast_backward, torch_backward

Params = Mapping[str, Any]


def _shape(size: tuple[int, ...], kernel: int, stride: int, padding: int) -> Shape:
    out = (size[2] + 2 * padding - kernel) // stride + 1
    moved = 4.0 * size[0] * size[1] * (size[2] * size[3] + out * out)
    return Shape(
        f"{'x'.join(map(str, size))} {kernel}x{kernel}/{stride}",
        {"x": size, "g": (*size[:2], out, out)},
        moved,
        "byte",
        {"kernel": kernel, "stride": stride, "padding": padding},
    )


SHAPES = (
    _shape((64, 32, 28, 28), 2, 2, 0),
    _shape((8, 64, 112, 112), 3, 2, 1),
    _shape((8, 64, 56, 56), 3, 1, 1),
    _shape((8, 512, 14, 14), 2, 2, 0),
)


def _windows(a: Arrays, p: Params, fill: float) -> Any:
    pad = p["padding"]
    padded = np.pad(a["x"], ((0, 0), (0, 0), (pad, pad), (pad, pad)), constant_values=fill)
    windows = np.lib.stride_tricks.sliding_window_view(padded, (p["kernel"],) * 2, axis=(2, 3))
    return windows[:, :, :: p["stride"], :: p["stride"]]


def _sizes(p: Params) -> tuple[int, int, int]:
    return p["kernel"], p["stride"], p["padding"]


def _torch_max(a: Any, p: Params) -> Call:
    import torch

    return lambda: torch.max_pool2d(a["x"], *_sizes(p))


def _torch_avg(a: Any, p: Params) -> Call:
    import torch

    return lambda: torch.nn.functional.avg_pool2d(a["x"], *_sizes(p))


def _reduce_window(jax: Any, p: Params, initial: float, operation: Any) -> Any:
    k, s, pad = _sizes(p)
    edges = ((0, 0), (0, 0), (pad, pad), (pad, pad))
    return lambda x: jax.lax.reduce_window(x, initial, operation, (1, 1, k, k), (1, 1, s, s), edges)


def _jax_max(jax: Any, p: Params) -> Any:
    pool = _reduce_window(jax, p, -np.inf, jax.lax.max)
    return lambda x, g: pool(x)


def _jax_avg(jax: Any, p: Params) -> Any:
    pool = _reduce_window(jax, p, 0.0, jax.lax.add)
    return lambda x, g: pool(x) / p["kernel"] ** 2


def _onnx(op: str, **attributes: Any) -> Any:
    def nodes(helper: Any, p: Params) -> Any:
        k, s, pad = _sizes(p)
        return [
            helper.make_node(
                op, ["x"], ["output"], kernel_shape=[k, k], strides=[s, s], pads=[pad] * 4,
                **attributes,
            )
        ]  # fmt: skip

    return nodes


def _max(a: Any, p: Params) -> Any:
    return pf.ops.max_pool2d(a["x"], *_sizes(p))


def _avg(a: Any, p: Params) -> Any:
    return pf.ops.avg_pool2d(a["x"], *_sizes(p))


FAMILIES = (
    Family(
        "max_pool2d", SHAPES,
        lambda a, p: lambda: pf.ops.max_pool2d(a["x"], *_sizes(p)),
        lambda a, p: lambda: _windows(a, p, -np.inf).max(axis=(-2, -1)),
        _torch_max, _jax_max, _onnx("MaxPool"), channels_last=True,
    ),
    Family("max_pool2d backward", SHAPES, pyfast_backward(_max, ["x"]),
           torch=torch_backward(lambda a, p: _torch_max(a, p)(), ["x"]), channels_last=True),
    Family(
        "avg_pool2d", SHAPES,
        lambda a, p: lambda: pf.ops.avg_pool2d(a["x"], *_sizes(p)),
        lambda a, p: lambda: _windows(a, p, 0.0).mean(axis=(-2, -1)),
        _torch_avg, _jax_avg, _onnx("AveragePool", count_include_pad=1), channels_last=True,
    ),
    Family("avg_pool2d backward", SHAPES, pyfast_backward(_avg, ["x"]),
           torch=torch_backward(lambda a, p: _torch_avg(a, p)(), ["x"]), channels_last=True),
)  # fmt: skip
