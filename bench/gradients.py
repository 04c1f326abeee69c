"""Builders of calls that time a backward pass alone: the graph is made once, outside the timing."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

import pyfast as pf

from .family import Arrays, Call

Params = Mapping[str, Any]


def pyfast_backward(function: Callable[..., Any], names: Sequence[str], seed: str = "g") -> Any:
    """``function(arrays, params)`` run backward from the array `seed` to the arrays `names`."""

    def build(a: Arrays, p: Params) -> Call:
        tensors = {k: pf.Tensor(v, requires_grad=k in names) for k, v in a.items()}
        y = function(tensors, p)
        grad = a[seed].reshape(y.shape)

        def call() -> Any:
            for name in names:
                tensors[name].grad = None
            y.backward(grad, retain_graph=True)
            return tuple(np.asarray(tensors[name].grad) for name in names)

        return call

    return build


def torch_backward(function: Callable[..., Any], names: Sequence[str], seed: str = "g") -> Any:
    """The same for PyTorch."""

    def build(a: Any, p: Params) -> Call:
        import torch

        tensors = {k: v.detach().requires_grad_() if k in names else v for k, v in a.items()}
        y = function(tensors, p)
        grad, wanted = a[seed].reshape(y.shape), [tensors[name] for name in names]
        return lambda: torch.autograd.grad(y, wanted, grad, retain_graph=True)

    return build
