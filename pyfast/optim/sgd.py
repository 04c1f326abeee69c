"""Stochastic gradient descent."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from .. import _core
from .optimizer import Array, Group, Missing, Optimizer

__all__ = ["SGD"]


class SGD(Optimizer):
    r"""Gradient descent, with momentum, Nesterov's variant and weight decay.

    .. math:: v \leftarrow \mu v + (1 - \tau)(g + \lambda p), \qquad p \leftarrow p - \gamma v

    with v = g + λp at the first step, and g + λp + μv in the place of v for Nesterov (Sutskever et
    al., "On the importance of initialization and momentum in deep learning", 2013, in PyTorch's
    form: the learning rate multiplies the whole step).

    Parameters
    ----------
    params : iterable of Tensor, or of dict
    lr : float
        γ, the learning rate.
    momentum : float
        μ.
    dampening : float
        τ.
    weight_decay : float
        λ, the L2 penalty.
    nesterov : bool
        Needs momentum, and no dampening.
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
    >>> optimizer = pf.optim.SGD([p], lr=0.5)
    >>> (p**2).sum().backward()
    >>> optimizer.step()
    >>> p.numpy()
    array([0.])
    """

    _kernel = staticmethod(_core.sgd_step)

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1e-3,
        momentum: float = 0.0,
        dampening: float = 0.0,
        weight_decay: float = 0.0,
        nesterov: bool = False,
        *,
        maximize: bool = False,
    ) -> None:
        super().__init__(
            params,
            {
                "lr": lr,
                "momentum": momentum,
                "dampening": dampening,
                "weight_decay": weight_decay,
                "nesterov": nesterov,
                "maximize": maximize,
            },
        )

    def _check_settings(self, group: Group) -> None:
        super()._check_settings(group)
        if group["nesterov"] and (group["momentum"] <= 0 or group["dampening"] != 0):
            raise ValueError("SGD: nesterov needs a momentum and zero dampening")

    def _state_names(self, group: Group) -> tuple[str | None, ...]:
        return ("momentum_buffer",) if group["momentum"] else (None,)

    def _initialise(self, made: Missing, array: Array) -> None:
        made.state["step"] = 0  # the buffer starts as the gradient itself
