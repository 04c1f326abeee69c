"""GPU kernels against PyTorch's, and against the copy bandwidth and bf16 matmul rate measured here.

    python -m bench.gpu --output results.json        # on a machine with an NVIDIA GPU
    python -m bench.gpu --budget 200                 # starts nothing after 200 seconds

Both sides get the same tensors. A time is the median over repetitions of CUDA events around one
call; the L2 cache is flushed before each repetition. Where PyTorch has several ways (eager,
torch.compile, a pinned attention backend, channels last), each is a column; those that compile
first are timed last, in what is left of the budget. Where pyfast has a kernel for one architecture
(wgmma and TMA), its portable one is the column "portable".
"""

from __future__ import annotations

import argparse
import json
import math
import statistics
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict
from typing import Any

from .gpu_goals import against_best, bound, goals
from .gpu_rows import PORTABLE, Call, Row, Work
from .gpu_works import everything


def time_call(torch: Any, call: Call, flush: Any, repetitions: int = 15) -> float:
    """Seconds a call, the median of `repetitions`."""
    for _ in range(3):
        call()
    torch.cuda.synchronize()
    times = []
    for _ in range(repetitions):
        flush.zero_()
        start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        start.record()
        call()
        end.record()
        torch.cuda.synchronize()
        times.append(start.elapsed_time(end) / 1e3)
    return statistics.median(times)


def limits(torch: Any, flush: Any) -> dict[str, float]:
    """Copy bandwidth (read and written) and bf16 matmul rate of this GPU."""
    a = torch.empty(1 << 29, dtype=torch.uint8, device="cuda")
    b = torch.empty_like(a)
    copy = time_call(torch, lambda: b.copy_(a), flush)
    n = 8192
    x = torch.randn(n, n, dtype=torch.bfloat16, device="cuda")
    y = torch.randn(n, n, dtype=torch.bfloat16, device="cuda")
    product = time_call(torch, lambda: x @ y, flush)
    return {"copy_bytes_per_s": 2 * a.numel() / copy, "bf16_flops": 2 * n**3 / product}


def compiled_module() -> Any:
    """The CUDA kernels of pyfast, or None."""
    try:
        from pyfast import _cuda
    except ImportError:
        return None
    return _cuda


def measure(torch: Any, work: Work, flush: Any) -> Row:
    """Times of every column but the late ones; what fails says why instead."""
    return time_columns(torch, work.row, work.columns(compiled_module()), flush)


def time_columns(torch: Any, row: Row, columns: dict[str, Call], flush: Any) -> Row:
    """Adds the columns' times to the row."""
    for name, call in columns.items():
        try:
            row.times[name] = time_call(torch, call, flush)
        except Exception as problem:  # one op that fails must not cost the others
            row.failed[name] = f"{type(problem).__name__}: {problem}"
            torch.cuda.synchronize()
    return row


def table(rows: list[Row], found: dict[str, float]) -> str:
    """The rows as text: time, share of what bounds them, times PyTorch's best; geometric means.

    Where there are operations to count, their rate; where the portable kernel was timed, too, how
    many times its speed.
    """
    lines = [f"{'op':28} {'shape':26} {'dtype':9} {'us':>9} {'of limit':>8} {'x best':>7}"]
    for row in rows:
        start = f"{row.op:28} {row.shape:26} {row.dtype:9}"
        ours = row.times.get("pyfast")
        if ours is None:
            lines.append(f"{start} {row.failed.get('pyfast', 'not timed')}")
            continue
        best = against_best(row)
        ratio = f"{'-':>7}" if best is None else f"{best:7.2f}"
        rate = f" {row.flops / ours / 1e12:6.0f} TFLOP/s" if row.flops else ""
        if PORTABLE in row.times:
            rate += f" {row.times[PORTABLE] / ours:6.2f} x portable"
        lines.append(f"{start} {ours * 1e6:9.1f} {bound(row, found) / ours:8.1%} {ratio}{rate}")
    lines.append("")
    for op in dict.fromkeys(row.op for row in rows):
        ratios = [r for row in rows if row.op == op and (r := against_best(row)) is not None]
        if ratios:
            mean = math.exp(statistics.fmean(map(math.log, ratios)))
            lines.append(f"{op:28} geometric mean of {len(ratios):3} {mean:7.2f} x PyTorch's best")
    return "\n".join(lines)


def report(rows: list[Row], found: dict[str, float], device: Any, torch_version: str) -> str:
    """All that was measured, as JSON."""
    contents = {
        "device": device,
        "torch": torch_version,
        "limits": found,
        "goals": [goal.line() for goal in goals(rows, found)],
        "rows": [asdict(row) for row in rows],
    }
    return json.dumps(contents, indent=1)


def run(
    torch: Any, works: Iterator[Work], flush: Any, only: str = "", budget: float = math.inf,
    save: Callable[[list[Row]], None] = lambda rows: None,
) -> tuple[list[Row], bool]:  # fmt: skip
    """The rows whose op's name contains `only`, and whether time was left for all columns.

    `save` gets what there is whenever there is more: who stops the run has that.
    """
    started = time.monotonic()
    rows: list[Row] = []
    late: list[Work] = []
    for work in works:
        if time.monotonic() - started > budget:
            return rows, False
        if only in work.row.op:
            rows.append(measure(torch, work, flush))
            save(rows)
            if work.late:
                late.append(work)
    for work in late:
        if time.monotonic() - started > budget:
            return rows, False
        time_columns(torch, work.row, work.late, flush)
        save(rows)
    return rows, True


def main(arguments: list[str] | None = None) -> int:
    """Time everything, or say why not."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--output", help="write JSON here")
    parser.add_argument("--only", default="", help="ops whose name contains this")
    parser.add_argument("--budget", type=float, default=math.inf, help="seconds for all timings")
    parser.add_argument("--dry-run", action="store_true", help="time nothing")
    options = parser.parse_args(arguments)
    import pyfast as pf

    reason = pf.cuda.why_not()
    if options.dry_run or reason:
        print(f"nothing timed: {reason or 'dry run'}")
        return 0 if options.dry_run else 1
    import torch

    flush = torch.empty(256 << 20, dtype=torch.uint8, device="cuda")
    found = limits(torch, flush)

    def save(rows: list[Row]) -> None:
        if options.output:
            with open(options.output, "w", encoding="utf-8") as file:
                file.write(report(rows, found, pf.cuda.device_info(), torch.__version__))

    works = everything(torch, pf)
    rows, complete = run(torch, works, flush, options.only, options.budget, save)
    print(table(rows, found))
    print("", *(goal.line() for goal in goals(rows, found)), sep="\n")
    if not complete:
        print(f"the budget of {options.budget:.0f} s ended: what is missing above was not timed")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
