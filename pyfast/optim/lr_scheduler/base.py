"""What schedules share: where they are, what they set, and saving both."""

from __future__ import annotations

import operator
from collections.abc import Sequence
from typing import Any

import numpy as np

from ..optimizer import Group, Optimizer

__all__ = ["FactorLR", "LRScheduler"]


class LRScheduler:
    """Base of the schedules; a subclass gives ``get_lr``.

    Call ``scheduler.step()`` after ``optimizer.step()``, once an epoch or once an update, whichever
    unit its lengths are meant in.

    Parameters
    ----------
    optimizer : Optimizer
    last_epoch : int
        Steps that have been taken before, when going on without :meth:`load_state_dict`; the
        groups must then have an ``"initial_lr"``.

    Attributes
    ----------
    last_epoch : int
        Steps taken; 0 after construction, which sets the first learning rate.
    base_lrs : list of float
        Each group's learning rate before any schedule.

    Raises
    ------
    TypeError
        If `optimizer` is none.
    KeyError
        If `last_epoch` is given and a group has no ``"initial_lr"``.
    """

    def __init__(self, optimizer: Optimizer, last_epoch: int = -1) -> None:
        self.optimizer = require_optimizer(type(self).__name__, optimizer)
        for i, group in enumerate(optimizer.param_groups):
            if last_epoch == -1:
                group.setdefault("initial_lr", group["lr"])
            elif "initial_lr" not in group:
                raise KeyError(
                    f"{type(self).__name__}: param_groups[{i}] has no 'initial_lr' to go on from"
                )
        self.base_lrs = [float(group["initial_lr"]) for group in optimizer.param_groups]
        self.last_epoch = last_epoch + 1
        self._set(self._first_lr() if self.last_epoch == 0 else self.closed_form_lr())

    def get_lr(self) -> list[float]:
        """The learning rates of step ``last_epoch``, given those of the step before it.

        Returns
        -------
        list of float
            One for each group.
        """
        raise NotImplementedError

    def closed_form_lr(self) -> list[float]:
        """The learning rates of step ``last_epoch``, whatever has been before.

        Returns
        -------
        list of float
        """
        return self.get_lr()

    def _first_lr(self) -> list[float]:
        return self.closed_form_lr()

    def step(self, epoch: float | None = None) -> None:
        """Go to the next step, or to a given one, and set the groups' learning rates.

        Parameters
        ----------
        epoch : int, optional
        """
        if epoch is None:
            self.last_epoch += 1
            self._set(self.get_lr())
        else:
            self.last_epoch = operator.index(epoch)  # type: ignore[arg-type]
            self._set(self.closed_form_lr())

    def restart(self) -> None:
        """Begin again at step 0, as :class:`SequentialLR` has its schedules do."""
        self.step(0)

    def get_last_lr(self) -> list[float]:
        """The learning rates that were set last.

        Returns
        -------
        list of float
        """
        return list(self._last_lr)

    def _set(self, lrs: Sequence[float]) -> None:
        for group, lr in zip(self.optimizer.param_groups, lrs, strict=True):
            group["lr"] = lr
        self._last_lr = [float(lr) for lr in lrs]

    def _current(self) -> list[float]:
        return [float(group["lr"]) for group in self.optimizer.param_groups]

    def state_dict(self) -> dict[str, Any]:
        """Everything but the optimizer (which keeps the learning rates) and functions.

        Returns
        -------
        dict
        """
        return {k: v for k, v in self.__dict__.items() if _is_plain(v)}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on from what :meth:`state_dict` gave; load the optimizer's state too.

        Parameters
        ----------
        state_dict : dict
        """
        self.__dict__.update({k: v for k, v in state_dict.items() if k in self.state_dict()})


class FactorLR(LRScheduler):
    """A schedule that multiplies the base learning rate by ``factor(step)``.

    Going from step to step it multiplies what the learning rate is by the ratio of two factors,
    so that several such schedules can act on one optimizer. With a floor, it is the distance from
    the floor that is multiplied.
    """

    floor = 0.0

    def factor(self, step: int) -> float:
        """What the base learning rate is multiplied by at a step."""
        raise NotImplementedError

    def closed_form_lr(self) -> list[float]:
        """The learning rates of step ``last_epoch``, whatever has been before."""
        f = self.factor(self.last_epoch)
        return [self.floor + (base - self.floor) * f for base in self.base_lrs]

    def _first_lr(self) -> list[float]:
        f = self.factor(0)
        return [self.floor + (lr - self.floor) * f for lr in self._current()]

    def get_lr(self) -> list[float]:
        """The learning rates of step ``last_epoch``, given those of the step before it."""
        before, now = self.factor(self.last_epoch - 1), self.factor(self.last_epoch)
        if now == before:
            return self._current()
        if before == 0:
            return self.closed_form_lr()
        return [self.floor + (lr - self.floor) * (now / before) for lr in self._current()]


def require_optimizer(name: str, optimizer: Any) -> Optimizer:
    """The optimizer itself, or a TypeError."""
    if not isinstance(optimizer, Optimizer):
        raise TypeError(f"{name}: optimizer must be an Optimizer, got {type(optimizer).__name__}")
    return optimizer


def count(name: str, argument: str, value: Any, least: int = 1) -> int:
    """An int of at least `least`, or an error naming the schedule and the argument."""
    try:
        number = operator.index(value)
    except TypeError:
        raise TypeError(f"{name}: {argument} must be an int, got {value!r}") from None
    if number < least:
        raise ValueError(f"{name}: {argument} must be at least {least}, got {value}")
    return number


def within(name: str, argument: str, value: Any, low: float, high: float) -> float:
    """A number in [low, high], or an error naming the schedule and the argument."""
    if not isinstance(value, int | float | np.number):
        raise TypeError(f"{name}: {argument} must be a number, got {value!r}")
    if not low <= value <= high:
        raise ValueError(f"{name}: {argument} must be in [{low}, {high}], got {value}")
    return float(value)


def per_group(name: str, argument: str, value: Any, groups: list[Group]) -> list[float]:
    """One number for each group, from one for all or a list of them."""
    if not isinstance(value, list | tuple):
        return [float(value)] * len(groups)
    if len(value) != len(groups):
        raise ValueError(
            f"{name}: {argument} must have one value per group ({len(groups)}), got {len(value)}"
        )
    return [float(v) for v in value]


def _is_plain(value: Any) -> bool:
    if isinstance(value, list | tuple):
        return all(map(_is_plain, value))
    return value is None or isinstance(value, bool | int | float | str)
