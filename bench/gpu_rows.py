"""A line of bench/gpu.py: what is timed, pyfast's call and PyTorch's, and what was found."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

Call = Callable[[], Any]


@dataclass
class Row:
    """One line of the table."""

    op: str
    shape: str
    dtype: str
    moved: int = 0  # bytes that must pass through memory
    flops: int = 0  # where arithmetic is what bounds it
    times: dict[str, float] = field(default_factory=dict)  # seconds, by column
    failed: dict[str, str] = field(default_factory=dict)


@dataclass
class Work:
    """What is timed: pyfast's call and PyTorch's, by column."""

    row: Row
    pyfast: Call
    peers: dict[str, Call]
    two_kernels: bool = False  # one of them portable
    late: dict[str, Call] = field(default_factory=dict)  # peers that take long to begin

    def columns(self, cuda: Any) -> dict[str, Call]:
        """All that is timed; `cuda` is pyfast's compiled module."""
        ours = {"pyfast": self.pyfast}
        if self.two_kernels and cuda is not None and cuda.hopper_kernels_run():
            ours[PORTABLE] = portable(cuda, self.pyfast)
        return {**ours, **self.peers}


PORTABLE = "portable"


def portable(cuda: Any, call: Call) -> Call:
    """A call by pyfast's portable kernels."""

    def run() -> Any:
        cuda.use_portable_kernels(True)
        try:
            return call()
        finally:
            cuda.use_portable_kernels(False)

    return run


def backward_of(torch: Any, forward: Call, inputs: list[Any]) -> Call:
    """The backward pass alone, of a graph that the first call makes."""
    graph: list[Any] = []

    def backward() -> Any:
        if not graph:
            y = forward()
            graph.extend((y, torch.randn_like(y)))
        return torch.autograd.grad(graph[0], inputs, graph[1], retain_graph=True)

    return backward


COMPILED = "compile"


def both_ways(
    torch: Any, op: str, shape: str, x: Any, ours: Call, peers: dict[str, Call], wanted: list[Any],
    moves: tuple[float, float],
) -> Iterator[Work]:  # fmt: skip
    """Forward and backward of one op; `moves` counts the arrays of x's size that each moves."""
    size = x.numel() * x.element_size()
    dtype = str(x.dtype)[6:]
    ways = [(op, ours, peers)]
    backward = {name: backward_of(torch, call, wanted) for name, call in peers.items()}
    ways.append((f"{op} backward", backward_of(torch, ours, wanted), backward))
    for (name, call, calls), times in zip(ways, moves, strict=True):
        late = {COMPILED: calls.pop(COMPILED)} if COMPILED in calls else {}
        yield Work(Row(name, shape, dtype, int(times * size)), call, calls, late=late)
