"""embedding and one_hot."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from .record import Bad, OpCase, Sample, rng


def samples() -> list[Sample]:
    r = rng(8)
    calls = []
    for i, (shape, rows, width) in enumerate(
        [
            ((), 3, 2), ((1,), 1, 1), ((5,), 4, 3), ((2, 3), 7, 17), ((2, 0), 5, 4), ((3,), 6, 0),
            ((4, 2, 2), 9, 33), ((40,), 3, 5), ((6,), 10, 16), ((8,), 20, 1),
        ]
    ):  # fmt: skip
        weight = r.standard_normal((rows, width))
        for dtype in (np.int64, np.int32, np.uint8):
            tokens = np.asarray(r.integers(0, rows, shape)).astype(dtype)
            settings: dict[str, Any] = {}
            if i % 2:
                settings = {"padding_idx": -1 if dtype == np.int32 else 0}
            if i % 3 == 1:
                settings["scale_grad_by_freq"] = True
            calls.append(Sample((tokens, weight), settings))
    return calls


def large() -> list[Sample]:
    r = rng(9)
    return [Sample((r.integers(0, 300, (40, 100)), r.standard_normal((300, 64))))]


def bad() -> list[Bad]:
    i, w = np.array([0, 1]), np.zeros((3, 2), np.float32)
    return [
        Bad((np.array([3]), w), IndexError, r"indices must be in \[0, 3\), got 3"),
        Bad((np.array([-1]), w), IndexError, "got -1"),
        Bad((np.array([2**40]), w), IndexError, "got 1099511627776"),
        Bad((i.astype(np.float32), w), TypeError, "input must be an array of integers"),
        Bad((i.astype(bool), w), TypeError, "input must be an array of integers"),
        Bad((i, w.astype(int)), TypeError, "weight must be"),
        Bad((i, w[0]), ValueError, "weight must have 2 dimensions"),
        Bad((i, w[None]), ValueError, "weight must have 2 dimensions"),
        Bad((i, w), ValueError, "padding_idx must be in", {"padding_idx": 3}),
        Bad((i, w), ValueError, "padding_idx must be in", {"padding_idx": -4}),
        Bad((i, w), ValueError, "sparse must be False", {"sparse": True}),
        Bad((i, w), ValueError, "max_norm must be positive", {"max_norm": 0.0}),
        Bad((i, None), TypeError, "weight must be"),
    ]


def on_torch(tokens: Any, weight: Any, **settings: Any) -> Any:
    return torch.nn.functional.embedding(tokens.long(), weight, **settings)


def one_hot_samples() -> list[Sample]:
    r = rng(10)
    shapes = [(), (1,), (5,), (2, 3), (2, 0), (3, 2, 2)]
    calls = [
        Sample((np.asarray(r.integers(0, 6, s)).astype(dtype), n))
        for s in shapes
        for n in (6, 7, 11)
        for dtype in (np.int64, np.int32)
    ]
    return [*calls, Sample((np.array([0, 3]),)), Sample((np.array([[0]]), -1))]


def one_hot_bad() -> list[Bad]:
    i = np.array([0, 2])
    return [
        Bad((i, 2), IndexError, r"input must be in \[0, 2\), got 2"),
        Bad((np.array([-1]), 2), IndexError, "got -1"),
        Bad((np.array([-1]), -1), IndexError, "got -1"),
        Bad((i, 0), ValueError, "num_classes must be positive"),
        Bad((i, -2), ValueError, "num_classes must be positive"),
        Bad((i[:0],), ValueError, "num_classes must be given"),
        Bad((i, 2.5), TypeError, "num_classes must be an int"),
        Bad((i, True), TypeError, "num_classes must be an int"),
        Bad((i.astype(float), 3), TypeError, "array of integers"),
        Bad((i.astype(bool), 3), TypeError, "array of integers"),
        Bad((None, 3), TypeError, "array of integers"),
    ]


def one_hot_torch(tokens: Any, *args: int) -> Any:
    return torch.nn.functional.one_hot(tokens.long(), *args)


CASES = [
    OpCase(
        "embedding",
        samples,
        large,
        bad,
        torch=on_torch,
        differentiable=(1,),
        derivative=lambda sample: not sample.kwargs,
    ),
    OpCase(
        "one_hot",
        one_hot_samples,
        lambda: [Sample((rng(11).integers(0, 50, 5000), 50))],
        one_hot_bad,
        torch=one_hot_torch,
        differentiable=(),
    ),
]
