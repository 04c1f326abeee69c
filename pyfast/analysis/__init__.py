"""Understanding models: critical points, error surfaces, batch size, what a CNN sees.

Everything loads when first used. What needs SciPy says so: ``pip install 'pyfast-nn[analysis]'``.

>>> import numpy as np
>>> import pyfast as pf
>>> x = pf.Tensor(np.zeros(2), requires_grad=True)
>>> pf.analysis.critical_point(lambda: x[0] ** 2 - x[1] ** 2, x).kind
'saddle'
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .attribution import (
        saliency,
    )
    from .batch import (
        BatchSizeRun,
        BatchSizeTradeoff,
        batch_size_tradeoff,
    )
    from .critical import (
        CriticalPoint,
        FoundPoint,
        critical_point,
        find_critical_point,
    )
    from .curvature import (
        ExtremeEigenvalues,
        HessianSpectrum,
        hessian,
        hessian_eigenvalues,
        hessian_spectrum,
        hessian_vector_product,
        sharpness,
    )
    from .fields import (
        ReceptiveField,
        effective_receptive_field,
        gradient_receptive_field,
        receptive_field,
    )
    from .gradients import (
        GradientFlow,
        gradient_flow,
    )
    from .landscape import (
        LossLandscape,
        Smoothness,
        filter_normalized_direction,
        flat_parameters,
        loss_landscape,
        path_directions,
        smoothness,
    )
    from .layers import (
        LayerCall,
        evaluating,
        feature_maps,
        trace,
    )
    from .learning_rate import (
        LRFinder,
        lr_finder,
    )
    from .model_summary import (
        LayerRow,
        Summary,
        summary,
    )
    from .surfaces import (
        SURFACES,
        OptimizerPath,
        Surface,
        optimizer_path,
    )

# Where each public name lives; the imports above tell type checkers the same.
_NAMES = {
    "attribution": "saliency",
    "batch": "BatchSizeRun BatchSizeTradeoff batch_size_tradeoff",
    "critical": "CriticalPoint FoundPoint critical_point find_critical_point",
    "curvature": (
        "ExtremeEigenvalues HessianSpectrum hessian hessian_eigenvalues hessian_spectrum "
        "hessian_vector_product sharpness"
    ),
    "fields": ("ReceptiveField effective_receptive_field gradient_receptive_field receptive_field"),
    "gradients": "GradientFlow gradient_flow",
    "landscape": (
        "LossLandscape Smoothness filter_normalized_direction flat_parameters "
        "loss_landscape path_directions smoothness"
    ),
    "layers": "LayerCall evaluating feature_maps trace",
    "learning_rate": "LRFinder lr_finder",
    "model_summary": "LayerRow Summary summary",
    "surfaces": "SURFACES OptimizerPath Surface optimizer_path",
}
_HOME = {name: module for module, names in _NAMES.items() for name in names.split()}

__all__ = [
    "BatchSizeRun",
    "BatchSizeTradeoff",
    "CriticalPoint",
    "ExtremeEigenvalues",
    "FoundPoint",
    "GradientFlow",
    "HessianSpectrum",
    "LRFinder",
    "LayerCall",
    "LayerRow",
    "LossLandscape",
    "OptimizerPath",
    "ReceptiveField",
    "SURFACES",
    "Smoothness",
    "Summary",
    "Surface",
    "batch_size_tradeoff",
    "critical_point",
    "effective_receptive_field",
    "evaluating",
    "feature_maps",
    "filter_normalized_direction",
    "find_critical_point",
    "flat_parameters",
    "gradient_flow",
    "gradient_receptive_field",
    "hessian",
    "hessian_eigenvalues",
    "hessian_spectrum",
    "hessian_vector_product",
    "loss_landscape",
    "lr_finder",
    "optimizer_path",
    "path_directions",
    "receptive_field",
    "saliency",
    "sharpness",
    "smoothness",
    "summary",
    "trace",
]


def __getattr__(name: str) -> Any:
    if name in _HOME:
        value = getattr(importlib.import_module(f"{__name__}.{_HOME[name]}"), name)
        globals()[name] = value
        return value
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
