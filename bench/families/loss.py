"""Cross-entropy."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

import pyfast as pf

from ..family import Arrays, Call, Family, Shape
from ..gradients import pyfast_backward, torch_backward

Params = Mapping[str, Any]


def _labels(rng: np.random.Generator, size: tuple[int, ...]) -> Any:
    return rng.integers(0, 10, size)


def _shape(rows: int, classes: int) -> Shape:
    return Shape(
        f"{rows}x{classes}",
        {"x": (rows, classes), "y": (rows,), "one": ()},
        4.0 * rows * classes,
        "byte",
        make={"y": _labels, "one": lambda rng, size: np.ones(size, np.float32)},
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
    def call(x: Any, y: Any, one: Any) -> Any:
        picked = jax.numpy.take_along_axis(jax.nn.log_softmax(x), y[:, None], 1)
        return -picked.mean()

    return call


ENTROPIES = (_shape(64, 10), _shape(2048, 1000), _shape(512, 32000))

FAMILIES = (
    Family(
        "cross_entropy",
        ENTROPIES,
        lambda a, p: lambda: pf.ops.cross_entropy(a["x"], a["y"]),
        _numpy,
        _torch,
        _jax,
    ),
    Family(
        "cross_entropy backward",
        ENTROPIES,
        pyfast_backward(lambda a, p: pf.ops.cross_entropy(a["x"], a["y"]), ["x"], "one"),
        torch=torch_backward(lambda a, p: _torch(a, p)(), ["x"], "one"),
        work=2.0,
    ),
)
