"""A step of an optimizer over all parameters of ResNet-18, against both of PyTorch's fast ways."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

import pyfast as pf

from ..family import Arrays, Call, Family, Shape

Params = Mapping[str, Any]


def _block(channels: int, inputs: int) -> list[tuple[int, ...]]:
    """Two 3 x 3 convolutions, each with a batch norm, and where the width changes a 1 x 1."""
    shapes = []
    for count in (inputs, channels):
        shapes += [(channels, count, 3, 3), (channels,), (channels,)]
    if inputs != channels:
        shapes += [(channels, inputs, 1, 1), (channels,), (channels,)]
    return shapes


def resnet18() -> list[tuple[int, ...]]:
    """The 62 shapes of its 11,689,512 weights (He et al., 2016, table 1)."""
    shapes: list[tuple[int, ...]] = [(64, 3, 7, 7), (64,), (64,)]
    inputs = 64
    for channels in (64, 128, 256, 512):
        shapes += _block(channels, inputs) + _block(channels, channels)
        inputs = channels
    return [*shapes, (1000, 512), (1000,)]


def _shape(name: str, sizes: list[tuple[int, ...]], bytes_per_weight: int, params: Params) -> Shape:
    weights = sum(int(np.prod(s)) for s in sizes)
    named = {f"p{i}": s for i, s in enumerate(sizes)}
    return Shape(name, named, float(bytes_per_weight) * weights, "byte", params)


def _pyfast(a: Arrays, p: Params) -> Call:
    """The parameters' gradients are their own values, put there by backward as in training."""
    parameters = [pf.nn.Parameter(x.copy()) for x in a.values()]
    for q, x in zip(parameters, a.values(), strict=True):
        (q * x).sum().backward()
    return getattr(pf.optim, p["name"])(parameters, **p["settings"]).step


def _torch(a: Any, p: Params, how: str) -> Call:
    import torch

    parameters = [torch.nn.Parameter(x.clone()) for x in a.values()]
    for q, x in zip(parameters, a.values(), strict=True):
        (q * x).sum().backward()
    settings = {**p["settings"], how: True}
    return getattr(torch.optim, p["name"])(parameters, **settings).step


def _family(name: str, traffic: int, fused: bool, **settings: Any) -> tuple[Family, ...]:
    params = {"name": name, "settings": settings}
    text = ", ".join(f"{k}={v}" for k, v in settings.items() if k != "lr")
    shapes = (
        _shape("resnet18", resnet18(), traffic, params),
        _shape("10000 weights", [(10_000,)], traffic, params),
    )
    label = f"{name}({text}) step"
    ways = ("foreach", "fused") if fused else ("foreach",)
    return tuple(
        Family(f"{label} torch {way}", shapes, _pyfast, torch=lambda a, p, w=way: _torch(a, p, w))
        for way in ways
    )


# Bytes a weight: parameter and every state are read and written, the gradient is read.
FAMILIES = (
    *_family("SGD", 12, True, lr=1e-3),
    *_family("SGD", 20, True, lr=1e-3, momentum=0.9),
    *_family("Adagrad", 20, True),
    *_family("Adam", 28, True),
    *_family("Adam", 36, True, amsgrad=True),
    *_family("AdamW", 28, True),
    *_family("RMSprop", 20, False),
    *_family("Adadelta", 28, False),
    *_family("Adamax", 28, False),
    *_family("NAdam", 28, False),
    *_family("RAdam", 28, False),
)
