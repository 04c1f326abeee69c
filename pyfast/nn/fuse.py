"""fuse: a model prepared for inference."""

from __future__ import annotations

import copy
import itertools
from typing import Any, TypeVar

import numpy as np

from ..autograd import no_grad
from ..runtime import set_float32_matmul_precision
from .attention import MultiheadAttention
from .conv import Conv1d, Conv2d
from .dropout import AlphaDropout, Dropout, Dropout1d, Dropout2d
from .epilogue import fused_name
from .fused import (
    SealedSequential,
    absorb_activation,
    absorb_sum,
    batch_ndim,
    fold_batch_norm,
    pack,
)
from .linear import Identity, Linear
from .module import Module
from .neighbours import (
    Pair,
    arrays_in,
    called_pairs,
    called_sums,
    hooked,
    is_sequential,
    row,
    shared,
)
from .norm import BatchNorm1d, BatchNorm2d, InstanceNorm1d, InstanceNorm2d

__all__ = ["fuse"]

M = TypeVar("M", bound=Module)

_LAYERS = (Conv1d, Conv2d, Linear)
_BATCH_NORMS = (BatchNorm1d, BatchNorm2d)
_DROPOUTS = (Dropout, Dropout1d, Dropout2d, AlphaDropout)
_TRAINS_OTHERWISE = (
    *_BATCH_NORMS, InstanceNorm1d, InstanceNorm2d, *_DROPOUTS, MultiheadAttention,
)  # fmt: skip
_ROUNDING = 1000  # units in the last place that a deep model may add up to


def fuse(model: M, *example_inputs: Any) -> M:
    """Prepare a model for inference: a copy that computes the same with fewer, faster ops.

    - Batch norm is folded into the Conv1d, Conv2d or Linear before it.
    - The activation behind a convolution, Linear or batch norm becomes part of it.
    - An array added to a convolution's output (``conv(x) + identity``, as in residual networks) is
      added as the output is written, with the activation behind it.
    - The weights of Linear, Conv1d, Conv2d and attention layers, and a table of embeddings that is
      the output layer too, are packed once, not in every call.

    Layers are neighbours if they stand next to each other in a :class:`pyfast.nn.Sequential`, at
    any depth. With `example_inputs`, a run of the model shows instead which layer's output goes
    into which layer or addition and nowhere else, in forwards written by hand, too; only this is
    fused then, and the result is held against the original's. A forward that takes other ways for
    other inputs must not be given an example that hides them.

    A layer that occurs twice or has hooks is left as it is; hooks see the example runs. Functions
    called in a forward (``ops.relu(x)``) are not layers and stay. The copy is in
    evaluation mode, its parameters are read-only and need no gradient; gradients of its inputs
    can still be taken. Pickling and deep copies work as with any model.

    Parameters
    ----------
    model : Module
        Not changed; in evaluation mode if it has batch norm or dropout.
    *example_inputs
        What ``model(*example_inputs)`` takes.

    Returns
    -------
    Module
        Of the class of `model`.

    Raises
    ------
    TypeError
        If `model` is no Module, or returns no array for the example.
    ValueError
        If a batch norm, dropout or the like in it is in training mode.
    RuntimeError
        If the result differs from the original's by more than rounding, with the deviation.

    Examples
    --------
    >>> import numpy as np
    >>> import pyfast as pf
    >>> from pyfast import nn
    >>> model = nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.Flatten())
    >>> x = np.ones((2, 3, 6, 6), np.float32)
    >>> pf.fuse(model.eval(), x)
    Sequential(
      (0): FusedConv2d(3, 8, kernel_size=(3, 3), stride=(1, 1), activation=relu)
      (1): Identity()
      (2): Identity()
      (3): Flatten(start_dim=1, end_dim=-1)
    )
    """
    _check(model)
    fused = copy.deepcopy(model).eval()
    fused.requires_grad_(False)
    expected = _result(fused, example_inputs) if example_inputs else None
    if example_inputs:
        _merge(called_pairs(fused, example_inputs, _fusable), set())
        for convolution, activation in called_sums(fused, example_inputs, _summable):
            absorb_sum(convolution, activation)  # type: ignore[arg-type]
    else:
        _merge_rows(fused)
    for module in fused.modules():
        pack(module)
    _freeze(fused)
    if expected is not None:
        _compare(_result(fused, example_inputs), expected)
    return fused


def _check(model: Any) -> None:
    if not isinstance(model, Module):
        raise TypeError(f"fuse: model must be a Module, got {type(model).__name__}")
    for path, module in model.named_modules():
        if module.training and isinstance(module, _TRAINS_OTHERWISE):
            raise ValueError(
                f"fuse: model must be in evaluation mode, {path or 'it'} ({type(module).__name__}) "
                "is training; call model.eval() first"
            )


