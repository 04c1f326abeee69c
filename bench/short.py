"""The short table at the end of ``pyfast demo``: a few kernels against NumPy and PyTorch."""

from __future__ import annotations

from typing import Any

from .peers import available, limit_blas, prepare
from .timing import in_turn

CHOSEN = {
    "conv2d": "8x64x56x56 64@3x3/1",
    "matmul": "1024x1024 @ 1024x1024",
    "attention": "1x8x1024x64 causal",
    "max_pool2d": "64x32x28x28 2x2/2",
    "batch_norm+relu training": "64x32x28x28",
    "softmax": "4096x1024",
}


def short_table() -> list[dict[str, Any]]:
    """One row per chosen kernel: milliseconds of each library on one thread, pyfast's rate."""
    import pyfast as pf

    from .families import FAMILIES

    before = pf.get_num_threads()
    pf.set_num_threads(1)
    limit_blas(1)
    rows = []
    try:
        for family in FAMILIES:
            for shape in family.shapes:
                if CHOSEN.get(family.name) != shape.name:
                    continue
                arrays = shape.arrays()
                calls = {"pyfast": family.pyfast(arrays, shape.params)}
                for peer in available(("numpy", "torch")):
                    call = prepare(peer, family, arrays, shape.params, threads=1)
                    if call:
                        calls[peer] = call
                seconds = in_turn(calls, rounds=3)
                rate = shape.work / seconds["pyfast"] / 1e9
                rows.append(
                    {
                        "kernel": family.name,
                        "shape": shape.name,
                        "milliseconds": {k: 1e3 * v for k, v in seconds.items()},
                        "rate": f"{rate:.1f} G{shape.unit}/s",
                    }
                )
    finally:
        pf.set_num_threads(before)
    return rows
