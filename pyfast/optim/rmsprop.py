"""RMSprop: Adagrad that forgets."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from .. import _core
from .optimizer import Group, Optimizer

__all__ = ["RMSprop"]


class RMSprop(Optimizer):
    r"""Steps divided by the root of a running mean of squared gradients.

    .. math::
        v \leftarrow \alpha v + (1 - \alpha) g^2, \qquad
        p \leftarrow p - \gamma \frac{g}{\sqrt{v} + \epsilon}

    (Hinton, "Neural networks for machine learning", lecture 6e, 2012; `centered`: Graves,
    "Generating sequences with recurrent neural networks", 2013, section 4.2.)

    Parameters
    ----------
    params : iterable of Tensor, or of dict
    lr : float
        γ, the learning rate.
    alpha : float
        α, how much of the past is kept.
    eps : float
        ϵ.
    weight_decay : float
        λ, the L2 penalty: λp is added to the gradient.
    momentum : float
        μ: the quotients are accumulated, and the step is b ← μb + g / (√v + ϵ).
    centered : bool
        Divide by the standard deviation: the squared running mean of g is taken from v.
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
    >>> optimizer = pf.optim.RMSprop([p], lr=0.1)
    >>> (p**2).sum().backward()
    >>> optimizer.step()
    >>> p.numpy().round(6)
    array([0.])
    """

    _kernel = staticmethod(_core.rmsprop_step)

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1e-2,
        alpha: float = 0.99,
        eps: float = 1e-8,
        weight_decay: float = 0.0,
        momentum: float = 0.0,
        centered: bool = False,
        *,
        maximize: bool = False,
    ) -> None:
        super().__init__(
            params,
            {
                "lr": lr,
                "alpha": alpha,
                "eps": eps,
                "weight_decay": weight_decay,
                "momentum": momentum,
                "centered": centered,
                "maximize": maximize,
            },
        )

    def _state_names(self, group: Group) -> tuple[str | None, ...]:
        return (
            "square_avg",
            "grad_avg" if group["centered"] else None,
            "momentum_buffer" if group["momentum"] else None,
        )
