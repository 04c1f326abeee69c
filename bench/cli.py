"""The command line of the benchmarks."""

from __future__ import annotations

import argparse
import os
import platform
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .peers import PEERS, PREPARED, available, limit_threads, prepare
from .report import Result, table, write_json, write_png
from .timing import in_turn

if TYPE_CHECKING:
    from .family import Family, Shape


def parser(prog: str = "python -m bench") -> argparse.ArgumentParser:
    """The options, shared by ``python -m bench`` and ``pyfast bench``."""
    p = argparse.ArgumentParser(prog=prog, description=__doc__)
    p.add_argument("--filter", default="", help="only families and shapes that contain this text")
    p.add_argument("--threads", type=int, default=1, help="threads for everybody (default: 1)")
    p.add_argument("--isa", help="upper bound for pyfast: scalar, avx2, avx512, amx (PYFAST_ISA)")
    p.add_argument("--peers", default=",".join(PEERS), help="comma-separated; default: all")
    p.add_argument("--rounds", type=int, default=9, help="samples per library (default: 9)")
    p.add_argument("--json", type=Path, help="write every figure to this file")
    p.add_argument("--png", type=Path, help="draw the ratios into this file")
    p.add_argument("--list", action="store_true", help="list families and shapes, time nothing")
    return p


def measure(
    family: Family, shape: Shape, peers: Sequence[str], threads: int, rounds: int
) -> Result:
    """All libraries on one shape: prepared, held against pyfast's result, then timed in turn."""
    import numpy as np

    arrays = shape.arrays()
    calls = {"pyfast": family.pyfast(arrays, shape.params)}
    failures: dict[str, str] = {}
    expected = calls["pyfast"]()
    for peer in (PREPARED, *peers):
        try:
            call = prepare(peer, family, arrays, shape.params, threads)
            if call is None:
                continue
            error = disagreement(np, call(), expected, family.rtol)
            if error:
                failures[peer] = error
            else:
                calls[peer] = call
        except Exception as problem:
            failures[peer] = f"{type(problem).__name__}: {problem}".splitlines()[0]
    seconds = in_turn(calls, rounds, warm=shape.warm)
    work = family.work * shape.work
    return Result(family.name, shape.name, work, shape.unit, seconds, failures)


def disagreement(np: Any, got: Any, expected: Any, rtol: float) -> str:
    """Empty when the results agree within rtol of the largest magnitude."""
    if expected is None or rtol == float("inf"):
        return ""
    several = isinstance(expected, tuple | list)
    for g, e in zip(got if several else [got], expected if several else [expected], strict=True):
        g, e = np.asarray(g), np.asarray(e)
        worst = float(np.abs(g - e).max() / max(float(np.abs(e).max()), 1e-30))
        if g.shape != e.shape or not worst <= rtol:
            return f"result differs by {worst:.1e} of the largest magnitude"
    return ""


LIMITS = ("ATEN_CPU_CAPABILITY", "ONEDNN_MAX_CPU_ISA", "MKL_ENABLE_INSTRUCTIONS")


def machine(options: argparse.Namespace, peers: Sequence[str]) -> dict[str, Any]:
    """Where the figures come from, and what was asked for."""
    import pyfast as pf
    from pyfast import _core

    return {
        "pyfast": pf.__version__,
        "isa": _core.isa(),
        "cpu": _core.cpu_info().get("model", platform.processor()),
        "threads": options.threads,
        "python": platform.python_version(),
        "filter": options.filter,
        "rounds": options.rounds,
        "peers": list(peers),
        "limits": {name: os.environ[name] for name in LIMITS if name in os.environ},
    }


def main(argv: Sequence[str] | None = None, prog: str = "python -m bench") -> int:
    """Run the benchmarks; 0, or 2 for options that make no sense."""
    options = parser(prog).parse_args(argv)
    peers = tuple(p for p in options.peers.split(",") if p)
    unknown = [p for p in peers if p not in PEERS]
    if unknown or options.threads < 1 or options.rounds < 1:
        problem = f"unknown peer {unknown[0]!r}" if unknown else "need at least 1"
        print(f"{prog}: {problem}; peers are {', '.join(PEERS)}", file=sys.stderr)
        return 2
    if options.isa:
        os.environ["PYFAST_ISA"] = options.isa
        if "pyfast._core" in sys.modules:  # the choice is made once per process: start over
            module = "bench" if __name__.startswith("bench") else "pyfast.bench"
            arguments = list(argv if argv is not None else sys.argv[1:])
            command = [sys.executable, "-m", module, *without_isa(arguments)]
            os.execv(sys.executable, command)
    limit_threads(options.threads)
    os.environ["PYFAST_NUM_THREADS"] = str(options.threads)
    return run(options, tuple(available(peers)))


def without_isa(arguments: Sequence[str]) -> list[str]:
    """The arguments less ``--isa X`` and ``--isa=X``, which the environment now carries."""
    kept: list[str] = []
    skip = False
    for a in arguments:
        if skip or a == "--isa" or a.startswith("--isa="):
            skip = a == "--isa"
            continue
        kept.append(a)
    return kept


def run(options: argparse.Namespace, peers: tuple[str, ...]) -> int:
    """Time what the options select and report it."""
    from tqdm import tqdm

    import pyfast as pf

    from .families import FAMILIES

    pf.set_num_threads(options.threads)
    chosen = [(f, s) for f in FAMILIES for s in f.shapes if options.filter in f"{f.name} {s.name}"]
    if options.list or not chosen:
        print("\n".join(f"{f.name} {s.name}" for f, s in chosen) or "nothing matches --filter")
        return 0 if chosen else 2
    where = machine(options, peers)
    print(", ".join(f"{k} {v}" for k, v in where.items()))
    results = []
    for family, shape in tqdm(chosen, desc="bench", disable=not sys.stderr.isatty()):
        results.append(measure(family, shape, peers, options.threads, options.rounds))
    print(table(results, peers))
    if options.json:
        write_json(options.json, results, where)
    if options.png:
        write_png(options.png, results)
    return 0
