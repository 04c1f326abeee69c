"""Threads, precision and what this build found on the machine."""

from __future__ import annotations

import os
import platform
from types import TracebackType
from typing import Any, Literal, cast, get_args

import numpy as np

from . import _core

__all__ = [
    "get_float32_matmul_precision",
    "get_num_threads",
    "set_float32_matmul_precision",
    "set_num_threads",
    "show_config",
]

Precision = Literal["highest", "high", "medium"]


def get_num_threads() -> int:
    """The number of threads that one call may use, the calling one included.

    It starts as ``PYFAST_NUM_THREADS``, else ``OMP_NUM_THREADS``, else the cores this process may
    use (affinity and cgroup quota).

    Returns
    -------
    int
        At least 1.

    Examples
    --------
    >>> import pyfast as pf
    >>> pf.get_num_threads() >= 1
    True
    """
    return _core.num_threads()


def set_num_threads(n: int) -> None:
    """Set the number of threads that one call may use, for the whole process.

    Results do not depend on it, bit for bit. Calls that are running finish as they began.

    Parameters
    ----------
    n : int
        From 1 to 1024, the calling thread included.

    Raises
    ------
    TypeError
        If `n` is not an int.
    ValueError
        If `n` is out of range.

    Examples
    --------
    >>> import pyfast as pf
    >>> before = pf.get_num_threads()
    >>> pf.set_num_threads(1)
    >>> pf.get_num_threads()
    1
    >>> pf.set_num_threads(before)
    """
    _core.set_num_threads(n)


class _PrecisionScope:
    """What set_float32_matmul_precision returns: leaving it as a context restores."""

    def __init__(self, before: Precision) -> None:
        self._before = before

    def __enter__(self) -> None:
        return None

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        _core.set_float32_matmul_precision(self._before)

    def __repr__(self) -> str:
        return f"float32_matmul_precision({get_float32_matmul_precision()!r})"


def set_float32_matmul_precision(precision: Precision) -> _PrecisionScope:
    """Say how exact float32 products must be, for the whole process.

    It is a permission: a kernel may always be more exact. On processors with AMX, large float32
    products are sums of products of bfloat16 parts, added up in float32: six for ``"highest"``
    (of three parts that hold all 24 bits: more exact than float32 multiply-adds), three for
    ``"high"``, one for ``"medium"``. Everything else is computed by float32 multiply-adds.

    Parameters
    ----------
    precision : {"highest", "high", "medium"}
        At least float32 multiply-adds; about 16 bits of mantissa; bfloat16 products that are added
        up in float32.

    Returns
    -------
    context manager
        The setting holds at once; used in a ``with`` statement, the former one comes back.

    Raises
    ------
    ValueError
        If `precision` is none of the three.

    Examples
    --------
    >>> import pyfast as pf
    >>> with pf.set_float32_matmul_precision("high"):
    ...     pf.get_float32_matmul_precision()
    'high'
    >>> pf.get_float32_matmul_precision()
    'highest'
    """
    if precision not in get_args(Precision):
        raise ValueError(
            "set_float32_matmul_precision: precision must be 'highest', 'high' or 'medium', "
            f"got {precision!r}"
        )
    scope = _PrecisionScope(get_float32_matmul_precision())
    _core.set_float32_matmul_precision(precision)
    return scope


def get_float32_matmul_precision() -> Precision:
    """How exact float32 products must be; see :func:`set_float32_matmul_precision`.

    Returns
    -------
    {"highest", "high", "medium"}
        The current setting.

    Examples
    --------
    >>> import pyfast as pf
    >>> pf.get_float32_matmul_precision()
    'highest'
    """
    return cast(Precision, _core.float32_matmul_precision())


def _config() -> dict[str, Any]:
    from . import __version__

    cpu = _core.cpu_info()
    environment = {k: v for k, v in sorted(os.environ.items()) if k.startswith("PYFAST_")}
    return {
        "pyfast": __version__,
        "python": platform.python_version(),
        "numpy": np.__version__,
        "processor": cpu["model"],
        "features": cpu["flags"],
        "isa": _core.isa(),
        "detected_isa": cpu["detected_isa"],
        "cores": cpu["cores"],
        "threads": get_num_threads(),
        "caches": {level: cpu[level] for level in ("l1d", "l2", "l3")},
        "float32_matmul_precision": get_float32_matmul_precision(),
        "allocator": _core.pool_statistics(),
        "environment": environment,
    }


def _line(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{k} {v}" for k, v in value.items()) or "-"
    return " ".join(value) if isinstance(value, list) else str(value)


def show_config(mode: Literal["stdout", "dicts"] = "stdout") -> dict[str, Any] | None:
    """Show the version, the machine and the settings: what a bug report needs.

    Nothing is measured; ``pyfast info`` also measures the peak of the machine.

    Parameters
    ----------
    mode : {"stdout", "dicts"}
        Print lines, or return plain values that fit JSON (sizes in bytes). Default: print.

    Returns
    -------
    dict or None
        The values for ``"dicts"``.

    Raises
    ------
    ValueError
        If `mode` is neither.

    Examples
    --------
    >>> import pyfast as pf
    >>> pf.show_config("dicts")["threads"] == pf.get_num_threads()
    True
    """
    if mode not in ("stdout", "dicts"):
        raise ValueError(f"show_config: mode must be 'stdout' or 'dicts', got {mode!r}")
    config = _config()
    if mode == "dicts":
        return config
    width = max(len(name) for name in config)
    for name, value in config.items():
        print(f"{name:<{width}}  {_line(value)}")
    return None
