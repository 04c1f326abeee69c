"""A table of a model's layers: output shapes, parameters, work."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..autograd import no_grad
from ..nn.module import Module
from .layers import LayerCall, evaluating, example_inputs, first, trace

__all__ = ["LayerRow", "Summary", "summary"]


@dataclass(frozen=True)
class LayerRow:
    """One call of one layer.

    Attributes
    ----------
    name, kind : str
        Path and class.
    output_shape : tuple of int
    parameters : int
        0 where the layer's parameters were counted in a row above.
    macs : int
        Multiply-adds of matrix products and convolutions.
    flops : int
        Twice the multiply-adds, and one for every other arithmetic operation.
    """

    name: str
    kind: str
    output_shape: tuple[int, ...]
    parameters: int
    macs: int
    flops: int


@dataclass(frozen=True)
class Summary:
    """What :func:`summary` returns; ``print`` it for a table.

    Attributes
    ----------
    rows : list of LayerRow
        In the order of the calls.
    parameters, trainable : int
        Of the whole model, shared ones counted once.
    macs, flops : int
        Of one forward pass of the whole batch.
    uncounted : tuple of str
        Classes of layers whose work is not known; it is missing in `macs` and `flops`.
    """

    rows: list[LayerRow]
    parameters: int
    trainable: int
    macs: int
    flops: int
    uncounted: tuple[str, ...]

    def __str__(self) -> str:
        cells = [("layer", "output shape", "parameters", "FLOPs")]
        for row in self.rows:
            shape = " × ".join(map(str, row.output_shape))
            name = f"{row.name} {row.kind}".strip()
            cells.append((name, shape, f"{row.parameters:,}", f"{row.flops:,}"))
        cells.append(("total", "", f"{self.parameters:,}", f"{self.flops:,}"))
        wide = [max(len(c[i]) for c in cells) for i in range(4)]
        lines = [
            f"{a:<{wide[0]}}  {b:<{wide[1]}}  {c:>{wide[2]}}  {d:>{wide[3]}}"
            for a, b, c, d in cells
        ]
        rule = "-" * len(lines[0])
        text = [lines[0], rule, *lines[1:-1], rule, lines[-1]]
        if self.trainable != self.parameters:
            text.append(f"trainable parameters: {self.trainable:,}")
        if self.uncounted:
            text.append(f"FLOPs not counted: {', '.join(self.uncounted)}")
        return "\n".join(text)


def summary(model: Module, input: Any) -> Summary:
    """The layers of a model as they are called: output shapes, parameters, FLOPs.

    The model runs once, in evaluation mode. Work done outside of layers (``x + y`` in a forward,
    an op called as a function) is not seen. A multiply-add counts as two FLOPs; one for every bias
    added, comparison of a pooling window and element of an activation (which costs more in truth);
    two for an element of batch norm, five of the other norms.

    Parameters
    ----------
    model : Module
    input : tuple of int, array, or tuple of arrays
        The shape of an input with its batch axis, or examples of what the model takes.

    Returns
    -------
    Summary

    Raises
    ------
    TypeError
        If `model` is no Module.
    ValueError
        If a shape has a length that is not positive.

    Examples
    --------
    >>> import pyfast as pf
    >>> model = pf.nn.Sequential(pf.nn.Conv2d(1, 4, 3), pf.nn.ReLU(), pf.nn.Flatten())
    >>> print(pf.summary(model, (1, 1, 8, 8)))
    layer      output shape   parameters  FLOPs
    -------------------------------------------
    0 Conv2d   1 × 4 × 6 × 6          40  2,736
    1 ReLU     1 × 4 × 6 × 6           0    144
    2 Flatten  1 × 144                 0      0
    -------------------------------------------
    total                             40  2,880
    """
    if not isinstance(model, Module):
        raise TypeError(f"summary: model must be a Module, got {type(model).__name__}")
    inputs = example_inputs("summary", model, input)
    with evaluating(model), no_grad():
        calls = trace(model, *inputs)
    seen: set[int] = set()
    rows, uncounted = [], []
    for call in calls:
        work = _work(call)
        if work is None:
            uncounted.append(call.kind)
        macs, extra = work or (0, 0)
        fresh = {id(p): p.size for p in call.module.parameters() if id(p) not in seen}
        seen |= fresh.keys()
        rows.append(
            LayerRow(call.name, call.kind, call.output_shape, sum(fresh.values()), macs,
                     2 * macs + extra)
        )  # fmt: skip
    return Summary(
        rows,
        model.count_parameters(),
        model.count_parameters(trainable=True),
        sum(r.macs for r in rows),
        sum(r.flops for r in rows),
        tuple(dict.fromkeys(uncounted)),
    )


_FREE = {
    "Flatten", "Unflatten", "Identity", "Dropout", "Dropout1d", "Dropout2d", "AlphaDropout",
    "Embedding", "Fold", "Unfold",
}  # fmt: skip


def _work(call: LayerCall) -> tuple[int, int] | None:
    """Multiply-adds and other operations of a call; None where unknown."""
    kind = call.kind
    module: Any = call.module
    size = math.prod(call.output_shape)
    home = type(module).__module__
    if kind in _FREE or home.endswith("nn.padding"):
        return 0, 0
    if kind == "MultiheadAttention":
        return _attention(call), 0
    if home.endswith("nn.linear"):
        return size * module.weight.shape[1], size if getattr(
            module, "bias", None
        ) is not None else 0
    if home.endswith("nn.conv"):
        return _convolution(call, size)
    if home.endswith("nn.norm"):
        return 0, size * (2 if kind.startswith("BatchNorm") else 5)
    if home.endswith("nn.pooling"):
        return 0, _pooling(call, size)
    if home.endswith("nn.activation"):
        return 0, size
    return None


def _convolution(call: LayerCall, size: int) -> tuple[int, int]:
    module: Any = call.module
    taps = math.prod(module.weight.shape[1:])  # of one output; transposed: of one input
    places = math.prod(np.shape(call.inputs[0])) if module.transposed else size
    extra = size if module.bias is not None else 0
    return places * taps, extra + (size if getattr(module, "activation", None) else 0)


def _pooling(call: LayerCall, size: int) -> int:
    if call.kind.startswith("Adaptive"):
        return math.prod(np.shape(call.inputs[0]))
    rank = int(call.kind[-2])
    module: Any = call.module
    kernel = module.kernel_size
    return size * (int(kernel) ** rank if isinstance(kernel, int) else math.prod(kernel))


def _attention(call: LayerCall) -> int:
    """Four projections, the scores and the weighted sum."""
    query, key = np.shape(call.inputs[0]), np.shape(call.inputs[1])
    module: Any = call.module
    batch_first = bool(getattr(module, "batch_first", False))
    length, sources = (query[-2], key[-2]) if batch_first or len(query) == 2 else (query[0], key[0])
    batch = math.prod(np.shape(first(call.output))) // (length * query[-1])
    width = query[-1]
    return int(batch * (2 * (length + sources) * width * width + 2 * length * sources * width))