def _fusable(first: Module, second: Module, between: Any = None) -> bool:
    """Whether two neighbours, and the array between them if it is known, are of fitting kinds."""
    if type(second) in _BATCH_NORMS:
        if not isinstance(first, _LAYERS) or type(first) not in _LAYERS:
            return False
        return between is None or np.ndim(between) == batch_ndim(first)
    return type(first) in (*_LAYERS, *_BATCH_NORMS) and fused_name(second) is not None


def _summable(first: Module, second: Module | None) -> bool:
    """Whether a layer can add to its output, and apply what takes the sum."""
    if not isinstance(first, Conv1d | Conv2d) or first.activation is not None:
        return False
    if first.out_channels // first.groups <= 2:  # its kernels add nothing
        return False
    return second is None or fused_name(second) is not None


def _merge(pairs: list[Pair], kept: set[int]) -> list[Pair]:
    """Fuse neighbours in place, none of `kept`; the pairs that became one."""
    after = {id(a): b for a, b in pairs if id(a) not in kept and id(b) not in kept}
    merged = []
    for first, _ in sorted(pairs, key=lambda p: type(p[0]) in _BATCH_NORMS):  # layers come first
        second = after.get(id(first))
        if second is None or type(first) is Identity:  # a batch norm that was folded meanwhile
            continue
        if type(first) in _LAYERS and type(second) in _BATCH_NORMS:
            if not fold_batch_norm(first, second):  # type: ignore[arg-type]
                continue
            merged.append((first, second))
            second = after.get(id(second))
        if second is not None and absorb_activation(first, second):
            merged.append((first, second))
    return merged


def _merge_rows(root: Module) -> None:
    """Fuse what stands next to each other in Sequentials."""
    kept = shared(root) | {id(m) for m in root.modules() if hooked(m)}
    rows = {id(s): (s, list(row(s))) for s in root.modules() if is_sequential(s)}
    pairs: dict[tuple[int, int], Pair] = {}
    for _, layers in rows.values():
        for (_, a), (_, b) in itertools.pairwise(layers):
            if a is not None and b is not None and _fusable(a, b):
                pairs[id(a), id(b)] = (a, b)
    merged = _merge(list(pairs.values()), kept)
    free = _in_sequentials_only(root)
    for sequential, layers in rows.values():
        place = {id(m): i for i, m in layers if m is not None}
        across = any(place.get(id(a)) != place.get(id(b)) for a, b in merged if id(a) in place)
        if across and id(sequential) not in free:
            sequential.__class__ = SealedSequential


def _in_sequentials_only(root: Module) -> set[int]:
    """Ids of the Sequentials that no forward written by hand can take apart."""
    found: set[int] = set()
    if is_sequential(root):
        found.add(id(root))
        for member in root._modules.values():
            if member is not None:
                found |= _in_sequentials_only(member)
    return found


def _freeze(root: Module) -> None:
    """Packed and folded weights would not follow a change: there must be none."""
    for parameter in root.parameters():
        parameter.requires_grad_(False)
        parameter.grad = None
        parameter.data.flags.writeable = False


def _result(model: Module, inputs: tuple[Any, ...]) -> list[np.ndarray[Any, Any]]:
    with no_grad(), set_float32_matmul_precision("highest"):
        found = [np.array(a) for a in arrays_in(model(*inputs))]
    if not found:
        raise TypeError("fuse: model returns no array for the example: there is nothing to check")
    return found


def _compare(found: list[np.ndarray[Any, Any]], expected: list[np.ndarray[Any, Any]]) -> None:
    for new, old in zip(found, expected, strict=True):
        deviation = _deviation(new, old)
        limit = _ROUNDING * float(np.finfo(old.dtype).eps) if old.dtype.kind == "f" else 0.0
        if not deviation <= limit:
            raise RuntimeError(
                f"fuse: the fused model's output of shape {old.shape} differs by {deviation:.3g} "
                f"of its largest magnitude, more than rounding explains ({limit:.1g})"
            )


def _deviation(new: np.ndarray[Any, Any], old: np.ndarray[Any, Any]) -> float:
    """The largest difference, as a share of the largest magnitude; inf where kinds differ."""
    if new.shape != old.shape or new.dtype != old.dtype:
        return float("inf")
    if old.dtype.kind != "f":
        return 0.0 if np.array_equal(new, old) else float("inf")
    finite = np.isfinite(old)
    if not np.array_equal(new[~finite], old[~finite], equal_nan=True):
        return float("inf")
    if not finite.any():
        return 0.0
    a, b = new[finite].astype(np.float64), old[finite].astype(np.float64)
    scale = float(np.abs(b).max()) or 1.0
    return float(np.abs(a - b).max()) / scale
