"""Results as a table, as JSON and as a picture."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from .peers import PREPARED


@dataclass
class Result:
    """Median seconds of every library on one shape."""

    family: str
    shape: str
    work: float
    unit: str
    seconds: dict[str, float]
    failures: dict[str, str] = field(default_factory=dict)

    @property
    def fastest_peer(self) -> str | None:
        peers = {k: v for k, v in self.seconds.items() if k not in ("pyfast", PREPARED)}
        return min(peers, key=peers.__getitem__) if peers else None

    @property
    def ratio(self) -> float:
        """Fastest peer's time over pyfast's: above 1, pyfast is faster."""
        return self._over("pyfast")

    @property
    def packed_ratio(self) -> float:
        """The same for pyfast on prepared weights; NaN where the family has no such call."""
        return self._over(PREPARED)

    def _over(self, name: str) -> float:
        peer = self.fastest_peer
        if peer is None or name not in self.seconds:
            return math.nan
        return self.seconds[peer] / self.seconds[name]

    @property
    def rate(self) -> str:
        return f"{self.work / self.seconds['pyfast'] / 1e9:.1f} G{self.unit}/s"


def geometric_mean(values: Sequence[float]) -> float:
    """Exponential of the mean logarithm."""
    return math.exp(sum(math.log(v) for v in values) / len(values)) if values else math.nan


def table(results: Sequence[Result], peers: Sequence[str]) -> str:
    """One line per shape: pyfast's time and rate, each peer's time, the ratio to the fastest.

    Where a family prepares its weights, pyfast's time and ratio with them stand there, too.
    """
    packed = any(PREPARED in r.seconds for r in results)
    names = ["pyfast", *[PREPARED] * packed, *peers]
    ratios = ["ratio", *["packed ratio"] * packed]
    rows = [["family", "shape", *(f"{n} µs" for n in names), "rate", *ratios, "against"]]
    for r in results:
        times = [f"{r.seconds[n] * 1e6:.1f}" if n in r.seconds else "-" for n in names]
        against = [_two_digits(r.ratio), *[_two_digits(r.packed_ratio)] * packed]
        rows.append([r.family, r.shape, *times, r.rate, *against, r.fastest_peer or "-"])
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    lines = ["  ".join(cell.ljust(w) for cell, w in zip(row, widths, strict=True)) for row in rows]
    lines.insert(1, "  ".join("-" * w for w in widths))
    for family in dict.fromkeys(r.family for r in results):
        here = [r for r in results if r.family == family]
        lines += _summary(family, [r.ratio for r in here])
        lines += _summary(f"{family}, packed", [r.packed_ratio for r in here])
    lines += [
        f"{r.family} {r.shape}: {k} left out: {v}" for r in results for k, v in r.failures.items()
    ]
    return "\n".join(line.rstrip() for line in lines)


def _two_digits(ratio: float) -> str:
    return "-" if math.isnan(ratio) else f"{ratio:.2f}"


def _summary(name: str, ratios: Sequence[float]) -> list[str]:
    known = [r for r in ratios if not math.isnan(r)]
    if not known:
        return []
    return [f"{name}: geometric mean {geometric_mean(known):.2f}, worst {min(known):.2f}"]


def write_json(path: Path, results: Sequence[Result], machine: dict[str, Any]) -> None:
    """Everything in the table and the machine it was measured on."""
    rows = [
        {**asdict(r), "ratio": None if math.isnan(r.ratio) else r.ratio,
         "packed_ratio": None if math.isnan(r.packed_ratio) else r.packed_ratio,
         "fastest_peer": r.fastest_peer}
        for r in results
    ]  # fmt: skip
    path.write_text(json.dumps({"machine": machine, "results": rows}, indent=2) + "\n")


def write_png(path: Path, results: Sequence[Result]) -> None:
    """Ratio to the fastest peer, a bar per shape, a line at 1."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt
    from matplotlib import ticker

    shown = [r for r in results if not math.isnan(r.ratio)]
    figure, axes = plt.subplots(figsize=(9, 0.32 * len(shown) + 1.5), layout="constrained")
    labels = [f"{r.family}  {r.shape}" for r in shown]
    colours = ["#0072B2" if r.ratio >= 1 else "#D55E00" for r in shown]
    axes.barh(labels, [r.ratio for r in shown], color=colours)
    for y, r in enumerate(shown):
        axes.annotate(f" {r.ratio:.2f} × {r.fastest_peer}", (r.ratio, y), va="center", fontsize=7)
    axes.axvline(1, color="black", linewidth=1)
    axes.invert_yaxis()
    axes.set_xscale("log")
    axes.set_xlim(right=3 * max((r.ratio for r in shown), default=1.0))  # room for the labels
    axes.xaxis.set_major_locator(ticker.LogLocator(subs=(1.0, 2.0, 5.0)))
    axes.xaxis.set_major_formatter("{x:g}")
    axes.xaxis.set_minor_formatter(ticker.NullFormatter())
    axes.set_xlabel("fastest peer's time / pyfast's time (above 1: pyfast is faster)")
    axes.set_title("pyfast against the fastest installed peer, per shape")
    figure.savefig(path, dpi=130)
    plt.close(figure)
