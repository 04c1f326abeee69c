"""Every op's record, collected from the modules beside this one."""

from __future__ import annotations

import importlib
import pkgutil

from .record import Bad, OpCase, Sample

__all__ = ["Bad", "OpCase", "Sample", "all_cases"]


def all_cases() -> list[OpCase]:
    """Every OpCase of every module in this folder, in the order of their names."""
    cases: list[OpCase] = []
    for module in pkgutil.iter_modules(__path__):
        if module.name != "record":
            cases += importlib.import_module(f"{__name__}.{module.name}").CASES
    return cases
