"""A model watched while it runs: which layers were called, in order, with what shapes."""

from __future__ import annotations

import contextlib
import operator
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from .._tensor import Tensor
from ..autograd import no_grad
from ..nn.module import Module

__all__ = ["LayerCall", "evaluating", "example_inputs", "feature_maps", "named_layer", "trace"]

Array = np.ndarray[Any, Any]

# Modules with children that are one layer to whoever reads a table.
_WHOLE = ("MultiheadAttention",)


@dataclass(frozen=True)
class LayerCall:
    """One call of one layer.

    Attributes
    ----------
    name : str
        Its path in the model.
    module : Module
    inputs : tuple
        Positional arguments.
    output : Any
    """

    name: str
    module: Module
    inputs: tuple[Any, ...]
    output: Any

    @property
    def kind(self) -> str:
        """The class's name."""
        return type(self.module).__name__

    @property
    def output_shape(self) -> tuple[int, ...]:
        """Of the first output."""
        return tuple(np.shape(first(self.output)))


def first(value: Any) -> Any:
    """The value, or the first of several."""
    return value[0] if isinstance(value, tuple | list) else value


@contextlib.contextmanager
def evaluating(model: Module) -> Iterator[None]:
    """Evaluation mode for a ``with`` block; afterwards every module is in the mode it was in.

    Parameters
    ----------
    model : Module

    Examples
    --------
    >>> from pyfast import nn
    >>> model = nn.Sequential(nn.Dropout(0.5))
    >>> with evaluating(model):
    ...     print(model[0].training)
    False
    >>> model[0].training
    True
    """
    modes = [(module, module.training) for module in model.modules()]
    model.eval()
    try:
        yield
    finally:
        for module, training in modes:
            object.__setattr__(module, "training", training)


def named_layer(op: str, model: Module, layer: str | Module) -> tuple[str, Module]:
    """A layer of a model with its path, from either.

    Parameters
    ----------
    op : str
        Begins the messages.
    model : Module
    layer : str or Module

    Returns
    -------
    str, Module

    Raises
    ------
    ValueError
        If the model has no such layer.

    Examples
    --------
    >>> from pyfast import nn
    >>> model = nn.Sequential(nn.Linear(2, 3), nn.ReLU())
    >>> named_layer("example", model, model[1])[0]
    '1'
    """
    for name, module in model.named_modules():
        if layer is module or (isinstance(layer, str) and layer == name):
            return name, module
    known = ", ".join(repr(n) for n, _ in model.named_modules() if n)
    raise ValueError(f"{op}: layer must be one of {known}, got {layer!r}")


def example_inputs(op: str, model: Module, input: Any) -> tuple[Any, ...]:
    """Arguments to call a model with, from a shape or from examples.

    Parameters
    ----------
    op : str
        Begins the messages.
    model : Module
        Its parameters' dtype is that of the zeros a shape stands for.
    input : tuple of int, array, or tuple of arrays

    Returns
    -------
    tuple of arrays

    Raises
    ------
    ValueError
        If a shape has a length that is not positive.

    Examples
    --------
    >>> from pyfast import nn
    >>> example_inputs("example", nn.Linear(2, 3), (4, 2))[0].shape
    (4, 2)
    """
    if not isinstance(input, tuple | list):
        return (input,)
    if all(isinstance(n, int | np.integer) for n in input):
        shape = tuple(map(operator.index, input))
        if not shape or min(shape) < 1:
            raise ValueError(f"{op}: input must have positive lengths, got {shape}")
        dtypes = [p.dtype for p in model.parameters()]
        return (np.zeros(shape, dtypes[0] if dtypes else np.float32),)
    return tuple(input)


def trace(model: Module, *inputs: Any) -> list[LayerCall]:
    """Run a model and keep every call of a layer, in order.

    A layer is a module without modules below it. Runs in the mode the model is in.

    Parameters
    ----------
    model : Module
    *inputs
        What the model takes.

    Returns
    -------
    list of LayerCall

    Examples
    --------
    >>> import numpy as np
    >>> from pyfast import nn
    >>> model = nn.Sequential(nn.Linear(2, 3), nn.ReLU())
    >>> [c.output_shape for c in trace(model, np.zeros((1, 2), np.float32))]
    [(1, 3), (1, 3)]
    """
    calls: list[LayerCall] = []
    layers = _layers(model)

    def keep(module: Any, args: Any, output: Any) -> None:
        calls.append(LayerCall(layers[id(module)][0], module, tuple(args), output))

    with contextlib.ExitStack() as hooks:
        for _, module in layers.values():
            hooks.enter_context(module.register_forward_hook(keep))
        model(*inputs)
    return calls


def _layers(model: Module) -> dict[int, tuple[str, Module]]:
    found: dict[int, tuple[str, Module]] = {}
    inside: list[str] = []
    for name, module in model.named_modules():
        if any(name.startswith(whole) for whole in inside):
            continue
        whole = type(module).__name__ in _WHOLE
        if whole:
            inside.append(f"{name}.")
        if whole or not any(True for _ in module.children()):
            found[id(module)] = (name, module)
    return found


def feature_maps(model: Module, input: Any, layers: Any = None) -> dict[str, Array]:
    """What each layer puts out for an input, in evaluation mode.

    Parameters
    ----------
    model : Module
    input : array, or tuple of arrays
        What the model takes.
    layers : sequence of str or Module, optional
        Default: every module without modules below it.

    Returns
    -------
    dict of str to array
        By path. Of a layer that is called several times, the last output.

    Raises
    ------
    ValueError
        If the model has no such layer, or it was not called.

    Examples
    --------
    >>> import numpy as np
    >>> import pyfast as pf
    >>> model = pf.nn.Sequential(pf.nn.Conv2d(1, 4, 3), pf.nn.ReLU())
    >>> maps = pf.analysis.feature_maps(model, np.ones((1, 1, 8, 8), np.float32))
    >>> {name: a.shape for name, a in maps.items()}
    {'0': (1, 4, 6, 6), '1': (1, 4, 6, 6)}
    """
    op = "feature_maps"
    if layers is None:
        layers = [module for _, module in _layers(model).values()]
    wanted = dict(named_layer(op, model, layer) for layer in layers)
    found: dict[str, Array] = {}
    with contextlib.ExitStack() as stack:
        stack.enter_context(evaluating(model))
        stack.enter_context(no_grad())
        for name, module in wanted.items():
            stack.enter_context(module.register_forward_hook(_keeper(found, name)))
        model(*example_inputs(op, model, input))
    missing = [name for name in wanted if name not in found]
    if missing:
        raise ValueError(f"{op}: layer {missing[0]!r} was not called by the model")
    return found


def _keeper(found: dict[str, Array], name: str) -> Any:
    def keep(module: Any, args: Any, output: Any) -> None:
        value = first(output)
        found[name] = value.data if isinstance(value, Tensor) else np.asarray(value)

    return keep
