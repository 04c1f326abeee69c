"""How large the gradients are, layer by layer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from ..nn.module import Module

__all__ = ["GradientFlow", "gradient_flow"]

Array = np.ndarray[Any, Any]


@dataclass(frozen=True)
class GradientFlow:
    """Sizes of the gradients; one entry for each parameter, from the input to the output.

    Attributes
    ----------
    names : list of str
    mean, maximum : array of shape (p,)
        Of the absolute gradient.
    relative : array of shape (p,)
        ‖gradient‖ / ‖parameter‖; inf for a parameter of zeros.
    """

    names: list[str]
    mean: Array
    maximum: Array
    relative: Array


def gradient_flow(model: Module, *, biases: bool = False) -> GradientFlow:
    """The sizes of the gradients that the last backward left in ``.grad``.

    Gradients that shrink layer by layer towards the input vanish; that grow, explode.

    Parameters
    ----------
    model : Module
    biases : bool
        Whether to show parameters of one axis, too.

    Returns
    -------
    GradientFlow

    Raises
    ------
    ValueError
        If no parameter has a gradient.

    Examples
    --------
    >>> import numpy as np
    >>> import pyfast as pf
    >>> model = pf.nn.Sequential(pf.nn.Linear(2, 2), pf.nn.Tanh(), pf.nn.Linear(2, 1))
    >>> model(pf.Tensor(np.ones((1, 2), np.float32))).sum().backward()
    >>> pf.analysis.gradient_flow(model).names
    ['0.weight', '2.weight']
    """
    pairs = [
        (name, p.data, p.grad.data)
        for name, p in model.named_parameters()
        if p.grad is not None and (biases or p.ndim > 1) and p.size
    ]
    if not pairs:
        raise ValueError("gradient_flow: no parameter has a gradient; call loss.backward() first")
    with np.errstate(divide="ignore"):
        return GradientFlow(
            [name for name, _, _ in pairs],
            np.array([np.abs(g).mean() for _, _, g in pairs]),
            np.array([np.abs(g).max() for _, _, g in pairs]),
            np.array([_length(g) / np.float64(_length(p)) if _length(p) else np.inf
                      for _, p, g in pairs]),
        )  # fmt: skip


def _length(array: Array) -> float:
    return float(np.linalg.norm(array))
