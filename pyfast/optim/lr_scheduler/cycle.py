"""Schedules that go up and down, some of them together with the momentum."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

from ..optimizer import Group, Optimizer
from .base import LRScheduler, count, per_group, require_optimizer, within

__all__ = ["CosineAnnealingWarmRestarts", "CyclicLR", "OneCycleLR"]


class CosineAnnealingWarmRestarts(LRScheduler):
    r"""Half a cosine downwards, over and over, each `T_mult` times as long as the one before.

    (Loshchilov and Hutter, "SGDR: stochastic gradient descent with warm restarts", 2017.)

    Parameters
    ----------
    optimizer : Optimizer
    T_0 : int
        Steps until the first restart.
    T_mult : int
    eta_min : float
        The lowest learning rate.
    last_epoch : int
        See :class:`LRScheduler`.

    Raises
    ------
    ValueError
        If `T_0` or `T_mult` is not positive.

    Examples
    --------
    >>> import numpy as np
    >>> import pyfast as pf
    >>> optimizer = pf.optim.SGD([pf.nn.Parameter(np.ones(1))], lr=1.0)
    >>> scheduler = pf.optim.lr_scheduler.CosineAnnealingWarmRestarts(optimizer, 2)
    >>> for _ in range(5):
    ...     print(round(scheduler.get_last_lr()[0], 3), end=" ")
    ...     scheduler.step()
    1.0 0.5 1.0 0.5 1.0
    """

    def __init__(
        self,
        optimizer: Optimizer,
        T_0: int,
        T_mult: int = 1,
        eta_min: float = 0.0,
        last_epoch: int = -1,
    ) -> None:
        self.T_0 = count("CosineAnnealingWarmRestarts", "T_0", T_0)
        self.T_mult = count("CosineAnnealingWarmRestarts", "T_mult", T_mult)
        self.eta_min = float(eta_min)
        self._place(float(last_epoch + 1))
        super().__init__(optimizer, last_epoch)

    def _place(self, epoch: float) -> None:
        """Find the period that an epoch is in, and how far in."""
        self.T_cur, self.T_i = epoch, self.T_0
        if self.T_mult == 1:
            self.T_cur = epoch % self.T_0
            return
        while self.T_cur >= self.T_i:
            self.T_cur -= self.T_i
            self.T_i *= self.T_mult

    def step(self, epoch: float | None = None) -> None:
        """Go to the next step, or to a given one, which may be a fraction of an epoch.

        Parameters
        ----------
        epoch : float, optional

        Raises
        ------
        ValueError
            If `epoch` is negative.
        """
        if epoch is not None and epoch < 0:
            raise ValueError(
                f"CosineAnnealingWarmRestarts: epoch must not be negative, got {epoch}"
            )
        if epoch is None:  # from where it is, which may be a fraction
            self.last_epoch += 1
            self.T_cur += 1
            if self.T_cur >= self.T_i:
                self.T_cur -= self.T_i
                self.T_i *= self.T_mult
        else:
            self.last_epoch = math.floor(epoch)
            self._place(float(epoch))
        self._set(self.get_lr())

    def get_lr(self) -> list[float]:
        """The learning rates of the present place in the period."""
        share = (1 + math.cos(math.pi * self.T_cur / self.T_i)) / 2
        return [self.eta_min + (base - self.eta_min) * share for base in self.base_lrs]


class CyclicLR(LRScheduler):
    """A triangle wave between two learning rates; the momentum moves against it.

    (Smith, "Cyclical learning rates for training neural networks", 2017.)

    Parameters
    ----------
    optimizer : Optimizer
    base_lr, max_lr : float, or list of float
        The lowest and the highest; a list has one for each group.
    step_size_up : int
        Steps of the rising half.
    step_size_down : int, optional
        Steps of the falling half. Default: as many.
    mode : {"triangular", "triangular2", "exp_range"}
        The height of a triangle: constant, halved every cycle, or ``gamma ** step``.
    gamma : float
    scale_fn : callable, optional
        The height as a function of the cycle (counted from 1) or of the step, instead of `mode`.
    scale_mode : {"cycle", "iterations"}
        Which of the two `scale_fn` takes.
    cycle_momentum : bool
        Move the momentum (Adam's β₁) too.
    base_momentum, max_momentum : float, or list of float
    last_epoch : int
        See :class:`LRScheduler`.

    Raises
    ------
    ValueError
        If a setting is out of range, or the optimizer has no momentum to move.
    """

    def __init__(
        self,
        optimizer: Optimizer,
        base_lr: float | list[float],
        max_lr: float | list[float],
        step_size_up: int = 2000,
        step_size_down: int | None = None,
        mode: str = "triangular",
        gamma: float = 1.0,
        scale_fn: Callable[[float], float] | None = None,
        scale_mode: str = "cycle",
        cycle_momentum: bool = True,
        base_momentum: float | list[float] = 0.8,
        max_momentum: float | list[float] = 0.9,
        last_epoch: int = -1,
    ) -> None:
        groups = require_optimizer("CyclicLR", optimizer).param_groups
        lows = per_group("CyclicLR", "base_lr", base_lr, groups)
        self.max_lrs = per_group("CyclicLR", "max_lr", max_lr, groups)
        self.up = count("CyclicLR", "step_size_up", step_size_up)
        self.down = (
            self.up
            if step_size_down is None
            else count("CyclicLR", "step_size_down", step_size_down)
        )
        if scale_fn is None and mode not in ("triangular", "triangular2", "exp_range"):
            raise ValueError(
                f"CyclicLR: mode must be triangular, triangular2 or exp_range, got {mode!r}"
            )
        if scale_mode not in ("cycle", "iterations"):
            raise ValueError(
                f"CyclicLR: scale_mode must be cycle or iterations, got {scale_mode!r}"
            )
        self.mode, self.gamma = mode, within("CyclicLR", "gamma", gamma, 0.0, math.inf)
        self.scale_fn, self.scale_mode = scale_fn, scale_mode
        self.cycle_momentum = cycle_momentum
        if cycle_momentum:
            require_momentum("CyclicLR", optimizer)
            self.base_momentums = per_group("CyclicLR", "base_momentum", base_momentum, groups)
            self.max_momentums = per_group("CyclicLR", "max_momentum", max_momentum, groups)
        for group, low in zip(groups, lows, strict=True):
            group["initial_lr"] = low
        super().__init__(optimizer, last_epoch)

    def _place(self) -> tuple[int, float]:
        """The cycle, counted from 1, and the height in it, from 0 to 1 and back to 0."""
        cycle, at = divmod(self.last_epoch, self.up + self.down)
        height = at / self.up if at <= self.up else (self.up + self.down - at) / self.down
        return cycle + 1, height

    def _scale(self, cycle: int) -> float:
        if self.scale_fn is not None:
            return self.scale_fn(cycle if self.scale_mode == "cycle" else self.last_epoch)
        if self.mode == "triangular2":
            return float(2.0 ** (1 - cycle))
        return float(self.gamma**self.last_epoch) if self.mode == "exp_range" else 1.0

    def get_lr(self) -> list[float]:
        """The learning rates of step ``last_epoch``; sets the momentum."""
        cycle, height = self._place()
        height *= self._scale(cycle)
        if self.cycle_momentum:
            pairs = zip(self.base_momentums, self.max_momentums, strict=True)
            set_momentum(self.optimizer, [high - (high - low) * height for low, high in pairs])
        lrs = zip(self.base_lrs, self.max_lrs, strict=True)
        return [low + (high - low) * height for low, high in lrs]


class _Phase(NamedTuple):
    """From one step to another the settings go from one named value of the group to another."""

    end: float
    lr: tuple[str, str]
    momentum: tuple[str, str]


class OneCycleLR(LRScheduler):
    """Up from ``max_lr / div_factor`` to `max_lr`, then far down; the momentum moves against it.

    (Smith and Topin, "Super-convergence: very fast training of neural networks using large learning
    rates", 2018.) Step it once an update.

    Parameters
    ----------
    optimizer : Optimizer
    max_lr : float, or list of float
        The highest; a list has one for each group.
    total_steps : int, optional
        Steps of the cycle. Default: ``epochs * steps_per_epoch``.
    epochs, steps_per_epoch : int, optional
    pct_start : float
        The share of the cycle that rises.
    anneal_strategy : {"cos", "linear"}
    cycle_momentum : bool
        Move the momentum (Adam's β₁) too.
    base_momentum, max_momentum : float, or list of float
    div_factor : float
    final_div_factor : float
        It ends at ``max_lr / div_factor / final_div_factor``.
    three_phase : bool
        Down to the first learning rate as slowly as up, and only then far down.
    last_epoch : int
        See :class:`LRScheduler`.

    Raises
    ------
    ValueError
        If a setting is out of range, the optimizer has no momentum to move, or more than
        `total_steps` are taken.
    """

    def __init__(
        self,
        optimizer: Optimizer,
        max_lr: float | list[float],
        total_steps: int | None = None,
        epochs: int | None = None,
        steps_per_epoch: int | None = None,
        pct_start: float = 0.3,
        anneal_strategy: str = "cos",
        cycle_momentum: bool = True,
        base_momentum: float | list[float] = 0.85,
        max_momentum: float | list[float] = 0.95,
        div_factor: float = 25.0,
        final_div_factor: float = 1e4,
        three_phase: bool = False,
        last_epoch: int = -1,
    ) -> None:
        groups = require_optimizer("OneCycleLR", optimizer).param_groups
        self.total_steps = self._length(total_steps, epochs, steps_per_epoch)
        if anneal_strategy not in ("cos", "linear"):
            raise ValueError(
                f"OneCycleLR: anneal_strategy must be 'cos' or 'linear', got {anneal_strategy!r}"
            )
        self.anneal_strategy = anneal_strategy
        self.cycle_momentum = cycle_momentum
        peaks = per_group("OneCycleLR", "max_lr", max_lr, groups)
        for group, peak in zip(groups, peaks, strict=True):
            if last_epoch == -1:
                group["initial_lr"], group["max_lr"] = peak / div_factor, peak
                group["min_lr"] = group["initial_lr"] / final_div_factor
        if cycle_momentum:
            require_momentum("OneCycleLR", optimizer)
            lows = per_group("OneCycleLR", "base_momentum", base_momentum, groups)
            highs = per_group("OneCycleLR", "max_momentum", max_momentum, groups)
            for group, low, high in zip(groups, lows, highs, strict=True):
                group["base_momentum"], group["max_momentum"] = low, high
        self._rise = within("OneCycleLR", "pct_start", pct_start, 0, 1) * self.total_steps
        self.three_phase = three_phase
        super().__init__(optimizer, last_epoch)

    @staticmethod
    def _length(total: int | None, epochs: int | None, per_epoch: int | None) -> int:
        if total is not None:
            return count("OneCycleLR", "total_steps", total)
        if epochs is None or per_epoch is None:
            raise ValueError("OneCycleLR: needs total_steps, or epochs and steps_per_epoch")
        name = "OneCycleLR"
        return count(name, "epochs", epochs) * count(name, "steps_per_epoch", per_epoch)

    def _phases(self) -> list[_Phase]:
        up = _Phase(self._rise - 1, ("initial_lr", "max_lr"), ("max_momentum", "base_momentum"))
        last = float(self.total_steps - 1)
        if not self.three_phase:
            return [up, _Phase(last, ("max_lr", "min_lr"), ("base_momentum", "max_momentum"))]
        down = ("max_lr", "initial_lr"), ("base_momentum", "max_momentum")
        rest = ("initial_lr", "min_lr"), ("max_momentum", "max_momentum")
        return [up, _Phase(2 * self._rise - 2, *down), _Phase(last, *rest)]

    def _place(self) -> tuple[_Phase, float]:
        """The phase of the present step, and how far in, from 0 to 1."""
        phases, start = self._phases(), 0.0
        for phase in phases[:-1]:
            if self.last_epoch <= phase.end:
                break
            start = phase.end
        else:
            phase = phases[-1]
        length = phase.end - start
        return phase, (self.last_epoch - start) / length if length else 1.0

    def _between(self, group: Group, names: tuple[str, str], share: float) -> float:
        first, last = (float(group[name]) for name in names)
        if self.anneal_strategy == "linear":
            return first + (last - first) * share
        return last + (first - last) * (1 + math.cos(math.pi * share)) / 2

    def get_lr(self) -> list[float]:
        """The learning rates of step ``last_epoch``; sets the momentum."""
        if self.last_epoch > self.total_steps:
            raise ValueError(
                f"OneCycleLR: has {self.total_steps} steps, cannot take step {self.last_epoch}"
            )
        phase, share = self._place()
        groups = self.optimizer.param_groups
        if self.cycle_momentum:
            momenta = [self._between(group, phase.momentum, share) for group in groups]
            set_momentum(self.optimizer, momenta)
        return [self._between(group, phase.lr, share) for group in groups]


def require_momentum(name: str, optimizer: Optimizer) -> None:
    """Raise unless there is a momentum, or a β₁, that can be moved."""
    if not {"momentum", "betas"} & set(optimizer.defaults):
        raise ValueError(
            f"{name}: {type(optimizer).__name__} has no momentum; give cycle_momentum=False"
        )


def set_momentum(optimizer: Optimizer, values: Sequence[float]) -> None:
    """Set the momentum, or β₁, of every group."""
    for group, value in zip(optimizer.param_groups, values, strict=True):
        if "betas" in optimizer.defaults:
            group["betas"] = (value, *group["betas"][1:])
        else:
            group["momentum"] = value
