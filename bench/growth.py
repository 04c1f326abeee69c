"""How cost grows with size: ``python -m bench.growth growth.png``.

Convolution over batch and image size, attention over sequence length, products over n, and what a
second core brings; pyfast and PyTorch in turn on the same arrays. Prints every figure, and draws
them. One thread and one core but for the last panel, which needs a second core.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

import pyfast as pf

from .peers import limit_threads
from .timing import in_turn

Call = Callable[[], Any]
LIBRARIES = {"pyfast": "#0072B2", "PyTorch": "#D55E00"}


class Curve(NamedTuple):
    """One panel: `calls(size)` gives both libraries' calls."""

    title: str
    axis: str
    sizes: Sequence[int]
    calls: Callable[[int], dict[str, Call]]


def _arrays(*shapes: tuple[int, ...]) -> list[Any]:
    rng = np.random.default_rng(0)
    return [rng.standard_normal(shape, np.float32) for shape in shapes]


def _conv(batch: int, channels: int, size: int) -> dict[str, Call]:
    import torch

    x, w = _arrays((batch, channels, size, size), (channels, channels, 3, 3))
    tx, tw = torch.from_numpy(x), torch.from_numpy(w)
    return {
        "pyfast": lambda: pf.ops.conv2d(x, w, padding=1),
        "PyTorch": lambda: torch.conv2d(tx, tw, padding=1),
    }


def _attention(length: int) -> dict[str, Call]:
    import torch

    qkv = _arrays(*3 * [(1, 8, length, 64)])
    tensors = [torch.from_numpy(a) for a in qkv]
    return {
        "pyfast": lambda: pf.ops.scaled_dot_product_attention(*qkv),
        "PyTorch": lambda: torch.nn.functional.scaled_dot_product_attention(*tensors),
    }


def _matmul(n: int) -> dict[str, Call]:
    import torch

    a, b = _arrays((n, n), (n, n))
    ta, tb = torch.from_numpy(a), torch.from_numpy(b)
    return {"pyfast": lambda: pf.ops.matmul(a, b), "PyTorch": lambda: ta @ tb}


def _gelu(rows: int) -> dict[str, Call]:
    import torch

    (x,) = _arrays((rows, 1024))
    tx = torch.from_numpy(x)
    return {"pyfast": lambda: pf.ops.gelu(x), "PyTorch": lambda: torch.nn.functional.gelu(tx)}


def _layer_norm(rows: int) -> dict[str, Call]:
    import torch

    x, w, b = _arrays((rows, 1024), (1024,), (1024,))
    tx, tw, tb = (torch.from_numpy(a) for a in (x, w, b))
    return {
        "pyfast": lambda: pf.ops.layer_norm(x, (1024,), w, b),
        "PyTorch": lambda: torch.layer_norm(tx, (1024,), tw, tb),
    }


CURVES = (
    Curve(
        "conv2d, 64×28×28, 64 filters 3×3", "batch", (1, 2, 4, 8, 16, 32, 64),
        lambda n: _conv(n, 64, 28),
    ),
    Curve(
        "conv2d, 1×64×s×s, 64 filters 3×3", "image size s", (7, 14, 28, 56, 112, 224),
        lambda s: _conv(1, 64, s),
    ),
    Curve(
        "attention, 8 heads of 64", "sequence length", (128, 256, 512, 1024, 2048, 4096),
        _attention,
    ),
    Curve("matmul, n×n", "n", (64, 128, 256, 512, 1024, 2048), _matmul),
    Curve("gelu, rows of 1024", "rows", (16, 64, 256, 1024, 4096, 16384), _gelu),
)  # fmt: skip

THREADED: dict[str, Callable[[], dict[str, Call]]] = {
    "conv2d": lambda: _conv(8, 64, 56),
    "attention": lambda: _attention(1024),
    "matmul": lambda: _matmul(1024),
    "gelu": lambda: _gelu(4096),
    "layer_norm": lambda: _layer_norm(4096),
}


def set_threads(n: int) -> None:
    """Both libraries."""
    import torch

    pf.set_num_threads(n)
    torch.set_num_threads(n)


def grown(curve: Curve, rounds: int) -> dict[str, list[float]]:
    """Median seconds of each library at every size."""
    seconds: dict[str, list[float]] = {name: [] for name in LIBRARIES}
    for size in curve.sizes:
        for name, value in in_turn(curve.calls(size), rounds).items():
            seconds[name].append(value)
    return seconds


def speedups(rounds: int) -> dict[str, dict[str, float]]:
    """Of every op, time on one thread over time on two, for each library."""

    def both(build: Callable[[], dict[str, Call]]) -> Iterator[tuple[str, float]]:
        calls = build()
        set_threads(1)
        one = in_turn(calls, rounds)
        set_threads(2)
        two = in_turn(calls, rounds)
        for name in calls:
            yield name, one[name] / two[name]

    return {op: dict(both(build)) for op, build in THREADED.items()}


def draw_curve(axes: Any, curve: Curve, seconds: dict[str, list[float]]) -> None:
    """Milliseconds over size, both axes logarithmic."""
    for name, colour in LIBRARIES.items():
        millis = [1e3 * s for s in seconds[name]]
        axes.plot(curve.sizes, millis, "o-", color=colour, label=name)
    axes.set_xscale("log", base=2)
    axes.set_yscale("log")
    axes.set_xticks(curve.sizes, [str(size) for size in curve.sizes])
    axes.set_title(curve.title)
    axes.set_xlabel(curve.axis)
    axes.set_ylabel("milliseconds")
    axes.grid(alpha=0.3)
    axes.legend()


def draw_speedups(axes: Any, gains: dict[str, dict[str, float]]) -> None:
    """Bars: what the second core brings."""
    for k, (name, colour) in enumerate(LIBRARIES.items()):
        places = [i + 0.4 * k - 0.2 for i in range(len(gains))]
        axes.bar(places, [g[name] for g in gains.values()], 0.38, color=colour, label=name)
    axes.set_xticks(range(len(gains)), list(gains), rotation=20)
    axes.axhline(1, color="black", linewidth=1)
    axes.set_title("two threads")
    axes.set_ylabel("time on one thread / on two")
    axes.set_ylim(top=2.6)  # room for the legend
    axes.legend()


def main(argv: Sequence[str] | None = None) -> int:
    """Time, print and draw; 0."""
    parser = argparse.ArgumentParser(prog="python -m bench.growth", description=__doc__)
    parser.add_argument("png", type=Path, help="the picture")
    parser.add_argument("--rounds", type=int, default=3, help="samples per point (default: 3)")
    options = parser.parse_args(argv)
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else 1
    limit_threads(min(cores, 2))
    set_threads(1)
    figure, axes = plt.subplots(2, 3, figsize=(13, 7.5), layout="constrained")
    for panel, curve in zip(axes.flat, CURVES, strict=False):
        seconds = grown(curve, options.rounds)
        for i, size in enumerate(curve.sizes):
            times = ", ".join(f"{name} {1e6 * s[i]:.1f} µs" for name, s in seconds.items())
            print(f"{curve.title}, {curve.axis} {size}: {times}", flush=True)
        draw_curve(panel, curve, seconds)
    if cores > 1:
        gains = speedups(options.rounds)
        for op, gain in gains.items():
            print(f"two threads, {op}: " + ", ".join(f"{k} {v:.2f}" for k, v in gain.items()))
        draw_speedups(axes.flat[-1], gains)
    else:
        axes.flat[-1].set_axis_off()
    figure.suptitle("How cost grows with size: medians, the same arrays in turn")
    figure.savefig(options.png, dpi=110)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
