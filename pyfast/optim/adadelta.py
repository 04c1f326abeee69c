"""Adadelta: steps in the units of the parameters."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from .. import _core
from .optimizer import Group, Optimizer

__all__ = ["Adadelta"]


class Adadelta(Optimizer):
    r"""Steps scaled by the ratio of past steps to past gradients, as running root mean squares.

    .. math::
        v \leftarrow \rho v + (1 - \rho) g^2, \quad
        \Delta = \frac{\sqrt{u + \epsilon}}{\sqrt{v + \epsilon}}\, g, \quad
        u \leftarrow \rho u + (1 - \rho) \Delta^2, \quad p \leftarrow p - \gamma\Delta

    (Zeiler, "ADADELTA: an adaptive learning rate method", 2012, algorithm 1.)

    Parameters
    ----------
    params : iterable of Tensor, or of dict
    lr : float
        γ, a factor on the step.
    rho : float
        ρ, how much of the past is kept.
    eps : float
        ϵ.
    weight_decay : float
        λ, the L2 penalty: λp is added to the gradient.
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
    >>> optimizer = pf.optim.Adadelta([p], lr=0.1)
    >>> (p**2).sum().backward()
    >>> optimizer.step()
    >>> p.numpy().round(6)
    array([0.999684])
    """

    _kernel = staticmethod(_core.adadelta_step)

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1.0,
        rho: float = 0.9,
        eps: float = 1e-6,
        weight_decay: float = 0.0,
        *,
        maximize: bool = False,
    ) -> None:
        super().__init__(
            params,
            {
                "lr": lr,
                "rho": rho,
                "eps": eps,
                "weight_decay": weight_decay,
                "maximize": maximize,
            },
        )

    def _state_names(self, group: Group) -> tuple[str | None, ...]:
        return ("square_avg", "acc_delta")
