"""A fresh interpreter for tests that need a process of their own."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pyfast


def python(
    *arguments: str, check: bool = True, timeout: float = 600, **environment: str
) -> subprocess.CompletedProcess[str]:
    """Run ``python *arguments`` with the pyfast under test, from a folder that has no other."""
    same_pyfast = str(Path(pyfast.__file__).parents[1])
    return subprocess.run(
        [sys.executable, *arguments],
        capture_output=True,
        text=True,
        check=check,
        timeout=timeout,
        cwd=tempfile.gettempdir(),
        env={**os.environ, "PYTHONPATH": same_pyfast, **environment},
    )
