"""The GPU: whether it can be used, and what it is.

Nothing has to be called here to use it: functions of ``pf.ops`` compute where their arrays lie, and
CuPy arrays and CUDA torch tensors lie on a GPU.

>>> import pyfast as pf
>>> pf.cuda.is_available() == (pf.cuda.why_not() == "")
True
"""

from __future__ import annotations

import functools
from types import ModuleType
from typing import Any

__all__ = ["device_count", "device_info", "is_available", "why_not"]


@functools.cache
def _load() -> tuple[ModuleType | None, str]:
    """The compiled module, or why there is none."""
    try:
        from .. import _cuda
    except ImportError as problem:
        if "_cuda" in str(problem) and "cannot import name" in str(problem):
            return None, "pyfast was built without CUDA; build it with PYFAST_CUDA=ON"
        return None, f"pyfast's CUDA module cannot be loaded: {problem}"
    return _cuda, ""


def compiled(op: str) -> Any:
    """The compiled module of CUDA kernels.

    Parameters
    ----------
    op : str
        Begins the message.

    Returns
    -------
    module

    Raises
    ------
    RuntimeError
        If pyfast was built without it.
    """
    module, problem = _load()
    if module is None:
        raise RuntimeError(f"{op}: {problem}, or copy the arrays to the host")
    return module


def why_not() -> str:
    """Say why GPU arrays cannot be computed on.

    Returns
    -------
    str
        Empty where they can.

    Examples
    --------
    >>> import pyfast as pf
    >>> isinstance(pf.cuda.why_not(), str)
    True
    """
    module, problem = _load()
    return problem if module is None else str(module.why_not())


def is_available() -> bool:
    """Whether GPU arrays can be computed on.

    Returns
    -------
    bool
        See :func:`why_not` for the reason when not.

    Examples
    --------
    >>> import pyfast as pf
    >>> pf.cuda.is_available() in (True, False)
    True
    """
    return why_not() == ""


def device_count() -> int:
    """How many GPUs this process sees.

    Returns
    -------
    int
        0 where the backend cannot be used.

    Examples
    --------
    >>> import pyfast as pf
    >>> pf.cuda.device_count() >= 0
    True
    """
    return int(compiled("device_count").device_count()) if is_available() else 0


def device_info(device: int = 0) -> dict[str, Any]:
    """What a GPU is and has.

    Parameters
    ----------
    device : int
        Its number, from 0.

    Returns
    -------
    dict
        ``name``, ``compute_capability``, ``multiprocessors``, ``total_memory`` in bytes,
        ``driver_version``, ``runtime_version``, ``architectures`` (what pyfast has code for),
        and more.

    Raises
    ------
    RuntimeError
        If there is no such GPU; the message says why.
    """
    reason = why_not()
    if reason:
        raise RuntimeError(f"device_info: {reason}")
    return dict(compiled("device_info").device_info(device))
