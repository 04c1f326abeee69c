"""pad in its four modes."""

from __future__ import annotations

from typing import Any

import numpy as np

from .record import Bad, OpCase, Sample, rng

# (shape, pad): for every mode
ANY_MODE: list[tuple[tuple[int, ...], tuple[int, ...]]] = [
    ((2, 5), (1, 1)), ((2, 3, 5), (2, 1)), ((2, 3, 5), (0, 4)), ((2, 3, 5), (4, 0)),
    ((2, 3, 5), (-1, 2)), ((2, 3, 5), (2, -1)), ((2, 3, 5), (-1, -2)), ((2, 3, 5), (0, 0)),
    ((1, 1, 1), (0, 0)), ((2, 1, 40), (3, 17)), ((3, 4, 5), (1, 2, 2, 1)), ((0, 3, 5), (1, 1)),
    ((2, 2, 4, 5), (1, 2, 2, 1)), ((2, 2, 4, 5), (0, 0, 1, 1)), ((2, 2, 4, 5), (1, 1, 0, 0)),
    ((2, 2, 4, 5), (-1, 1, 1, -1)), ((2, 3, 4, 5), (1, 0, 0, 1, 2, 1)),
    ((2, 2, 3, 4, 5), (1, 2, 2, 1, 1, 1)), ((2, 2, 3, 4, 5), (0, 0, 0, 0, 1, 2)),
    ((1, 2, 3, 40), (16, 17, 2, 2)),
]  # fmt: skip

CONSTANT_ONLY: list[tuple[tuple[int, ...], tuple[int, ...]]] = [
    ((5,), (2, 3)), ((), ()), ((5,), ()), ((2, 3), (1, 2, 3, 4)), ((2, 3, 4), (1,) * 6),
    ((2, 3), (7, 8)), ((2, 3), (-3, 0)), ((2, 3), (-2, -1)), ((0, 3), (1, 1, 2, 0)),
    ((2, 0), (1, 2)), ((2, 1, 2, 1, 2, 1), (1, 0, 0, 1, 1, 0, 0, 1)), ((3, 4), (0, 0, -1, 1)),
    ((2, 3, 4), (-1, -1, -1, -1, -1, 2)),
]  # fmt: skip


def samples() -> list[Sample]:
    r = rng(1)
    calls = []
    for mode in ("constant", "reflect", "replicate", "circular"):
        for shape, pad in ANY_MODE:
            calls.append(Sample((np.asarray(r.standard_normal(shape)), pad), {"mode": mode}))
    for i, (shape, pad) in enumerate(CONSTANT_ONLY):
        keywords: dict[str, Any] = {"value": 1.5 - i} if i % 2 else {}
        calls.append(Sample((np.asarray(r.standard_normal(shape)), pad), keywords))
    x = np.asarray(r.standard_normal((2, 5)))
    calls.append(Sample((x, (1, 2), "constant", -np.inf)))
    calls.append(Sample((x, (1, 2), "constant", np.nan)))
    calls.append(Sample((x, (9, 12), "replicate")))
    calls.append(Sample((x, (5, 5), "circular")))
    calls.append(Sample((x, (3, -2), "circular")))
    calls.append(Sample((x, [1, 2], "reflect", 0.0)))
    return calls


def large() -> list[Sample]:
    x = rng(2).standard_normal((4, 16, 60, 61))
    return [
        Sample((x, (1, 2, 3, 1))),
        Sample((x, (3, 3, 3, 3), "reflect")),
        Sample((x, (3, 3, 3, 3), "circular")),
    ]


def bad() -> list[Bad]:
    x = np.zeros((2, 3, 5), np.float32)
    return [
        Bad((x, (1,)), ValueError, "even number of entries"),
        Bad((x, (1,) * 8), ValueError, "at most two entries per axis"),
        Bad((x, (1,) * 40), ValueError, "too many entries"),
        Bad((x, 1), TypeError, "pad must be a sequence of ints"),
        Bad((x, "11"), TypeError, "pad must be a sequence of ints"),
        Bad((x, (1.0, 1.0)), TypeError, "pad must be an int"),
        Bad((x, (2**64, 0)), ValueError, "does not fit 64 bits"),
        Bad((x, (2**62, 2**62)), ValueError, "overflows|too large"),
        Bad((x, (2**60, 0)), ValueError, "too large"),
        Bad((x, (-4, -2)), ValueError, "crop more than there is"),
        Bad((x, (-6, 8)), ValueError, "crop more than there is"),
        Bad((x, (1, 1), "mirror"), ValueError, "mode must be .*mirror"),
        Bad((x, (1, 1), 3), TypeError, "mode must be a str"),
        Bad((x, (5, 0), "reflect"), ValueError, "smaller than the axis"),
        Bad((x, (0, 6), "circular"), ValueError, "wrap around more than once"),
        Bad((x, (-3, 4), "circular"), ValueError, "wrap around more than once"),
        Bad((x[..., :0], (1, 1), "replicate"), ValueError, "leave an element to repeat"),
        Bad((x[..., :0], (1, 1), "circular"), ValueError, "leave an element to repeat"),
        Bad((x, (-5, 0), "reflect"), ValueError, "leave an element to repeat"),
        Bad((x[0, 0], (1, 1), "reflect"), ValueError, "must cover the last"),
        Bad((x, (1,) * 6, "reflect"), ValueError, "must cover the last"),
        Bad((x, (1, 1), "reflect", 2.0), ValueError, "value is for mode 'constant'"),
        Bad((x, (1, 1), "constant", "a"), TypeError, "value must be a number"),
        Bad((x.astype(np.int32), (1, 1)), TypeError, "input must be .*int32"),
        Bad((x.astype(np.float16), (1, 1)), TypeError, "input must be .*float16"),
        Bad((None, (1, 1)), TypeError, "input must be"),
    ]


CASES = [OpCase(name="pad", samples=samples, large=large, bad=bad)]
