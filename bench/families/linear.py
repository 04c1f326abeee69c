"""Matrix products and linear layers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

import pyfast as pf
from pyfast import _core

from ..family import Arrays, Call, Family, Shape

Params = Mapping[str, Any]


def _matmul(m: int, n: int, k: int) -> Shape:
    return Shape(f"{m}x{k} @ {k}x{n}", {"a": (m, k), "b": (k, n)}, 2.0 * m * n * k)


def _linear(rows: int, inputs: int, outputs: int) -> Shape:
    sizes = {"x": (rows, inputs), "w": (outputs, inputs), "b": (outputs,)}
    return Shape(f"{rows}x{inputs} -> {outputs}", sizes, 2.0 * rows * inputs * outputs)


def _jax_matmul(jax: Any, p: Params) -> Any:
    return lambda a, b: jax.numpy.matmul(a, b, precision="highest")


def _jax_linear(jax: Any, p: Params) -> Any:
    return lambda x, w, b: jax.numpy.matmul(x, w.T, precision="highest") + b


def _torch_linear(a: Any, p: Params) -> Call:
    import torch

    return lambda: torch.nn.functional.linear(a["x"], a["w"], a["b"])


def _onnx_linear(helper: Any, p: Params) -> Any:
    return [helper.make_node("Gemm", ["x", "w", "b"], ["output"], transB=1)]


def _pyfast_matmul(a: Arrays, p: Params) -> Call:
    return lambda: pf.ops.matmul(a["a"], a["b"])


def _pyfast_linear(a: Arrays, p: Params) -> Call:
    return lambda: pf.ops.linear(a["x"], a["w"], a["b"])


def _prepared_linear(a: Arrays, p: Params) -> Call:
    weight = _core.PackedWeight(a["w"])
    return lambda: _core.linear_packed(a["x"], weight, a["b"], None)


FAMILIES = (
    Family(
        "matmul",
        (*(_matmul(n, n, n) for n in (128, 512, 1024, 2048)), _matmul(4096, 512, 16)),
        _pyfast_matmul,
        numpy=lambda a, p: lambda: np.matmul(a["a"], a["b"]),
        torch=lambda a, p: lambda: a["a"] @ a["b"],
        jax=_jax_matmul,
        onnx=lambda helper, p: [helper.make_node("MatMul", ["a", "b"], ["output"])],
    ),
    Family(
        "linear",
        (_linear(1, 1024, 1024), _linear(8, 1024, 4096), _linear(128, 512, 2048),
         _linear(2048, 512, 512)),
        _pyfast_linear,
        numpy=lambda a, p: lambda: a["x"] @ a["w"].T + a["b"],
        torch=_torch_linear,
        jax=_jax_linear,
        onnx=_onnx_linear,
        constants=("w", "b"),
        prepared=_prepared_linear,
    ),
)  # fmt: skip
