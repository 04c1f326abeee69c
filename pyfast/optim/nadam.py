"""NAdam: Adam with Nesterov's momentum."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from .. import _core
from .optimizer import Group, Optimizer, Slots

__all__ = ["NAdam"]


class NAdam(Optimizer):
    r"""Adam that looks ahead: the step joins the gradient and the next step's momentum.

    With :math:`\mu_t = \beta_1 (1 - 0.96^{t \psi} / 2)` and :math:`M_t = \mu_1 \cdots \mu_t`,

    .. math::
        p \leftarrow p - \gamma \left( \frac{1 - \mu_t}{1 - M_t}\, g
        + \frac{\mu_{t+1}}{1 - M_{t+1}}\, m \right) \Big/
        \left( \sqrt{v / (1 - \beta_2^t)} + \epsilon \right)

    (Dozat, "Incorporating Nesterov momentum into Adam", 2016, algorithm 2.)

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
    momentum_decay : float
        ψ.
    decoupled_weight_decay : bool
        Shrink the parameters by 1 - γλ instead of adding to the gradient.
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
    >>> optimizer = pf.optim.NAdam([p], lr=0.1)
    >>> (p**2).sum().backward()
    >>> optimizer.step()
    >>> p.numpy().round(6)
    array([0.894355])
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 2e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
        momentum_decay: float = 4e-3,
        decoupled_weight_decay: bool = False,
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
                "momentum_decay": momentum_decay,
                "decoupled_weight_decay": decoupled_weight_decay,
                "maximize": maximize,
            },
        )

    def _state_names(self, group: Group) -> tuple[str | None, ...]:
        return ("exp_avg", "exp_avg_sq")

    def _move(self, slots: Slots) -> None:
        steps = [state["step"] + 1 for state in slots.states]
        products = [
            state.get("mu_product", 1.0) * self._momentum(self.param_groups[group], step)
            for state, group, step in zip(slots.states, slots.groups, steps, strict=True)
        ]
        _core.nadam_step(
            slots.params,
            slots.grads,
            slots.arrays(),
            steps,
            slots.groups,
            self.param_groups,
            products,
        )
        for state, product in zip(slots.states, products, strict=True):
            state["mu_product"] = product

    @staticmethod
    def _momentum(group: Group, step: int) -> float:
        beta: float = group["betas"][0]
        return beta * (1 - 0.5 * 0.96 ** (step * group["momentum_decay"]))
