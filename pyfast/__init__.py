"""pyfast: fast, exact, deterministic neural-network kernels for the arrays you already have.

``pf.ops`` has the kernels, on NumPy arrays, ``pf.Tensor`` and CPU torch tensors. ``pf.nn``,
``pf.optim`` and ``pf.data`` assemble and train models with PyTorch's names. Everything loads when
first used, so that ``import pyfast`` stays quick.

>>> import numpy as np
>>> import pyfast as pf
>>> pf.ops.softmax(np.zeros(4, np.float32))
array([0.25, 0.25, 0.25, 0.25], dtype=float32)
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

try:
    from . import _core
except ImportError as problem:
    raise ImportError(
        f"pyfast: no compiled module in {__path__[0]}. If this is a checkout that hides the "
        f"installed package, run from another folder ({problem})"
    ) from None

if TYPE_CHECKING:
    from . import (
        analysis,
        autograd,
        cuda,
        data,
        generation,
        io,
        models,
        nn,
        ops,
        optim,
        plot,
        random,
        training,
    )
    from ._tensor import Tensor
    from .analysis.model_summary import summary
    from .autograd import (
        enable_grad,
        grad,
        is_grad_enabled,
        no_grad,
        set_grad_enabled,
        value_and_grad,
    )
    from .creation import (
        arange,
        as_tensor,
        empty,
        eye,
        from_dlpack,
        from_numpy,
        full,
        full_like,
        linspace,
        ones,
        ones_like,
        rand,
        rand_like,
        randint,
        randn,
        randn_like,
        randperm,
        tensor,
        zeros,
        zeros_like,
    )
    from .io import load, save
    from .nn.fuse import fuse
    from .ops.arithmetic import matmul, maximum, minimum, where
    from .ops.shape import cat, chunk, split, stack
    from .random import Generator, get_rng_state, initial_seed, manual_seed, set_rng_state
    from .runtime import (
        get_float32_matmul_precision,
        get_num_threads,
        set_float32_matmul_precision,
        set_num_threads,
        show_config,
    )

__version__ = "0.1.0"

_SUBMODULES = (
    "analysis", "autograd", "cli", "cuda", "data", "generation", "info", "io", "models", "nn",
    "ops", "optim", "plot", "random", "runtime", "sklearn", "training",
)  # fmt: skip

# Where each public name lives; the imports above tell type checkers the same.
_NAMES = {
    "_tensor": "Tensor",
    "analysis.model_summary": "summary",
    "autograd": "enable_grad grad is_grad_enabled no_grad set_grad_enabled value_and_grad",
    "creation": (
        "arange as_tensor empty eye from_dlpack from_numpy full full_like linspace ones ones_like "
        "rand rand_like randint randn randn_like randperm tensor zeros zeros_like"
    ),
    "io": "load save",
    "nn.fuse": "fuse",
    "ops.arithmetic": "matmul maximum minimum where",
    "ops.shape": "cat chunk split stack",
    "random": "Generator get_rng_state initial_seed manual_seed set_rng_state",
    "runtime": (
        "get_float32_matmul_precision get_num_threads set_float32_matmul_precision "
        "set_num_threads show_config"
    ),
}
_HOME = {name: module for module, names in _NAMES.items() for name in names.split()}

__all__ = [
    "Generator",
    "Tensor",
    "__version__",
    "analysis",
    "arange",
    "as_tensor",
    "autograd",
    "cat",
    "chunk",
    "cuda",
    "data",
    "empty",
    "enable_grad",
    "eye",
    "from_dlpack",
    "from_numpy",
    "full",
    "full_like",
    "fuse",
    "generation",
    "get_float32_matmul_precision",
    "get_num_threads",
    "get_rng_state",
    "grad",
    "initial_seed",
    "io",
    "is_grad_enabled",
    "linspace",
    "load",
    "manual_seed",
    "matmul",
    "maximum",
    "minimum",
    "models",
    "nn",
    "no_grad",
    "ones",
    "ones_like",
    "ops",
    "optim",
    "plot",
    "rand",
    "rand_like",
    "randint",
    "randn",
    "randn_like",
    "random",
    "randperm",
    "save",
    "set_float32_matmul_precision",
    "set_grad_enabled",
    "set_num_threads",
    "set_rng_state",
    "show_config",
    "split",
    "stack",
    "summary",
    "tensor",
    "training",
    "value_and_grad",
    "where",
    "zeros",
    "zeros_like",
]


def __getattr__(name: str) -> Any:
    if name in _SUBMODULES:
        return importlib.import_module(f"{__name__}.{name}")
    if name in _HOME:
        value = getattr(importlib.import_module(f"{__name__}.{_HOME[name]}"), name)
        globals()[name] = value
        return value
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


if _core.isa_env_problem():
    import warnings

    warnings.warn(_core.isa_env_problem(), RuntimeWarning, stacklevel=2)
