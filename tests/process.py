"""Python in a process of its own, with the pyfast that the tests see."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pyfast


def python(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    folder = str(Path(pyfast.__file__).parents[1])
    return subprocess.run(
        [sys.executable, *arguments],
        capture_output=True, text=True, check=False, timeout=600,
        env={**os.environ, "PYTHONPATH": folder, **environment},
    )  # fmt: skip


def output_of(script: str, *flags: str) -> str:
    """What a script prints; fails with what it complains about."""
    done = python(*flags, "-c", script)
    assert done.returncode == 0, done.stderr
    return done.stdout
