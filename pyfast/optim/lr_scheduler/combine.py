"""Schedules made of schedules: one after the other, or all at once."""

from __future__ import annotations

import bisect
from collections.abc import Sequence
from typing import Any

from ..optimizer import Optimizer
from .base import LRScheduler, count, require_optimizer

__all__ = ["ChainedScheduler", "SequentialLR"]


class _Combined(LRScheduler):
    """Holds schedules of one optimizer."""

    def __init__(self, schedulers: Sequence[LRScheduler], optimizer: Optimizer) -> None:
        name = type(self).__name__
        if not schedulers:
            raise ValueError(f"{name}: schedulers must not be empty")
        for i, scheduler in enumerate(schedulers):
            if not isinstance(scheduler, LRScheduler):
                got = type(scheduler).__name__
                raise TypeError(f"{name}: schedulers[{i}] must be an LRScheduler, got {got}")
            if scheduler.optimizer is not optimizer:
                raise ValueError(f"{name}: schedulers[{i}] belongs to another optimizer")
        self.optimizer = optimizer
        self._schedulers = list(schedulers)

    def _reset(self) -> None:
        for group in self.optimizer.param_groups:
            group["lr"] = group["initial_lr"]

    def get_lr(self) -> list[float]:
        """The learning rates as they are: the schedules within have set them."""
        return self._current()

    def state_dict(self) -> dict[str, Any]:
        """Its own state, and that of the schedules within under ``"_schedulers"``."""
        return {**super().state_dict(), "_schedulers": [s.state_dict() for s in self._schedulers]}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on from what :meth:`state_dict` gave.

        Raises
        ------
        ValueError
            If it is of another number of schedules.
        """
        inner = state_dict["_schedulers"]
        if len(inner) != len(self._schedulers):
            mine = len(self._schedulers)
            raise ValueError(f"{type(self).__name__}: state of {len(inner)} schedules, has {mine}")
        super().load_state_dict({k: v for k, v in state_dict.items() if k != "_schedulers"})
        for scheduler, state in zip(self._schedulers, inner, strict=True):
            scheduler.load_state_dict(state)


class SequentialLR(_Combined):
    """One schedule after the other; each begins at its own step 0 when its turn comes.

    Parameters
    ----------
    optimizer : Optimizer
    schedulers : list of LRScheduler
    milestones : list of int
        The steps at which the second, third, ... take over: one fewer than schedules.

    Raises
    ------
    ValueError
        If lengths don't match, a schedule belongs to another optimizer, or milestones don't rise.

    Examples
    --------
    >>> import numpy as np
    >>> import pyfast as pf
    >>> schedules = pf.optim.lr_scheduler
    >>> optimizer = pf.optim.SGD([pf.nn.Parameter(np.ones(1))], lr=1.0)
    >>> warm_up = schedules.LinearLR(optimizer, 0.5, total_iters=2)
    >>> then = schedules.ExponentialLR(optimizer, 0.1)
    >>> scheduler = schedules.SequentialLR(optimizer, [warm_up, then], [2])
    >>> for _ in range(4):
    ...     print(round(scheduler.get_last_lr()[0], 6), end=" ")
    ...     scheduler.step()
    0.5 0.75 1.0 0.1
    """

    def __init__(
        self, optimizer: Optimizer, schedulers: Sequence[LRScheduler], milestones: Sequence[int]
    ) -> None:
        super().__init__(schedulers, require_optimizer("SequentialLR", optimizer))
        self._milestones = [count("SequentialLR", "milestones", m) for m in milestones]
        if len(self._milestones) != len(self._schedulers) - 1:
            raise ValueError(
                f"SequentialLR: needs {len(self._schedulers) - 1} milestones, got {len(milestones)}"
            )
        if self._milestones != sorted(set(self._milestones)):
            raise ValueError(f"SequentialLR: milestones must rise, got {list(milestones)}")
        self.restart()

    def restart(self) -> None:
        """Begin again with the first schedule."""
        self.last_epoch = 0
        self._reset()
        self._schedulers[0].restart()
        self._last_lr = self._current()

    def step(self, epoch: float | None = None) -> None:
        """Step the schedule whose turn it is.

        Parameters
        ----------
        epoch : None
            A sequence can only be stepped in order.

        Raises
        ------
        ValueError
            If `epoch` is given.
        """
        if epoch is not None:
            raise ValueError("SequentialLR: epoch must be None, it can only be stepped in order")
        self.last_epoch += 1
        turn = bisect.bisect_right(self._milestones, self.last_epoch)
        scheduler = self._schedulers[turn]
        if turn > 0 and self._milestones[turn - 1] == self.last_epoch:
            scheduler.restart()
        else:
            scheduler.step()
        self._last_lr = self._current()


class ChainedScheduler(_Combined):
    """Several schedules at once: every one multiplies the learning rate.

    Parameters
    ----------
    schedulers : list of LRScheduler
    optimizer : Optimizer, optional
        Default: that of the first schedule.

    Raises
    ------
    ValueError
        If there are no schedules, or one belongs to another optimizer.
    """

    def __init__(
        self, schedulers: Sequence[LRScheduler], optimizer: Optimizer | None = None
    ) -> None:
        first = getattr(schedulers[0], "optimizer", None) if schedulers else None
        super().__init__(schedulers, optimizer or first)  # type: ignore[arg-type]
        self.last_epoch = 0
        self._last_lr = self._current()

    def restart(self) -> None:
        """Begin again with all of them."""
        self.last_epoch = 0
        self._reset()
        for scheduler in self._schedulers:
            scheduler.last_epoch = 0
            scheduler._set(scheduler._first_lr())
        self._last_lr = self._current()

    def step(self, epoch: float | None = None) -> None:
        """Step every schedule.

        Parameters
        ----------
        epoch : None
            A chain can only be stepped in order.

        Raises
        ------
        ValueError
            If `epoch` is given.
        """
        if epoch is not None:
            raise ValueError(
                "ChainedScheduler: epoch must be None, it can only be stepped in order"
            )
        self.last_epoch += 1
        for scheduler in self._schedulers:
            scheduler.step()
        self._last_lr = self._current()
