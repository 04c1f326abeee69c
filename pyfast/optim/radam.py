"""RAdam: Adam whose scale waits until it can be trusted."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from .. import _core
from .optimizer import Group, Optimizer

__all__ = ["RAdam"]


class RAdam(Optimizer):
    r"""Adam rectified by how certain its second moment is.

    With :math:`\rho_\infty = 2 / (1 - \beta_2) - 1` and :math:`\rho_t = \rho_\infty -
    2 t \beta_2^t / (1 - \beta_2^t)`, the step is a plain one along the mean while
    :math:`\rho_t \le 5`, and afterwards

    .. math::
        p \leftarrow p - \gamma r_t \frac{m}{1 - \beta_1^t}
        \frac{\sqrt{1 - \beta_2^t}}{\sqrt{v} + \epsilon}, \qquad r_t^2 =
        \frac{(\rho_t - 4)(\rho_t - 2) \rho_\infty}{(\rho_\infty - 4)(\rho_\infty - 2) \rho_t}

    (Liu et al., "On the variance of the adaptive learning rate and beyond", 2020, algorithm 2; the
    threshold is PyTorch's.)

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
    >>> optimizer = pf.optim.RAdam([p], lr=0.1)
    >>> (p**2).sum().backward()
    >>> optimizer.step()
    >>> p.numpy().round(6)
    array([0.8])
    """

    _kernel = staticmethod(_core.radam_step)

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
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
                "decoupled_weight_decay": decoupled_weight_decay,
                "maximize": maximize,
            },
        )

    def _state_names(self, group: Group) -> tuple[str | None, ...]:
        return ("exp_avg", "exp_avg_sq")
