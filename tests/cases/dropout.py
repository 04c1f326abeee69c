"""Dropout in all its forms; what is random about them is tested in tests/test_dropout.py."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from .record import Bad, OpCase, Sample, rng

SHAPES: dict[str, list[tuple[int, ...]]] = {
    "dropout": [(), (1,), (7,), (64,), (65,), (3, 5), (2, 3, 4), (0, 3), (130,), (2, 2, 2, 2)],
    "dropout1d": [(2, 3), (1, 1), (4, 2, 3), (2, 3, 0), (3, 17), (2, 5, 9), (0, 2, 3), (1, 4, 1),
                  (6, 2), (5, 5, 5)],
    "dropout2d": [(2, 3, 4), (2, 3, 4, 5), (1, 1, 1, 1), (3, 2, 2), (0, 3, 2, 2), (4, 4, 1, 5),
                  (2, 2, 7, 7), (5, 3, 1), (1, 8, 2, 2), (2, 3, 0, 4)],
}  # fmt: skip
SHAPES["alpha_dropout"] = SHAPES["dropout"]


def samples(name: str) -> Callable[[], list[Sample]]:
    def make() -> list[Sample]:
        r = rng(12)
        return [
            Sample((np.asarray(r.standard_normal(shape)), p, True))
            for shape in SHAPES[name]
            for p in (0.5, 0.1, 0.0, 1.0)
        ]

    return make


def large(name: str) -> Callable[[], list[Sample]]:
    shape = {"dropout1d": (30, 20, 200), "dropout2d": (8, 16, 30, 31)}.get(name, (100, 1001))
    return lambda: [Sample((rng(13).standard_normal(shape), 0.3, True))]


def bad(name: str) -> Callable[[], list[Bad]]:
    x = np.ones((2, 3, 4) if name == "dropout2d" else (2, 3), np.float32)

    def calls() -> list[Bad]:
        bad_shape = np.ones((2,) * 7, np.float32)
        rank = [Bad((bad_shape, 0.5), ValueError, "input must have")] if name[-1] == "d" else []
        return [
            Bad((x, -0.1, True), ValueError, r"p must be in \[0, 1\], got -0.1"),
            Bad((x, 1.1, True), ValueError, r"p must be in \[0, 1\], got 1.1"),
            Bad((x, float("nan"), True), ValueError, "p must be in"),
            Bad((x, "half", True), ValueError, "p must be in"),
            Bad((x, None, True), ValueError, "p must be in"),
            Bad((x, 2, False), ValueError, "p must be in"),
            Bad((x.astype(int), 0.5, True), TypeError, "input must be"),
            Bad((x.astype(bool), 0.5, True), TypeError, "input must be"),
            Bad((x.astype(np.float16), 0.5, True), TypeError, "input must be"),
            Bad((x.astype(complex), 0.5, True), TypeError, "input must be"),
            Bad((None, 0.5, True), (TypeError, ValueError), "input must"),
            *rank,
        ]

    return calls


CASES = [OpCase(name, samples(name), large(name), bad(name), oracle=False) for name in SHAPES]
