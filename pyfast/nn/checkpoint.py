"""Values out of a checkpoint, and what is said when they do not fit."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ..autograd import Variable

__all__ = ["check_keys", "value_of"]


def value_of(value: Any, name: str) -> Any:
    """A checkpoint's entry as an ndarray.

    Parameters
    ----------
    value : Tensor, array, torch tensor on any device and of any floating dtype
    name : str
        Its key, for the message.

    Returns
    -------
    ndarray

    Raises
    ------
    TypeError
        If it is no array of numbers.

    Examples
    --------
    >>> value_of([1.0, 2.0], "weight")
    array([1., 2.])
    """
    if isinstance(value, Variable):
        return value._data
    if hasattr(value, "detach"):  # a torch tensor
        value = value.detach().cpu()
        value = value.float() if str(value.dtype) == "torch.bfloat16" else value
    array = np.asarray(value)
    if array.dtype.kind not in "fiub":
        raise TypeError(f"load_state_dict: {name!r} must be an array of numbers, got {type(value)}")
    return array


def check_keys(
    model: str,
    missing: Sequence[str],
    unexpected: Sequence[str],
    own: Mapping[str, Any],
    values: Mapping[str, Any],
) -> None:
    """Raise one error that names every key that is missing, unexpected or of another shape.

    Parameters
    ----------
    model : str
        Its class.
    missing, unexpected : sequence of str
    own, values : mapping of str to array
        The model's tensors, and the checkpoint's arrays for them.

    Raises
    ------
    RuntimeError
        If anything is wrong.
    """
    problems = []
    if missing:
        problems.append("missing keys: " + ", ".join(missing))
    if unexpected:
        problems.append("unexpected keys: " + ", ".join(unexpected))
    problems += [
        f"{name}: shape {value.shape} in the checkpoint, {own[name].shape} in the model"
        for name, value in values.items()
        if value.shape != own[name].shape
    ]
    if problems:
        raise RuntimeError(f"load_state_dict: {model}: " + "; ".join(problems))
