"""Stochastic gradient descent."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from .. import _core
from .._tensor import Tensor
from .optimizer import Group, Optimizer, gradient_arrays

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

    def _update(self, group: Group, params: list[Tensor], states: list[dict[str, Any]]) -> None:
        buffers = []
        if group["momentum"]:
            for p, state in zip(params, states, strict=True):
                if state.get("momentum_buffer") is None:
                    state["momentum_buffer"] = np.zeros(p.data.shape, p.data.dtype)
                    state["step"] = 0  # the buffer starts as the gradient itself
                buffers.append(state["momentum_buffer"])
        _core.sgd_step(
            [p.data for p in params],
            gradient_arrays(params),
            buffers,
            [state["step"] + 1 for state in states],
            group["lr"],
            group["momentum"],
            group["dampening"],
            group["weight_decay"],
            bool(group["nesterov"]),
            bool(group["maximize"]),
        )
        for state in states:
            state["step"] += 1
