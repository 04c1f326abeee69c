"""Cross-entropy."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

import pyfast as pf

from ..family import Arrays, Call, Family, Shape

Params = Mapping[str, Any]


def _labels(rng: np.random.Generator, size: tuple[int, ...]) -> Any:
    return rng.integers(0, 10, size)


def _shape(rows: int, classes: int) -> Shape:
    return Shape(
        f"{rows}x{classes}",
        {"x": (rows, classes), "y": (rows,)},
        4.0 * rows * classes,
        "byte",
        make={"y": _labels},
    )


def _numpy(a: Arrays, p: Params) -> Call:
    rows = np.arange(len(a["x"]))

    def call() -> Any:
        shifted = a["x"] - a["x"].max(-1, keepdims=True)
        return np.mean(np.log(np.exp(shifted).sum(-1)) - shifted[rows, a["y"]])

    return call


def _torch(a: Any, p: Params) -> Call:
    import torch

    return lambda: torch.nn.functional.cross_entropy(a["x"], a["y"])


def _jax(jax: Any, p: Params) -> Any:
    def call(x: Any, y: Any) -> Any:
        picked = jax.numpy.take_along_axis(jax.nn.log_softmax(x), y[:, None], 1)
        return -picked.mean()

    return call


FAMILIES = (
    Family(
        "cross_entropy",
        (_shape(64, 10), _shape(2048, 1000), _shape(512, 32000)),
        lambda a, p: lambda: pf.ops.cross_entropy(a["x"], a["y"]),
        _numpy,
        _torch,
        _jax,
    ),
)
