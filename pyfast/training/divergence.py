"""A loss that is not finite: which step, which layer, and where to go on from."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from ..autograd import no_grad
from ..nn import Module

__all__ = ["DivergenceError", "first_non_finite"]


class DivergenceError(FloatingPointError):
    """The loss, or a parameter, became NaN or infinite.

    Attributes
    ----------
    step : int
        The update that was under way, counted from 1.
    layer : str
        Where the first value that is not finite came up.
    checkpoint : Path or None
        The last checkpoint, whose parameters are finite.
    """

    def __init__(self, what: str, step: int, layer: str, checkpoint: Path | None) -> None:
        self.step, self.layer, self.checkpoint = step, layer, checkpoint
        where = f"the last good checkpoint is {checkpoint}" if checkpoint else "no checkpoint"
        super().__init__(f"fit: {what} at step {step}; first not finite: {layer}; {where}")


def first_non_finite(model: Module, run: Callable[[], Any]) -> str:
    """The first place in a forward pass whose value is not finite.

    Parameters
    ----------
    model : Module
        Its buffers are put back afterwards.
    run : callable
        Does the forward pass.

    Returns
    -------
    str
        ``"parameter 0.weight"``, ``"output of 2 (ReLU)"``, or ``"the loss itself"``.

    Examples
    --------
    >>> import numpy as np
    >>> import pyfast as pf
    >>> model = pf.nn.Sequential(pf.nn.Linear(2, 2), pf.nn.ReLU())
    >>> x = np.full((1, 2), np.inf, np.float32)
    >>> pf.training.first_non_finite(model, lambda: model(x))
    'input of 0 (Linear)'
    """
    for name, parameter in model.named_parameters():
        if not np.isfinite(parameter.data).all():
            return f"parameter {name}"
    found: list[str] = []
    hooks = []
    for name, module in model.named_modules():
        if not list(module.children()):
            place = f"{name or 'the model'} ({type(module).__name__})"
            hooks.append(module.register_forward_pre_hook(_watch(found, f"input of {place}")))
            hooks.append(module.register_forward_hook(_watch(found, f"output of {place}")))
    buffers = [(b, b.data.copy()) for b in model.buffers()]
    try:
        with no_grad():
            run()
    finally:
        for hook in hooks:
            hook.remove()
        for buffer, value in buffers:
            buffer.data[...] = value
    return found[0] if found else "the loss itself"


def _watch(found: list[str], place: str) -> Callable[..., None]:
    """A hook of either kind that notes the place when its last argument is not finite."""

    def hook(*args: Any) -> None:
        values = args[-1] if isinstance(args[-1], tuple | list) else (args[-1],)
        arrays = [np.asarray(getattr(v, "data", v)) for v in values if v is not None]
        if not found and any(a.dtype.kind == "f" and not np.isfinite(a).all() for a in arrays):
            found.append(place)

    return hook
