"""What kernels on a GPU are to reach, and how far they are."""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable
from dataclasses import dataclass

from .gpu_rows import PORTABLE, Row


def against_best(row: Row) -> float | None:
    """Times PyTorch's best; None where either side has no time."""
    others = [t for name, t in row.times.items() if name not in ("pyfast", PORTABLE)]
    ours = row.times.get("pyfast")
    return min(others) / ours if ours and others else None


def bound(row: Row, found: dict[str, float]) -> float:
    """Seconds that copying its bytes, or multiplying at matmul's rate, would take."""
    return max(row.moved / found["copy_bytes_per_s"], row.flops / found["bf16_flops"])


@dataclass
class Goal:
    """A line of what the kernels are to reach: of these rows' figures the worst, or the mean."""

    what: str
    least: float
    figures: list[float]
    mean: bool = False

    def line(self) -> str:
        """As one line of text."""
        if not self.figures:
            return f"{self.what:58} {'not timed':>9} (goal {self.least:g})"
        worst = min(self.figures)
        figure = math.exp(statistics.fmean(map(math.log, self.figures))) if self.mean else worst
        verdict = "met" if figure >= self.least else "NOT met"
        return f"{self.what:58} {figure:9.2f} (goal {self.least:g}) {verdict}; worst {worst:.2f}"


def goals(rows: list[Row], found: dict[str, float]) -> list[Goal]:
    """Every goal, with what was timed of it."""
    timed = [row for row in rows if "pyfast" in row.times]

    def share(row: Row) -> float:
        return bound(row, found) / row.times["pyfast"]

    def rates(op: str, wanted: Callable[[str], bool]) -> list[float]:
        rows = [row for row in timed if row.op == op and wanted(row.shape)]
        return [row.flops / row.times["pyfast"] / 1e12 for row in rows]

    def ratios(wanted: Callable[[Row], bool]) -> list[float]:
        return [r for row in timed if wanted(row) and (r := against_best(row)) is not None]

    masks = ("blocks", "scattered", "lengths")
    memory = [share(row) for row in timed if not row.flops]
    full = rates("attention", lambda shape: " " not in shape)
    packed = rates("attention", lambda shape: shape.startswith("packed"))
    return [
        Goal("memory-bound: share of copy bandwidth", 0.85, memory),
        Goal("layer norm backward: times PyTorch's best", 1.3,
             ratios(lambda row: row.op == "layer_norm backward")),
        Goal("max pooling: times PyTorch's best", 1.3,
             ratios(lambda row: row.op.startswith("max_pool2d"))),
        Goal("attention, full: TFLOP/s", 500, full),
        Goal("attention, causal: TFLOP/s", 430,
             rates("attention", lambda shape: shape.endswith("causal") and ":" not in shape)),
        Goal("attention backward, full: TFLOP/s", 400,
             rates("attention backward", lambda shape: " " not in shape)),
        Goal("attention under boolean masks: times PyTorch's best", 1.5,
             ratios(lambda row: row.op.startswith("attention") and row.shape.endswith(masks))),
        Goal("packed sequences: share of full attention's rate", 0.8,
             [rate / max(full) for rate in packed] if full else []),
        Goal("conv2d: times cuDNN", 0.8, ratios(lambda row: row.op == "conv2d"), mean=True),
        Goal("conv2d + bias + relu: times cuDNN", 1.1,
             ratios(lambda row: row.op == "conv2d + bias + relu"), mean=True),
    ]  # fmt: skip
