"""Adagrad: every parameter has a learning rate that shrinks with its past gradients."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from .. import _core
from .optimizer import Array, Group, Missing, Optimizer

__all__ = ["Adagrad"]


class Adagrad(Optimizer):
    r"""Steps divided by the root of the sum of all past squared gradients.

    .. math::
        s \leftarrow s + g^2, \qquad
        p \leftarrow p - \frac{\gamma}{1 + (t - 1)\eta} \frac{g}{\sqrt{s} + \epsilon}

    (Duchi, Hazan and Singer, "Adaptive subgradient methods for online learning and stochastic
    optimization", 2011.)

    Parameters
    ----------
    params : iterable of Tensor, or of dict
    lr : float
        γ, the learning rate.
    lr_decay : float
        η.
    weight_decay : float
        λ, the L2 penalty: λp is added to the gradient.
    initial_accumulator_value : float
        What s starts from.
    eps : float
        ϵ.
    maximize : bool
        Climb instead.

    Raises
    ------
    ValueError
        If a setting is out of range, or a parameter is given twice.

    Examples
    --------
    >>> import numpy as np
    >>> import pyfast as pf
    >>> p = pf.Tensor(np.array([1.0]), requires_grad=True)
    >>> optimizer = pf.optim.Adagrad([p], lr=0.1)
    >>> (p**2).sum().backward()
    >>> optimizer.step()
    >>> p.numpy().round(6)
    array([0.9])
    """

    _kernel = staticmethod(_core.adagrad_step)

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1e-2,
        lr_decay: float = 0.0,
        weight_decay: float = 0.0,
        initial_accumulator_value: float = 0.0,
        eps: float = 1e-10,
        *,
        maximize: bool = False,
    ) -> None:
        super().__init__(
            params,
            {
                "lr": lr,
                "lr_decay": lr_decay,
                "weight_decay": weight_decay,
                "initial_accumulator_value": initial_accumulator_value,
                "eps": eps,
                "maximize": maximize,
            },
        )

    def _state_names(self, group: Group) -> tuple[str | None, ...]:
        return ("sum",)

    def _initialise(self, made: Missing, array: Array) -> None:
        array[...] = made.group["initial_accumulator_value"]
