"""Adam, and AdamW with its decoupled weight decay."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, ClassVar

import numpy as np

from .. import _core
from .._tensor import Tensor
from .optimizer import Group, Optimizer, gradient_arrays

__all__ = ["Adam", "AdamW"]


class Adam(Optimizer):
    r"""Steps scaled by running estimates of the gradient's mean and square.

    .. math::
        m \leftarrow \beta_1 m + (1 - \beta_1) g, \quad
        v \leftarrow \beta_2 v + (1 - \beta_2) g^2, \quad
        p \leftarrow p - \gamma\, \frac{m / (1 - \beta_1^t)}{\sqrt{v / (1 - \beta_2^t)} + \epsilon}

    (Kingma and Ba, "Adam: a method for stochastic optimization", 2015, algorithm 1; `amsgrad`:
    Reddi, Kale and Kumar, 2018.) The weight decay is added to the gradient; :class:`AdamW`
    decouples it.

    Parameters
    ----------
    params : iterable of Tensor, or of dict
    lr : float
        γ, the learning rate.
    betas : (float, float)
        β₁ and β₂.
    eps : float
    weight_decay : float
        The L2 penalty.
    amsgrad : bool
        Use the largest v so far.
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
    >>> optimizer = pf.optim.Adam([p], lr=0.1)
    >>> (p**2).sum().backward()
    >>> optimizer.step()
    >>> p.numpy().round(6)
    array([0.9])
    """

    _decoupled: ClassVar[bool] = False

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
        amsgrad: bool = False,
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
                "amsgrad": amsgrad,
                "maximize": maximize,
            },
        )

    def _update(self, group: Group, params: list[Tensor], states: list[dict[str, Any]]) -> None:
        names = ["exp_avg", "exp_avg_sq"]
        if group["amsgrad"]:
            names.append("max_exp_avg_sq")
        for p, state in zip(params, states, strict=True):
            for name in names:
                if state.get(name) is None:
                    state[name] = np.zeros(p.data.shape, p.data.dtype)
        _core.adam_step(
            [p.data for p in params],
            gradient_arrays(params),
            [state["exp_avg"] for state in states],
            [state["exp_avg_sq"] for state in states],
            [state["max_exp_avg_sq"] for state in states] if group["amsgrad"] else [],
            [state["step"] + 1 for state in states],
            group["lr"],
            group["betas"][0],
            group["betas"][1],
            group["eps"],
            group["weight_decay"],
            bool(group["maximize"]),
            self._decoupled,
        )
        for state in states:
            state["step"] += 1


class AdamW(Adam):
    r"""Adam whose weight decay shrinks the parameters themselves, not the gradient.

    .. math:: p \leftarrow (1 - \gamma\lambda)\, p \quad \text{before Adam's step}

    (Loshchilov and Hutter, "Decoupled weight decay regularization", 2019, algorithm 2.)

    Parameters
    ----------
    params : iterable of Tensor, or of dict
    lr : float
        γ, the learning rate.
    betas : (float, float)
        β₁ and β₂.
    eps : float
    weight_decay : float
        λ.
    amsgrad : bool
        Use the largest v so far.
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
    >>> optimizer = pf.optim.AdamW([p], lr=0.1, weight_decay=0.5)
    >>> (p**2).sum().backward()
    >>> optimizer.step()
    >>> p.numpy().round(6)
    array([0.85])
    """

    _decoupled = True

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 1e-2,
        amsgrad: bool = False,
        *,
        maximize: bool = False,
    ) -> None:
        super().__init__(params, lr, betas, eps, weight_decay, amsgrad, maximize=maximize)
