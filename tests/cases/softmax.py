"""softmax and log_softmax."""

from __future__ import annotations

import numpy as np

from .record import Bad, OpCase, Sample, rng

SHAPES = [
    ((1,), 0), ((5,), -1), ((17,), 0), ((2, 3), 1), ((2, 3), 0), ((3, 16), -1), ((3, 16), 0),
    ((4, 33), 1), ((33, 4), 0), ((2, 3, 5), 0), ((2, 3, 5), 1), ((2, 3, 5), 2), ((2, 3, 5), -2),
    ((1, 64), -1), ((1, 65), -1), ((65, 1), 0), ((65, 1), 1), ((2, 2, 2, 2), 1),
    ((3, 7, 4, 5), 1), ((3, 7, 4, 5), -1), ((2, 9, 70), 1), ((0, 4), 1), ((0, 4), 0), ((3, 0), 0),
    ((), 0), ((), -1), ((2, 1, 3), 1), ((5, 31), 1), ((5, 15), 1), ((6, 130), 1),
]  # fmt: skip


def samples() -> list[Sample]:
    r = rng(1)
    calls = [Sample((np.asarray(3 * r.standard_normal(shape)), dim)) for shape, dim in SHAPES]
    calls.append(Sample((np.full((2, 6), 80.0) + r.standard_normal((2, 6)), -1)))
    calls.append(Sample((np.array([[-1000.0, 0.0, 1000.0], [0.5, -np.inf, 0.25]]), 1)))
    return calls


def large() -> list[Sample]:
    return [
        Sample((rng(2).standard_normal((300, 1000)), -1)),
        Sample((rng(3).standard_normal((8, 33, 700)), 1)),
    ]


def bad() -> list[Bad]:
    x = np.zeros((2, 3), np.float32)
    return [
        Bad((x, 2), IndexError, "dim must be in .*got 2"),
        Bad((x, -3), IndexError, "dim must be in .*got -3"),
        Bad((x, 10**12), IndexError, "dim"),
        Bad((x, 2**70), ValueError, "dim does not fit 64 bits"),
        Bad((x, 1.5), TypeError, "dim must be an int"),
        Bad((x, "1"), TypeError, "dim must be an int"),
        Bad((x.astype(np.int32), 1), TypeError, "input must be .*float.*int32"),
        Bad((x.astype(np.float16), 1), TypeError, "input must be .*float16"),
        Bad((x.astype(bool), 1), TypeError, "input must be .*bool"),
        Bad((x.astype(complex), 1), TypeError, "input must be .*complex"),
        Bad((np.array(["a"]), 0), TypeError, "input must be"),
        Bad((None, 0), TypeError, "input must be"),
        Bad((np.zeros((1,) * 20, np.float32), 0), ValueError, "at most 16 dimensions"),
    ]


CASES = [
    OpCase(name="softmax", samples=samples, large=large, bad=bad),
    OpCase(name="log_softmax", samples=samples, large=large, bad=bad),
]
