"""Timings of every op family against every installed peer, on the same arrays, in one run.

``python -m bench`` in a checkout, ``pyfast bench`` from an installed wheel (the same code).
"""

import sys
from pathlib import Path

# ``python -m`` puts the checkout first on the path. Where its pyfast/ has no compiled module beside
# the sources, the installed package is the one to measure.
_root = Path(__file__).resolve().parents[1]
if not any((_root / "pyfast").glob("_core.*[!i]")) and not any(_root.glob("_core.*[!i]")):
    sys.path[:] = [p for p in sys.path if Path(p or ".").resolve() != _root] + [str(_root)]
