"""Schedules that are a function of the step: decays, ramps and functions of one's own."""

from __future__ import annotations

import bisect
import math
from collections.abc import Callable, Iterable

from ..optimizer import Optimizer
from .base import FactorLR, LRScheduler, count, within

__all__ = [
    "ConstantLR",
    "CosineAnnealingLR",
    "ExponentialLR",
    "LambdaLR",
    "LinearLR",
    "MultiStepLR",
    "MultiplicativeLR",
    "PolynomialLR",
    "StepLR",
]

Lambda = Callable[[int], float]


class StepLR(FactorLR):
    """Multiplied by `gamma` every `step_size` steps.

    Parameters
    ----------
    optimizer : Optimizer
    step_size : int
    gamma : float
    last_epoch : int
        See :class:`LRScheduler`.

    Raises
    ------
    ValueError
        If `step_size` is not positive, or `gamma` is negative.

    Examples
    --------
    >>> import numpy as np
    >>> import pyfast as pf
    >>> optimizer = pf.optim.SGD([pf.nn.Parameter(np.ones(1))], lr=1.0)
    >>> scheduler = pf.optim.lr_scheduler.StepLR(optimizer, 2, gamma=0.5)
    >>> for _ in range(5):
    ...     print(scheduler.get_last_lr()[0], end=" ")
    ...     scheduler.step()
    1.0 1.0 0.5 0.5 0.25
    """

    def __init__(
        self, optimizer: Optimizer, step_size: int, gamma: float = 0.1, last_epoch: int = -1
    ) -> None:
        self.step_size = count("StepLR", "step_size", step_size)
        self.gamma = within("StepLR", "gamma", gamma, 0.0, math.inf)
        super().__init__(optimizer, last_epoch)

    def factor(self, step: int) -> float:
        """Gamma to the number of whole periods."""
        return self.gamma ** (step // self.step_size)


class MultiStepLR(FactorLR):
    """Multiplied by `gamma` at each milestone.

    Parameters
    ----------
    optimizer : Optimizer
    milestones : iterable of int
        One that is given twice counts twice.
    gamma : float
    last_epoch : int
        See :class:`LRScheduler`.
    """

    def __init__(
        self,
        optimizer: Optimizer,
        milestones: Iterable[int],
        gamma: float = 0.1,
        last_epoch: int = -1,
    ) -> None:
        self.milestones = sorted(count("MultiStepLR", "milestones", m, 0) for m in milestones)
        self.gamma = within("MultiStepLR", "gamma", gamma, 0.0, math.inf)
        super().__init__(optimizer, last_epoch)

    def factor(self, step: int) -> float:
        """Gamma to the number of milestones passed."""
        return self.gamma ** bisect.bisect_right(self.milestones, step)


class ExponentialLR(FactorLR):
    """Multiplied by `gamma` every step.

    Parameters
    ----------
    optimizer : Optimizer
    gamma : float
    last_epoch : int
        See :class:`LRScheduler`.

    Raises
    ------
    ValueError
        If `gamma` is negative.
    """

    def __init__(self, optimizer: Optimizer, gamma: float, last_epoch: int = -1) -> None:
        self.gamma = within("ExponentialLR", "gamma", gamma, 0.0, math.inf)
        super().__init__(optimizer, last_epoch)

    def factor(self, step: int) -> float:
        """Gamma to the step."""
        return self.gamma**step


class ConstantLR(FactorLR):
    """Multiplied by `factor` until `total_iters`, then as it was.

    Parameters
    ----------
    optimizer : Optimizer
    factor : float
        In [0, 1].
    total_iters : int
    last_epoch : int
        See :class:`LRScheduler`.

    Raises
    ------
    ValueError
        If `factor` is outside [0, 1].
    """

    def __init__(
        self,
        optimizer: Optimizer,
        factor: float = 1.0 / 3,
        total_iters: int = 5,
        last_epoch: int = -1,
    ) -> None:
        self._factor = within("ConstantLR", "factor", factor, 0, 1)
        self.total_iters = count("ConstantLR", "total_iters", total_iters, 0)
        super().__init__(optimizer, last_epoch)

    def factor(self, step: int) -> float:
        """The factor, and 1 from total_iters on."""
        return self._factor if step < self.total_iters else 1.0


class LinearLR(FactorLR):
    """Multiplied by a factor that goes from one value to another in a straight line.

    Parameters
    ----------
    optimizer : Optimizer
    start_factor : float
        In (0, 1].
    end_factor : float
        In [0, 1].
    total_iters : int
        Steps from one to the other.
    last_epoch : int
        See :class:`LRScheduler`.

    Raises
    ------
    ValueError
        If a factor is out of range.
    """

    def __init__(
        self,
        optimizer: Optimizer,
        start_factor: float = 1.0 / 3,
        end_factor: float = 1.0,
        total_iters: int = 5,
        last_epoch: int = -1,
    ) -> None:
        if not 0 < start_factor <= 1:
            raise ValueError(f"LinearLR: start_factor must be in (0, 1], got {start_factor}")
        self.start_factor = start_factor
        self.end_factor = within("LinearLR", "end_factor", end_factor, 0, 1)
        self.total_iters = count("LinearLR", "total_iters", total_iters)
        super().__init__(optimizer, last_epoch)

    def factor(self, step: int) -> float:
        """The straight line, and its end from total_iters on."""
        share = min(step, self.total_iters) / self.total_iters
        return self.start_factor + (self.end_factor - self.start_factor) * share


class PolynomialLR(FactorLR):
    """Down to zero as ``(1 - step / total_iters) ** power``.

    Parameters
    ----------
    optimizer : Optimizer
    total_iters : int
    power : float
    last_epoch : int
        See :class:`LRScheduler`.
    """

    def __init__(
        self, optimizer: Optimizer, total_iters: int = 5, power: float = 1.0, last_epoch: int = -1
    ) -> None:
        self.total_iters = count("PolynomialLR", "total_iters", total_iters)
        self.power = power
        super().__init__(optimizer, last_epoch)

    def factor(self, step: int) -> float:
        """The polynomial, and 0 from total_iters on."""
        return float((1 - min(step, self.total_iters) / self.total_iters) ** self.power)


class CosineAnnealingLR(FactorLR):
    r"""Half a cosine from the base learning rate down to `eta_min`, and up again if it goes on.

    .. math:: \gamma_t = \gamma_{\min} + (\gamma_0 - \gamma_{\min}) (1 + \cos(\pi t / T)) / 2

    (Loshchilov and Hutter, "SGDR: stochastic gradient descent with warm restarts", 2017, equation
    5, without the restarts.)

    Parameters
    ----------
    optimizer : Optimizer
    T_max : int
        T, the steps of half a period.
    eta_min : float
        The lowest learning rate.
    last_epoch : int
        See :class:`LRScheduler`.
    """

    def __init__(
        self, optimizer: Optimizer, T_max: int, eta_min: float = 0.0, last_epoch: int = -1
    ) -> None:
        self.T_max = count("CosineAnnealingLR", "T_max", T_max)
        self.eta_min = self.floor = float(eta_min)
        super().__init__(optimizer, last_epoch)

    def factor(self, step: int) -> float:
        """The cosine, in [0, 1]."""
        return (1 + math.cos(math.pi * step / self.T_max)) / 2


class LambdaLR(LRScheduler):
    """The base learning rate multiplied by a function of the step.

    Parameters
    ----------
    optimizer : Optimizer
    lr_lambda : callable, or list of callable
        From the step to a factor; a list has one for each group.
    last_epoch : int
        See :class:`LRScheduler`.

    Raises
    ------
    ValueError
        If a list has another length than the groups.
    """

    def __init__(
        self, optimizer: Optimizer, lr_lambda: Lambda | list[Lambda], last_epoch: int = -1
    ) -> None:
        self.lr_lambdas = _lambdas("LambdaLR", lr_lambda, optimizer)
        super().__init__(optimizer, last_epoch)

    def get_lr(self) -> list[float]:
        """The learning rates of step ``last_epoch``."""
        pairs = zip(self.base_lrs, self.lr_lambdas, strict=True)
        return [base * f(self.last_epoch) for base, f in pairs]


class MultiplicativeLR(LRScheduler):
    """The learning rate multiplied at every step by a function of the step.

    Parameters
    ----------
    optimizer : Optimizer
    lr_lambda : callable, or list of callable
        From the step, counted from 1, to a factor; a list has one for each group.
    last_epoch : int
        See :class:`LRScheduler`.

    Raises
    ------
    ValueError
        If a list has another length than the groups.
    """

    def __init__(
        self, optimizer: Optimizer, lr_lambda: Lambda | list[Lambda], last_epoch: int = -1
    ) -> None:
        self.lr_lambdas = _lambdas("MultiplicativeLR", lr_lambda, optimizer)
        super().__init__(optimizer, last_epoch)

    def closed_form_lr(self) -> list[float]:
        """The product of all factors so far."""
        pairs = zip(self.base_lrs, self.lr_lambdas, strict=True)
        steps = range(1, self.last_epoch + 1)
        return [base * math.prod(f(step) for step in steps) for base, f in pairs]

    def _first_lr(self) -> list[float]:
        return self._current()

    def get_lr(self) -> list[float]:
        """The learning rates of step ``last_epoch``, given those of the step before it."""
        pairs = zip(self._current(), self.lr_lambdas, strict=True)
        return [lr * f(self.last_epoch) for lr, f in pairs]


def _lambdas(name: str, given: Lambda | list[Lambda], optimizer: Optimizer) -> list[Lambda]:
    groups = len(optimizer.param_groups)
    functions = list(given) if isinstance(given, list | tuple) else [given] * groups
    if len(functions) != groups:
        raise ValueError(f"{name}: lr_lambda must have {groups} functions, got {len(functions)}")
    if not all(map(callable, functions)):
        raise TypeError(f"{name}: lr_lambda must be callable, got {given!r}")
    return functions
