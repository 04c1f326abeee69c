"""What a family of benchmarks is: shapes as data, and one function per library."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

Arrays = dict[str, np.ndarray[Any, Any]]
Call = Callable[[], Any]


@dataclass(frozen=True)
class Shape:
    """One problem: named array shapes (float32 unless listed in `make`) and parameters.

    Attributes
    ----------
    sizes : array name to shape, in the order the op takes them.
    work : floating-point operations of one call, or bytes it must move at least.
    unit : "flop" or "byte": what `work` counts, and so what the rate in the table means.
    make : array name to a function (generator, shape) that fills it; default standard normal.
    warm : calls before each sample, at least: what moves many megabytes in a short call takes
        several until it finds them in the caches again, after another library's turn.
    """

    name: str
    sizes: Mapping[str, tuple[int, ...]]
    work: float
    unit: str = "flop"
    params: Mapping[str, Any] = field(default_factory=dict)
    make: Mapping[str, Callable[[np.random.Generator, tuple[int, ...]], Any]] = field(
        default_factory=dict
    )
    warm: int = 1

    def arrays(self) -> Arrays:
        """Fresh arrays, the same for everybody, from a fixed seed."""
        rng = np.random.default_rng(0)

        def fill(name: str, size: tuple[int, ...]) -> np.ndarray[Any, Any]:
            if name in self.make:
                return np.asarray(self.make[name](rng, size))
            return rng.standard_normal(size, np.float32)

        return {name: fill(name, size) for name, size in self.sizes.items()}


@dataclass(frozen=True)
class Family:
    """One op family and how each library is asked for it.

    Every builder takes (arrays, params), does all preparation outside the timing and returns a
    call without arguments; its result is an array (or a tuple of them) to hold against pyfast's.
    A missing builder means that the library has no such op. `prepared` is pyfast with the arrays in
    `constants` made ready once, outside the timing (packed weights), as ONNX Runtime and OpenVINO
    have them; it is timed beside the plain call, in a column of its own. `onnx` returns (op_type,
    input names, attributes, opset) for a one-node model that ONNX Runtime and OpenVINO both run;
    inputs in `constants` are weights, baked into the model as such libraries expect. For whole
    models `module` gives them PyTorch's module instead, which takes the arrays in their order.
    """

    name: str
    shapes: tuple[Shape, ...]
    pyfast: Callable[[Arrays, Mapping[str, Any]], Call]
    numpy: Callable[[Arrays, Mapping[str, Any]], Call] | None = None
    torch: Callable[[Any, Mapping[str, Any]], Call] | None = None  # arrays already torch tensors
    jax: Callable[[Any, Mapping[str, Any]], Callable[..., Any]] | None = None  # jitted by peers.py
    onnx: Callable[[Arrays, Mapping[str, Any]], Any] | None = None
    torch_compile: Callable[[Any, Mapping[str, Any]], Call] | None = None  # as torch
    module: Callable[[Mapping[str, Any]], Any] | None = None
    constants: tuple[str, ...] = ()
    prepared: Callable[[Arrays, Mapping[str, Any]], Call | None] | None = None
    channels_last: bool = False  # PyTorch is timed in both memory layouts
    rtol: float = 1e-3
    work: float = 1.0  # times the shape's: a backward pass makes two products of the forward's one
