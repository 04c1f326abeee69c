"""What the examples of pyfast.analysis share: their two options, and how figures are saved."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")


def options(description: str | None, argv: Sequence[str] | None) -> argparse.Namespace:
    """Parse ``--output`` and ``--quick``."""
    parser = argparse.ArgumentParser(description=(description or "").splitlines()[0])
    parser.add_argument("--output", type=Path, default=Path("figures"), metavar="FOLDER",
                        help="where the figures go (default: figures)")  # fmt: skip
    parser.add_argument("--quick", action="store_true", help="a few seconds, to see that it runs")
    chosen = parser.parse_args(argv)
    chosen.output.mkdir(parents=True, exist_ok=True)
    return chosen


def save(figure: Any, path: Path) -> None:
    """Write a figure as a small PNG of 128 colours and say so."""
    from matplotlib import pyplot as plt
    from PIL import Image

    figure.savefig(path, dpi=80)
    with Image.open(path) as full:
        small = full.convert("RGB").quantize(128, dither=Image.Dither.NONE)
    small.save(path, optimize=True)
    plt.close(figure)
    print(f"figure: {path} ({path.stat().st_size / 1024:.0f} KiB)")
