"""A schedule that looks at a validation score."""

from __future__ import annotations

import math
from typing import Any, SupportsFloat

from ..optimizer import Optimizer
from .base import count, per_group, require_optimizer

__all__ = ["ReduceLROnPlateau"]


class ReduceLROnPlateau:
    """Multiplies the learning rate by `factor` when a score has not improved for a while.

    Parameters
    ----------
    optimizer : Optimizer
    mode : {"min", "max"}
        Whether a smaller or a larger score is better.
    factor : float
        Below 1.
    patience : int
        Steps without improvement that are borne.
    threshold : float
        What counts as an improvement.
    threshold_mode : {"rel", "abs"}
        Whether `threshold` is a share of the best score or a difference to it.
    cooldown : int
        Steps after a reduction in which nothing is counted.
    min_lr : float, or list of float
        The lowest; a list has one for each group.
    eps : float
        A reduction smaller than this is not made.

    Raises
    ------
    ValueError
        If a setting is out of range.

    Examples
    --------
    >>> import numpy as np
    >>> import pyfast as pf
    >>> optimizer = pf.optim.SGD([pf.nn.Parameter(np.ones(1))], lr=1.0)
    >>> scheduler = pf.optim.lr_scheduler.ReduceLROnPlateau(optimizer, patience=1)
    >>> for loss in (0.5, 0.6, 0.6):
    ...     scheduler.step(loss)
    >>> scheduler.get_last_lr()
    [0.1]
    """

    def __init__(
        self,
        optimizer: Optimizer,
        mode: str = "min",
        factor: float = 0.1,
        patience: int = 10,
        threshold: float = 1e-4,
        threshold_mode: str = "rel",
        cooldown: int = 0,
        min_lr: float | list[float] = 0.0,
        eps: float = 1e-8,
    ) -> None:
        name = "ReduceLROnPlateau"
        self.optimizer = require_optimizer(name, optimizer)
        if mode not in ("min", "max"):
            raise ValueError(f"{name}: mode must be 'min' or 'max', got {mode!r}")
        if threshold_mode not in ("rel", "abs"):
            raise ValueError(
                f"{name}: threshold_mode must be 'rel' or 'abs', got {threshold_mode!r}"
            )
        if not 0 <= factor < 1:
            raise ValueError(f"{name}: factor must be in [0, 1), got {factor}")
        self.mode, self.factor = mode, factor
        self.patience = count(name, "patience", patience, 0)
        self.threshold, self.threshold_mode = threshold, threshold_mode
        self.cooldown, self.eps = count(name, "cooldown", cooldown, 0), eps
        self.min_lrs = per_group(name, "min_lr", min_lr, optimizer.param_groups)
        self.best = math.inf if mode == "min" else -math.inf
        self.num_bad_epochs = self.cooldown_counter = self.last_epoch = 0

    def step(self, metrics: SupportsFloat) -> None:
        """Count a score, and reduce the learning rate if it is time.

        Parameters
        ----------
        metrics : float
            NaN counts as no improvement.
        """
        score = float(metrics)
        self.last_epoch += 1
        if self._is_better(score):
            self.best, self.num_bad_epochs = score, 0
        else:
            self.num_bad_epochs += 1
        if self.cooldown_counter > 0:
            self.cooldown_counter -= 1
            self.num_bad_epochs = 0
        if self.num_bad_epochs > self.patience:
            self._reduce()
            self.cooldown_counter, self.num_bad_epochs = self.cooldown, 0

    def _is_better(self, score: float) -> bool:
        sign = 1 if self.mode == "min" else -1
        if self.threshold_mode == "rel":
            return sign * score < sign * self.best * (1 - sign * self.threshold)
        return sign * score < sign * self.best - self.threshold

    def _reduce(self) -> None:
        for group, lowest in zip(self.optimizer.param_groups, self.min_lrs, strict=True):
            lr = max(group["lr"] * self.factor, lowest)
            if group["lr"] - lr > self.eps:
                group["lr"] = lr

    def get_last_lr(self) -> list[float]:
        """The learning rates of the groups.

        Returns
        -------
        list of float
        """
        return [float(group["lr"]) for group in self.optimizer.param_groups]

    def state_dict(self) -> dict[str, Any]:
        """Everything but the optimizer, which keeps the learning rates.

        Returns
        -------
        dict
        """
        return {k: v for k, v in self.__dict__.items() if k != "optimizer"}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on from what :meth:`state_dict` gave; load the optimizer's state too.

        Parameters
        ----------
        state_dict : dict
        """
        self.__dict__.update({k: v for k, v in state_dict.items() if k in self.state_dict()})
