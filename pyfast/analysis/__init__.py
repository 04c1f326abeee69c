"""Understanding models.

Everything loads when first used.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .diagnosis import (
        Diagnosis,
        TwoSampleResult,
        diagnose,
        two_sample_test,
    )

# Where each public name lives; the imports above tell type checkers the same.
_NAMES = {
    "diagnosis": "Diagnosis TwoSampleResult diagnose two_sample_test",
}
_HOME = {name: module for module, names in _NAMES.items() for name in names.split()}

__all__ = [
    "Diagnosis",
    "TwoSampleResult",
    "diagnose",
    "two_sample_test",
]


def __getattr__(name: str) -> Any:
    if name in _HOME:
        value = getattr(importlib.import_module(f"{__name__}.{_HOME[name]}"), name)
        globals()[name] = value
        return value
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
