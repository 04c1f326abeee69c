"""Everything that training depends on, in one file: a run that goes on from it is the same run.

The file is a safetensors file (no pickle), written beside the old one and renamed: see
:func:`pyfast.save`.
"""

from __future__ import annotations

import os
import random as python_random
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from ..data import DataLoader
from ..io import load, save
from ..nn import Module
from ..optim import Optimizer
from ..random import get_rng_state, set_rng_state

__all__ = ["TrainingState", "load_checkpoint", "save_checkpoint"]

_FORMAT = 2


@dataclass
class TrainingState:
    """What is trained and with what; the members a checkpoint covers.

    Parameters
    ----------
    model : Module
    optimizer : Optimizer
    scheduler : LRScheduler or ReduceLROnPlateau, optional
    loader : DataLoader, optional
        Its seed, epoch and place in the epoch.
    extra : dict
        Whatever else is to be kept: arrays, nested dicts, and what JSON can hold.
    fixed : dict
        Further settings, as JSON can hold them, that a run must have to go on from the checkpoint.
    """

    model: Module
    optimizer: Optimizer
    scheduler: Any = None
    loader: DataLoader | None = None
    extra: dict[str, Any] = field(default_factory=dict)
    fixed: dict[str, Any] = field(default_factory=dict)


def save_checkpoint(path: str | os.PathLike[str], state: TrainingState) -> None:
    """Write weights, optimizer, schedule, place in the data and all random states.

    The random states are those of pyfast's default generator, NumPy's global one and Python's.

    Parameters
    ----------
    path : path
    state : TrainingState

    Raises
    ------
    OSError
        If it cannot be written, the disk being full for instance; the old file is intact.

    Examples
    --------
    >>> import tempfile
    >>> import pyfast as pf
    >>> from pyfast.training import TrainingState, load_checkpoint, save_checkpoint
    >>> model = pf.nn.Linear(2, 1)
    >>> state = TrainingState(model, pf.optim.Adam(model.parameters()), extra={"epoch": 3})
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     save_checkpoint(f"{folder}/last.safetensors", state)
    ...     load_checkpoint(f"{folder}/last.safetensors", state)
    {'epoch': 3}
    """
    optimizer = state.optimizer.state_dict()
    content = {
        "format": _FORMAT,
        "model": state.model.state_dict(),
        "settings": _settings(state),
        "optimizer": {
            "state": {str(k): v for k, v in optimizer["state"].items()},
            "param_groups": optimizer["param_groups"],
        },
        "scheduler": None if state.scheduler is None else state.scheduler.state_dict(),
        "loader": None if state.loader is None else state.loader.state_dict(),
        "random": _random_states(),
        "extra": state.extra,
    }
    try:
        save(content, path)
    except OSError as problem:
        old = "; the old file is intact" if Path(path).exists() else ""
        raise OSError(
            problem.errno, f"checkpoint {path} could not be written: {problem.strerror}{old}"
        ) from problem


def load_checkpoint(path: str | os.PathLike[str], state: TrainingState) -> dict[str, Any]:
    """Put everything back as :func:`save_checkpoint` found it.

    Parameters
    ----------
    path : path
    state : TrainingState
        Its members are changed in place. All is checked before anything is.

    Returns
    -------
    dict
        The state's `extra`, as it was saved.

    Raises
    ------
    ValueError
        If the file is no checkpoint, or is of another model, optimizer (class or numbers of
        parameters), schedule (class), loader (items, batch size, shuffling), or of other `fixed`
        settings.
    OSError
        If it cannot be read.
    """
    content = load(path)
    if content.get("format") != _FORMAT:
        raise ValueError(f"checkpoint {path}: not a training checkpoint of this version")
    _check_model(path, state.model, content["model"])
    _check_settings(path, _settings(state), content["settings"])
    state.optimizer.load_state_dict(content["optimizer"])
    state.model.load_state_dict(content["model"])
    if state.scheduler is not None:
        state.scheduler.load_state_dict(content["scheduler"])
    if state.loader is not None:
        state.loader.load_state_dict(content["loader"])
    _set_random_states(content["random"])
    return dict(content["extra"])


def _settings(state: TrainingState) -> dict[str, Any]:
    """What must be the same in the run that goes on, by the name it has in messages."""
    groups, loader = state.optimizer.param_groups, state.loader
    settings: dict[str, Any] = {
        "optimizer": type(state.optimizer).__name__,
        "parameters in each group": [len(group["params"]) for group in groups],
        "scheduler": _schedule(state.scheduler),
        "loader": None if loader is None else type(loader).__name__,
    }
    if loader is not None:
        settings |= {
            "items in the data": len(loader.dataset),
            "batches in an epoch": len(loader),
            "batch_size": loader.batch_size,
            "shuffle": loader.shuffle,
        }
    return settings | state.fixed


def _schedule(scheduler: Any) -> str | None:
    """``StepLR``, or ``SequentialLR(LinearLR, StepLR)``."""
    if scheduler is None:
        return None
    within = ", ".join(str(_schedule(s)) for s in getattr(scheduler, "_schedulers", ()))
    return f"{type(scheduler).__name__}({within})" if within else type(scheduler).__name__


def _check_settings(
    path: str | os.PathLike[str], own: Mapping[str, Any], saved: Mapping[str, Any]
) -> None:
    """One line that names the first difference."""
    for name in {**own, **saved}:
        if own.get(name) != saved.get(name):
            raise ValueError(
                f"checkpoint {path}: {name} must be {saved.get(name)!r} to go on from it, "
                f"got {own.get(name)!r}"
            )


def _check_model(path: str | os.PathLike[str], model: Module, saved: Mapping[str, Any]) -> None:
    """One line that names the first difference."""
    own = model.state_dict()
    for name, value in own.items():
        if name not in saved:
            raise ValueError(f"checkpoint {path}: is of another architecture, it lacks {name}")
        for what in ("shape", "dtype"):
            have, want = getattr(saved[name], what), getattr(value.data, what)
            if have != want:
                raise ValueError(
                    f"checkpoint {path}: is of another architecture, {name} has {what} {have}, "
                    f"not {want}"
                )
    for name in saved:
        if name not in own:
            raise ValueError(f"checkpoint {path}: is of another architecture, it also has {name}")


def _random_states() -> dict[str, Any]:
    kind, keys, position, has_gauss, gauss = np.random.get_state()  # noqa: NPY002
    version, internal, gauss_next = python_random.getstate()
    return {
        "pyfast": get_rng_state(),
        "numpy": {
            "kind": kind, "keys": keys, "rest": [int(position), int(has_gauss), float(gauss)],
        },
        "python": {
            "version": version, "internal": np.array(internal, np.uint32), "gauss": gauss_next,
        },
    }  # fmt: skip


def _set_random_states(states: dict[str, Any]) -> None:
    set_rng_state(states["pyfast"])
    n, p = states["numpy"], states["python"]
    np.random.set_state((n["kind"], n["keys"], *n["rest"]))  # noqa: NPY002
    python_random.setstate((p["version"], tuple(int(i) for i in p["internal"]), p["gauss"]))
