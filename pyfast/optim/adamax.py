"""Adamax: Adam with the largest gradient in place of the mean square."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from .. import _core
from .optimizer import Group, Optimizer

__all__ = ["Adamax"]


class Adamax(Optimizer):
    r"""Adam whose scale is a decaying maximum of the gradient's magnitude.

    .. math::
        m \leftarrow \beta_1 m + (1 - \beta_1) g, \quad
        u \leftarrow \max(\beta_2 u, |g| + \epsilon), \quad
        p \leftarrow p - \frac{\gamma}{1 - \beta_1^t} \frac{m}{u}

    (Kingma and Ba, "Adam: a method for stochastic optimization", 2015, algorithm 2.)

    Parameters
    ----------
    params : iterable of Tensor, or of dict
    lr : float
        γ, the learning rate.
    betas : (float, float)
        β₁ and β₂.
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
    >>> optimizer = pf.optim.Adamax([p], lr=0.1)
    >>> (p**2).sum().backward()
    >>> optimizer.step()
    >>> p.numpy().round(6)
    array([0.9])
    """

    _kernel = staticmethod(_core.adamax_step)

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 2e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
        *,
        maximize: bool = False,
    ) -> None:
        super().__init__(
            params,
            {
                "lr": lr,
                "betas": betas,
                "eps": eps,
                "weight_decay": weight_decay,
                "maximize": maximize,
            },
        )

    def _state_names(self, group: Group) -> tuple[str | None, ...]:
        return ("exp_avg", "exp_inf")
