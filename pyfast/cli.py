"""The console script: ``pyfast info``, ``pyfast demo``, ``pyfast bench``."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from .extras import load_bench, missing_extra

__all__ = ["main"]


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="pyfast", description="Fast neural-network kernels.")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    info = commands.add_parser("info", help="version, ISA, threads, caches, measured FMA peak")
    info.add_argument("--json", type=Path, metavar="FILE", help="write the figures here too")
    demo = commands.add_parser("demo", help="train a CNN on 1,797 real handwritten digits")
    demo.add_argument("--json", type=Path, metavar="FILE", help="write every figure shown here")
    demo.add_argument("--output", type=Path, default=Path("pyfast-demo"), metavar="FOLDER",
                      help="where weights and figure go (default: pyfast-demo)")  # fmt: skip
    demo.add_argument("--epochs", type=int, default=20, help="default: 20")
    demo.add_argument("--seed", type=int, default=0, help="default: 0")
    commands.add_parser("bench", add_help=False, help="time every op family against its peers")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run the console script.

    Parameters
    ----------
    argv : sequence of str, optional
        Arguments after the program's name; default ``sys.argv[1:]``.

    Returns
    -------
    int
        The exit status: 0, or 2 for what cannot be done, with one line on standard error.

    Examples
    --------
    >>> main(["info"])  # doctest: +ELLIPSIS
    pyfast ...
    0
    """
    arguments = list(sys.argv[1:] if argv is None else argv)
    if arguments[:1] == ["bench"]:
        return _bench(arguments[1:])
    options = _parser().parse_args(arguments)
    try:
        return _info(options) if options.command == "info" else _demo(options)
    except KeyboardInterrupt:
        print("pyfast: interrupted", file=sys.stderr)
        return 130


def _info(options: argparse.Namespace) -> int:
    from .info import collect, text, write

    figures = collect()
    print(text(figures))
    if options.json:
        write(options.json, figures)
    return 0


def _demo(options: argparse.Namespace) -> int:
    problem = missing_extra(["sklearn", "matplotlib"], "demo")
    if problem is None and options.epochs < 1:
        problem = f"--epochs must be at least 1, got {options.epochs}"
    if problem:
        print(f"pyfast demo: {problem}", file=sys.stderr)
        return 2
    from .demo import run

    return run(options.output, epochs=options.epochs, seed=options.seed, json_file=options.json)


def _bench(arguments: list[str]) -> int:
    bench = load_bench("cli")
    if bench is None:
        print("pyfast bench: run it in a checkout or from an installed wheel", file=sys.stderr)
        return 2
    return int(bench.main(arguments, prog="pyfast bench"))


if __name__ == "__main__":
    sys.exit(main())
