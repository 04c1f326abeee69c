"""Saved runs (`--json`) as the tables of docs/performance_tables.md.

``python -m bench.markdown run.json ... --output docs/performance_tables.md``
"""

from __future__ import annotations

import argparse
import json
import shlex
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from .peers import PREPARED
from .report import Result, geometric_mean

SHORT = {"torch-channels-last": "torch NHWC", "torch-compile": "torch.compile",
         "onnxruntime": "ORT", "openvino": "OpenVINO", "jax": "JAX", "numpy": "NumPy"}  # fmt: skip


@dataclass(frozen=True)
class Run:
    """One call of the benchmark: where and how, and what came of it."""

    machine: dict[str, Any]
    results: list[Result]

    @classmethod
    def read(cls, path: Path) -> Run:
        """What `write_json` has written."""
        saved = json.loads(path.read_text())
        known = {f.name for f in fields(Result)}
        rows = [{k: v for k, v in row.items() if k in known} for row in saved["results"]]
        return cls(saved["machine"], [Result(**row) for row in rows])

    @property
    def where(self) -> str:
        threads = self.machine["threads"]
        return f"{self.machine['isa']}, {threads} thread{'s' * (threads > 1)}"

    @property
    def command(self) -> str:
        """What to type to have the same run again."""
        m = self.machine
        words = ["python", "-m", "bench", "--isa", m["isa"], "--threads", str(m["threads"]),
                 "--rounds", str(m["rounds"]), "--peers", ",".join(m["peers"])]  # fmt: skip
        limits = [f"{name}={value}" for name, value in m["limits"].items()]
        filtered = ["--filter", m["filter"]] if m["filter"] else []
        return shlex.join([*limits, *words, *filtered])

    def families(self) -> dict[str, list[Result]]:
        """Results by family, and a batch size's convolutions as a family of their own."""
        found: dict[str, list[Result]] = {}
        for r in self.results:
            batch = r.shape.partition("x")[0]
            name = f"{r.family}, batch {batch}" if r.family == "conv2d" else r.family
            found.setdefault(name, []).append(r)
        return found


def row(cells: Sequence[str]) -> str:
    """A line of a table."""
    return f"| {' | '.join(cells)} |"


def head(cells: Sequence[str]) -> list[str]:
    """A table's first line and the rule below it."""
    return [row(cells), "|" + "---|" * len(cells)]


def ratios(results: Sequence[Result], packed: bool) -> list[tuple[float, str]]:
    """Ratio and shape, the worst first; shapes that no peer has are left out."""
    found = [(r.packed_ratio if packed else r.ratio, r.shape) for r in results]
    return sorted(pair for pair in found if pair[0] == pair[0])


def summary(runs: Sequence[Run]) -> Iterator[str]:
    """A line per family, a column per machine setting; the worst family first."""
    places = list(dict.fromkeys(run.where for run in runs))
    cells: dict[str, dict[str, str]] = {}
    means: dict[str, float] = {}
    for run in runs:
        for family, results in run.families().items():
            for packed in (False, True):
                known = ratios(results, packed)
                if not known:
                    continue
                name = f"{family}, packed" if packed else family
                mean = geometric_mean([r for r, _ in known])
                below = sum(r < 1 for r, _ in known)
                text = f"{mean:.2f}; {known[0][0]:.2f}; {below} of {len(known)}"
                cells.setdefault(name, {})[run.where] = text
                means.setdefault(name, mean)
    yield "The geometric mean over the shapes; the worst; how many are below 1.\n"
    yield from head(["family", *places])
    for name in sorted(cells, key=means.__getitem__):
        yield row([name, *(cells[name].get(place, "") for place in places)])


def table(results: Sequence[Result]) -> Iterator[str]:
    """A line per shape, the worst first."""
    names = [n for n in dict.fromkeys(k for r in results for k in r.seconds) if n != PREPARED]
    packed = any(PREPARED in r.seconds for r in results)
    names[1:1] = [PREPARED] * packed
    titles = [SHORT.get(n, n) for n in names]
    titles[0] += " µs"
    yield from head(["shape", *titles, "rate", "ratio", *["packed"] * packed])
    for r in sorted(results, key=lambda r: r.ratio):
        times = [_microseconds(r.seconds.get(n)) for n in names]
        against = [f"{x:.2f}" if x == x else "" for x in (r.ratio, *[r.packed_ratio] * packed)]
        yield row([r.shape, *times, r.rate, *against])
    yield ""
    for r in results:
        yield from (f"Left out: {k} on {r.shape}: {v}\n" for k, v in r.failures.items())


def _microseconds(seconds: float | None) -> str:
    """Four digits, or all of a whole number."""
    if seconds is None:
        return ""
    return f"{seconds * 1e6:.1f}" if seconds < 1e-3 else f"{seconds * 1e6:.0f}"


def page(runs: Sequence[Run]) -> Iterator[str]:
    """The whole page."""
    yield "# Every shape against every peer\n"
    yield "Written by `python -m bench.markdown` from the runs below; what the columns mean and"
    yield "what bounds them is in [performance.md](performance.md).\n"
    yield from (f"- {run.where}: `{run.command}`" for run in runs)
    yield "\n## Summary, the losses first\n"
    yield from summary(runs)
    for family in dict.fromkeys(f for run in runs for f in run.families()):
        yield f"\n## {family}"
        for run in runs:
            if family in run.families():
                yield f"\n{run.where}:\n"
                yield from table(run.families()[family])


def main(argv: Sequence[str] | None = None) -> int:
    """Read the runs, write the page."""
    p = argparse.ArgumentParser(prog="python -m bench.markdown", description=__doc__)
    p.add_argument("runs", nargs="+", type=Path)
    p.add_argument("--output", type=Path, required=True)
    options = p.parse_args(argv)
    text = "\n".join(page([Run.read(path) for path in options.runs]))
    while "\n\n\n" in text:
        text = text.replace("\n\n\n", "\n\n")
    options.output.write_text(text.rstrip() + "\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
