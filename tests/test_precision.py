"""float32 results are no further from float64's than PyTorch's own, on the same inputs.

``python tests/test_precision.py`` prints the errors and the ratio of every op.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from cases import OpCase, all_cases
from oracle import gradient_positions, run_pyfast, run_torch

Array = np.ndarray[Any, Any]

EPSILON = 2.0**-24  # half an ulp: what rounding an exact result to float32 may cost
# Errors of a few thousand rounded numbers scatter: a ratio within this of 1 says nothing.
NOISE = 1.15

CASES = [case for case in all_cases() if case.oracle]


def relative(actual: Array, exact: Array) -> float | None:
    """Root mean square error in units of the largest magnitude; None where nothing is finite."""
    if exact.dtype.kind != "f" or exact.size == 0:
        return None
    finite = np.isfinite(exact) & (np.abs(exact) < np.finfo(np.float32).max)
    scale = float(np.abs(exact[finite]).max(initial=0.0))
    if scale == 0.0:
        return None
    error = (actual.astype(np.float64) - exact)[finite] / scale
    return float(np.sqrt(np.mean(error**2)))


def errors(case: OpCase) -> tuple[float, float]:
    """pyfast's and PyTorch's mean error over all outputs and gradients of all samples."""
    found: list[tuple[float, float]] = []
    for sample in [*case.samples(), *case.large()]:
        narrow = sample.cast(np.float32)
        wide = narrow.cast(np.float64)
        if len(gradient_positions(case, narrow)) != len(gradient_positions(case, wide)):
            continue
        ours, theirs, exact = (
            run_pyfast(case, narrow),
            run_torch(case, narrow),
            run_torch(case, wide),
        )
        for part in range(2):
            for a, b, e in zip(ours[part], theirs[part], exact[part], strict=True):
                pair = relative(a, e), relative(b, e)
                if pair[0] is not None and pair[1] is not None and np.isfinite(pair[1]):
                    found.append((pair[0], pair[1]))
    if not found:
        return 0.0, 0.0
    return float(np.mean([a for a, _ in found])), float(np.mean([b for _, b in found]))


@pytest.mark.parametrize("case", CASES, ids=lambda c: c.name)
def test_error_is_no_larger_than_torchs(case: OpCase) -> None:
    ours, theirs = errors(case)
    # What is exact but for its last rounding cannot be improved.
    assert ours <= max(NOISE * theirs, EPSILON / 4), f"{ours:.2e} against {theirs:.2e}"


if __name__ == "__main__":
    for case in CASES:
        ours, theirs = errors(case)
        ratio = ours / theirs if theirs else float(ours > 0)
        print(f"{case.name:35} {ours:.2e} {theirs:.2e} {ratio:6.2f}")
