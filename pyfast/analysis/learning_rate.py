"""The learning-rate range test."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from .._tensor import Tensor
from ..nn.module import Module
from .curvature import checked_count

__all__ = ["LRFinder", "lr_finder"]

Array = np.ndarray[Any, Any]


@dataclass(frozen=True)
class LRFinder:
    """Losses while the learning rate grew.

    Attributes
    ----------
    lrs, losses, smoothed : array of shape (s,)
        s is smaller than asked for where training diverged. `smoothed` is the moving average.
    suggestion : float
        Where the smoothed loss falls fastest per factor of the learning rate.
    diverged : bool
    """

    lrs: Array
    losses: Array
    smoothed: Array
    suggestion: float
    diverged: bool


def lr_finder(
    model: Module,
    loss: Callable[[Any, Any], Any],
    optimizer: Any,
    data: Any,
    *,
    min_lr: float = 1e-6,
    max_lr: float = 10.0,
    steps: int = 100,
    smoothing: float = 0.9,
    diverge: float = 4.0,
) -> LRFinder:
    """Train for a few steps while the learning rate grows geometrically, and watch the loss.

    Smith, "Cyclical Learning Rates for Training Neural Networks", WACV 2017, section 3.3. Model,
    optimizer and DataLoader are put back afterwards, bit for bit.

    Parameters
    ----------
    model : Module
    loss : callable
        Of the model's output and the target.
    optimizer : Optimizer
        Every group gets the growing learning rate.
    data : iterable of (input, target)
        A DataLoader, for one; begun anew when it ends.
    min_lr, max_lr : float
        First and last learning rate.
    steps : int
        At least 10.
    smoothing : float
        Weight of the past in the moving average, in [0, 1).
    diverge : float
        Stop when the smoothed loss is this many times its least, or no longer finite.

    Returns
    -------
    LRFinder

    Raises
    ------
    ValueError
        If `data` is empty, or not 0 < `min_lr` < `max_lr`, another setting is out of range, or
        `optimizer` holds another model's parameters.

    Examples
    --------
    >>> import numpy as np
    >>> import pyfast as pf
    >>> generator = pf.manual_seed(0)
    >>> x = np.random.default_rng(0).standard_normal((64, 2)).astype(np.float32)
    >>> model = pf.nn.Linear(2, 1)
    >>> optimizer = pf.optim.SGD(model.parameters(), lr=0.1)
    >>> data = pf.data.DataLoader((x, x[:, :1]), batch_size=16)
    >>> found = pf.analysis.lr_finder(model, pf.ops.mse_loss, optimizer, data)
    >>> 1e-3 < found.suggestion < 10, optimizer.param_groups[0]["lr"]
    (True, 0.1)
    """
    op = "lr_finder"
    if not 0 < min_lr < max_lr < math.inf:
        raise ValueError(f"{op}: needs 0 < min_lr < max_lr, got {min_lr} and {max_lr}")
    if checked_count(op, "steps", steps) < 10:
        raise ValueError(f"{op}: steps must be at least 10, got {steps}")
    if not 0 <= smoothing < 1 or not diverge > 1:
        raise ValueError(
            f"{op}: smoothing must be in [0, 1) and diverge above 1, got {smoothing}, {diverge}"
        )
    held = {id(p) for group in optimizer.param_groups for p in group["params"]}
    if held.isdisjoint(id(p) for p in model.parameters()):
        raise ValueError(f"{op}: optimizer must hold parameters of model, got another model's")
    weights = {k: v.data.copy() for k, v in model.state_dict().items()}
    state = copy.deepcopy(optimizer.state_dict())
    place = data.state_dict() if hasattr(data, "state_dict") else None
    try:
        lrs = np.geomspace(min_lr, max_lr, steps)
        losses, smoothed = _sweep(
            model, loss, optimizer, _forever(op, data), lrs, smoothing, diverge
        )
    finally:
        model.load_state_dict(weights)
        model.zero_grad()
        optimizer.load_state_dict(state)
        if place is not None:  # a DataLoader that was left in the middle would go on from there
            data.load_state_dict(place)
    lrs = lrs[: len(losses)]
    diverged = len(losses) < steps
    return LRFinder(lrs, losses, smoothed, _steepest(lrs, smoothed), diverged)


def _forever(op: str, data: Iterable[Any]) -> Iterator[Any]:
    while True:
        empty = True
        for batch in data:
            empty = False
            yield batch
        if empty:
            raise ValueError(f"{op}: data must not be empty")


def _sweep(
    model: Module,
    loss: Callable[[Any, Any], Any],
    optimizer: Any,
    batches: Iterator[Any],
    lrs: Array,
    smoothing: float,
    diverge: float,
) -> tuple[Array, Array]:
    losses: list[float] = []
    smoothed: list[float] = []
    average = 0.0
    for step, lr in enumerate(lrs, 1):
        for group in optimizer.param_groups:
            group["lr"] = float(lr)
        inputs, targets = next(batches)
        with np.errstate(all="ignore"):
            value = loss(model(Tensor(inputs)), targets)
            optimizer.zero_grad()
            value.backward()
            optimizer.step()
        average = smoothing * average + (1 - smoothing) * value.item()
        current = average / (1 - smoothing**step)  # the average began at 0: its bias undone
        if not math.isfinite(current) or (smoothed and current > diverge * min(smoothed)):
            break
        losses.append(value.item())
        smoothed.append(current)
    if len(losses) < 2:
        raise ValueError(
            f"lr_finder: loss is not finite or grows at once, at min_lr {lrs[0]}; take a smaller"
        )
    return np.array(losses), np.array(smoothed)


def _steepest(lrs: Array, smoothed: Array) -> float:
    """Where the smoothed loss falls fastest, the first steps and what follows its least apart."""
    last = max(int(smoothed.argmin()) + 1, 3)
    slope = np.gradient(smoothed[:last]) if last <= len(smoothed) else np.gradient(smoothed)
    skip = min(5, len(slope) - 1)
    return float(lrs[skip + int(slope[skip:].argmin())])
