"""What this installation is and what the machine can do: the figures of ``pyfast info``."""

from __future__ import annotations

import json
import platform
from pathlib import Path
from typing import Any

import numpy as np

from . import __version__, _core
from .runtime import get_num_threads

__all__ = ["collect", "text", "write"]


def collect(seconds: float = 0.2) -> dict[str, Any]:
    """Version, ISA, threads, caches, the measured FMA peak, and whether CUDA is there.

    Parameters
    ----------
    seconds : float
        How long each peak (float32, float64) is measured.

    Returns
    -------
    dict
        Plain values, fit for JSON. Peaks are in GFLOP/s of one thread, cache sizes in bytes.

    Examples
    --------
    >>> sorted(collect(seconds=0.01))[:3]
    ['caches', 'cores', 'cpu']
    """
    cpu = _core.cpu_info()
    return {
        "version": __version__,
        "python": platform.python_version(),
        "numpy": np.__version__,
        "platform": platform.platform(terse=True),
        "cpu": cpu["model"],
        "isa": _core.isa(),
        "detected_isa": cpu["detected_isa"],
        "threads": get_num_threads(),
        "cores": cpu["cores"],
        "caches": {level: cpu[level] for level in ("l1d", "l2", "l3")},
        "peak_gflops": {
            "float32": _core.fma_peak("float32", seconds) / 1e9,
            "float64": _core.fma_peak("float64", seconds) / 1e9,
        },
        "cuda": {"available": False, "why_not": "this version has no CUDA backend yet"},
    }


def _size(size: int) -> str:
    for unit, step in (("MiB", 1 << 20), ("KiB", 1 << 10)):
        if size >= step:
            return f"{size / step:g} {unit}"
    return "unknown" if size <= 0 else f"{size} bytes"


def text(figures: dict[str, Any]) -> str:
    """The figures of :func:`collect` as aligned lines.

    Parameters
    ----------
    figures : dict
        What :func:`collect` returned.

    Returns
    -------
    str
        One line per figure.

    Examples
    --------
    >>> print(text(collect(seconds=0.01)).splitlines()[0].split()[0])
    pyfast
    """
    isa = figures["isa"]
    if isa != figures["detected_isa"]:
        isa += f" (bounded by PYFAST_ISA; the processor has {figures['detected_isa']})"
    caches = figures["caches"]
    peak = figures["peak_gflops"]
    rows = {
        "pyfast": figures["version"],
        "python": f"{figures['python']}, numpy {figures['numpy']}, {figures['platform']}",
        "processor": figures["cpu"],
        "ISA": isa,
        "threads": f"{figures['threads']} of {figures['cores']} cores",
        "caches": ", ".join(f"{k.upper()} {_size(v)}" for k, v in caches.items()),
        "FMA peak": f"float32 {peak['float32']:.0f}, float64 {peak['float64']:.0f} GFLOP/s "
        "(measured, one thread)",
        "CUDA": "available" if figures["cuda"]["available"] else figures["cuda"]["why_not"],
    }
    return "\n".join(f"{name:<10} {value}" for name, value in rows.items())


def write(path: Path, figures: dict[str, Any]) -> None:
    """Write figures as JSON.

    Parameters
    ----------
    path : Path
        The file, replaced if it exists.
    figures : dict
        What :func:`collect` returned.
    """
    path.write_text(json.dumps(figures, indent=2) + "\n")
