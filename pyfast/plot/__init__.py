"""Figures: arrays in, matplotlib Axes out. Nothing is shown, and nothing is loaded before use.

Every function takes ``ax=None`` (a new figure then) and returns the Axes it drew into. Colours can
be told apart by colour-blind eyes. ``pip install 'pyfast-nn[analysis]'`` brings matplotlib.

>>> import pyfast as pf
>>> ax = pf.plot.history({"training": [1.0, 0.5], "validation": [1.1, 0.8]})
>>> ax.get_ylabel()
'loss'
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .attention import attention_heads, attention_map, positional_encoding
    from .decoding import decoding_tree
    from .network import feature_maps, filters, gradient_flow, receptive_field, saliency
    from .surface import hessian_spectrum, loss_surface, optimizer_paths
    from .training import (
        batch_size_tradeoff,
        confusion,
        cv_scores,
        history,
        lr_finder,
        schedules,
    )

# Where each public name lives; the imports above tell type checkers the same.
_NAMES = {
    "attention": "attention_heads attention_map positional_encoding",
    "decoding": "decoding_tree",
    "network": "feature_maps filters gradient_flow receptive_field saliency",
    "surface": "hessian_spectrum loss_surface optimizer_paths",
    "training": "batch_size_tradeoff confusion cv_scores history lr_finder schedules",
}
_HOME = {name: module for module, names in _NAMES.items() for name in names.split()}

__all__ = [
    "attention_heads",
    "attention_map",
    "batch_size_tradeoff",
    "confusion",
    "cv_scores",
    "decoding_tree",
    "feature_maps",
    "filters",
    "gradient_flow",
    "hessian_spectrum",
    "history",
    "loss_surface",
    "lr_finder",
    "optimizer_paths",
    "positional_encoding",
    "receptive_field",
    "saliency",
    "schedules",
]


def __getattr__(name: str) -> Any:
    if name in _HOME:
        value = getattr(importlib.import_module(f"{__name__}.{_HOME[name]}"), name)
        globals()[name] = value
        return value
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
