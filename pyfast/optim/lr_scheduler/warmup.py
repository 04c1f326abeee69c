"""Schedules that begin with a warm-up, as Transformers are trained with."""

from __future__ import annotations

import math

from ..optimizer import Optimizer
from .base import FactorLR, count, within

__all__ = ["InverseSquareRootLR", "WarmupLR"]


class WarmupLR(FactorLR):
    """Up in a straight line for `warmup_steps`, then constant or down. Step it once an update.

    Parameters
    ----------
    optimizer : Optimizer
    warmup_steps : int
        Update t of the warm-up, counted from 0, has the base learning rate times
        ``(t + 1) / warmup_steps``: no update is lost on a learning rate of 0.
    total_steps : int, optional
        Updates in all; needed by "linear" and "cosine".
    decay : {"constant", "linear", "cosine"}
        What follows the warm-up, until `total_steps`.
    end_factor : float
        Where "linear" and "cosine" end, as a share of the base learning rate.
    last_epoch : int
        See :class:`LRScheduler`.

    Raises
    ------
    ValueError
        If a setting is out of range, or `total_steps` is missing.

    Examples
    --------
    >>> import numpy as np
    >>> import pyfast as pf
    >>> optimizer = pf.optim.AdamW([pf.nn.Parameter(np.ones(1))], lr=1.0)
    >>> scheduler = pf.optim.lr_scheduler.WarmupLR(optimizer, 2, 6, decay="linear")
    >>> for _ in range(6):
    ...     print(scheduler.get_last_lr()[0], end=" ")
    ...     scheduler.step()
    0.5 1.0 1.0 0.75 0.5 0.25
    """

    def __init__(
        self,
        optimizer: Optimizer,
        warmup_steps: int,
        total_steps: int | None = None,
        decay: str = "constant",
        end_factor: float = 0.0,
        last_epoch: int = -1,
    ) -> None:
        self.warmup_steps = count("WarmupLR", "warmup_steps", warmup_steps, 0)
        if decay not in ("constant", "linear", "cosine"):
            raise ValueError(f"WarmupLR: decay must be constant, linear or cosine, got {decay!r}")
        if decay != "constant":
            if total_steps is None:
                raise ValueError(f"WarmupLR: decay={decay!r} needs total_steps")
            count("WarmupLR", "total_steps", total_steps, self.warmup_steps + 1)
        self.total_steps, self.decay = total_steps, decay
        self.end_factor = within("WarmupLR", "end_factor", end_factor, 0, 1)
        super().__init__(optimizer, last_epoch)

    def factor(self, step: int) -> float:
        """The warm-up's line, then the decay."""
        if step < self.warmup_steps:
            return (step + 1) / self.warmup_steps
        if self.total_steps is None or self.decay == "constant":
            return 1.0
        share = min((step - self.warmup_steps) / (self.total_steps - self.warmup_steps), 1.0)
        left = 1 - share if self.decay == "linear" else (1 + math.cos(math.pi * share)) / 2
        return self.end_factor + (1 - self.end_factor) * left


class InverseSquareRootLR(FactorLR):
    r"""The Transformer's schedule: a straight line up, then down as the inverse square root.

    .. math:: \gamma_t = \gamma \min(t / w, \sqrt{w / t}), \qquad t = 1, 2, \dots

    so that the base learning rate γ is the peak, reached at update w. With `d_model` it is
    multiplied by :math:`1 / \sqrt{w\, d_{model}}`, which is the paper's formula where γ = 1
    (Vaswani et al., "Attention is all you need", 2017, equation 3). Step it once an update.

    Parameters
    ----------
    optimizer : Optimizer
    warmup_steps : int
        w.
    d_model : int, optional
        The model's width.
    last_epoch : int
        See :class:`LRScheduler`.

    Raises
    ------
    ValueError
        If `warmup_steps` or `d_model` is not positive.

    Examples
    --------
    >>> import numpy as np
    >>> import pyfast as pf
    >>> optimizer = pf.optim.Adam([pf.nn.Parameter(np.ones(1))], lr=1.0)
    >>> scheduler = pf.optim.lr_scheduler.InverseSquareRootLR(optimizer, 4)
    >>> scheduler.step(3)
    >>> scheduler.get_last_lr()
    [1.0]
    >>> scheduler.step(15)
    >>> scheduler.get_last_lr()
    [0.5]
    """

    def __init__(
        self,
        optimizer: Optimizer,
        warmup_steps: int,
        d_model: int | None = None,
        last_epoch: int = -1,
    ) -> None:
        self.warmup_steps = count("InverseSquareRootLR", "warmup_steps", warmup_steps)
        width = 1 if d_model is None else count("InverseSquareRootLR", "d_model", d_model)
        self.peak = 1.0 if d_model is None else 1 / math.sqrt(self.warmup_steps * width)
        super().__init__(optimizer, last_epoch)

    def factor(self, step: int) -> float:
        """The formula, for a step counted from 0."""
        t = step + 1
        return self.peak * min(t / self.warmup_steps, math.sqrt(self.warmup_steps / t))
