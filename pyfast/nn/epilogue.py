"""Activations by the names under which layers apply them behind their own sums."""

from __future__ import annotations

from typing import Any

from .. import ops
from . import activation as act
from .module import Module

__all__ = ["apply_named", "fused_name"]

# What conv, linear and batch_norm apply behind their sums, and the settings they do it with.
_ACTIVATIONS: dict[type[Module], tuple[str, dict[str, Any]]] = {
    act.ReLU: ("relu", {}),
    act.ReLU6: ("relu6", {}),
    act.LeakyReLU: ("leaky_relu", {"negative_slope": 0.01}),
    act.ELU: ("elu", {"alpha": 1.0}),
    act.Sigmoid: ("sigmoid", {}),
    act.Tanh: ("tanh", {}),
    act.SiLU: ("silu", {}),
    act.Softplus: ("softplus", {"beta": 1.0, "threshold": 20.0}),
    act.Mish: ("mish", {}),
    act.Hardswish: ("hardswish", {}),
    act.Hardsigmoid: ("hardsigmoid", {}),
}


def fused_name(module: Module) -> str | None:
    """What ``activation=`` calls a module.

    Parameters
    ----------
    module : Module

    Returns
    -------
    str or None
        None if it is no activation, or one with settings that ``activation=`` cannot express.

    Examples
    --------
    >>> from pyfast import nn
    >>> fused_name(nn.GELU("tanh")), fused_name(nn.ELU(0.5))
    ('gelu_tanh', None)
    """
    if type(module) is act.GELU:
        return "gelu_tanh" if module.approximate == "tanh" else "gelu"
    name, settings = _ACTIVATIONS.get(type(module), (None, {}))
    return name if all(getattr(module, k) == v for k, v in settings.items()) else None


def apply_named(name: str | None, x: Any) -> Any:
    """Apply what ``activation=`` calls `name`.

    Parameters
    ----------
    name : str or None
    x : array

    Returns
    -------
    array

    Examples
    --------
    >>> import numpy as np
    >>> apply_named("relu", np.array([-1.0, 2.0]))
    array([0., 2.])
    """
    if name is None:
        return x
    return ops.gelu(x, "tanh") if name == "gelu_tanh" else getattr(ops, name)(x)
