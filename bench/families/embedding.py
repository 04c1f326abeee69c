"""Embedding look-up and dropout."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

import pyfast as pf

from ..family import Call, Family, Shape

Params = Mapping[str, Any]


def _tokens(rng: np.random.Generator, size: tuple[int, ...]) -> Any:
    return rng.integers(0, 1000, size)


def _torch(a: Any, p: Params) -> Call:
    import torch

    return lambda: torch.nn.functional.embedding(a["tokens"], a["w"])


def _torch_dropout(a: Any, p: Params) -> Call:
    import torch

    return lambda: torch.nn.functional.dropout(a["x"], 0.1)


FAMILIES = (
    Family(
        "embedding",
        (
            Shape(
                "16x128 of 30000x512",
                {"tokens": (16, 128), "w": (30000, 512)},
                8.0 * 16 * 128 * 512,
                "byte",
                make={"tokens": _tokens},
            ),
        ),
        lambda a, p: lambda: pf.ops.embedding(a["tokens"], a["w"]),
        lambda a, p: lambda: np.take(a["w"], a["tokens"], axis=0),
        _torch,
        lambda jax, p: lambda tokens, w: jax.numpy.take(w, tokens, axis=0),
        lambda helper, p: [helper.make_node("Gather", ["w", "tokens"], ["output"])],
        constants=("w",),
    ),
    Family(
        "dropout",
        (Shape("16x128x512", {"x": (16, 128, 512)}, 8.0 * 16 * 128 * 512, "byte"),),
        lambda a, p: lambda: pf.ops.dropout(a["x"], 0.1),
        torch=_torch_dropout,
        rtol=float("inf"),  # random: there is nothing to compare
    ),
)
