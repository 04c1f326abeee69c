"""Losses: class losses (cross_entropy, nll_loss) and pointwise ones."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from .record import Bad, OpCase, Sample, rng

F = torch.nn.functional
REDUCTIONS = ("mean", "sum", "none")


def class_samples(nll: bool) -> Callable[[], list[Sample]]:
    def samples() -> list[Sample]:
        r = rng(3)
        calls = []
        shapes = [(5, 3), (1, 2), (4, 17), (3, 33), (2, 5, 4), (2, 3, 4, 5), (3, 40), (7,), (3, 1)]
        for i, shape in enumerate(shapes):
            x = r.standard_normal(shape)
            if nll:
                x = np.log(r.random(shape) + 0.05)
            classes = shape[0] if len(shape) == 1 else shape[1]
            rows = () if len(shape) == 1 else (shape[0], *shape[2:])
            labels = np.asarray(r.integers(0, classes, rows))
            weight = r.random(classes) + 0.5
            for reduction in REDUCTIONS:
                settings: dict[str, Any] = {"reduction": reduction}
                calls.append(Sample((x, labels, weight if i % 2 else None), settings))
            ignored = labels.copy()
            if ignored.size > 1:
                ignored.reshape(-1)[::2] = -100
                calls.append(Sample((x, ignored, weight)))
                chosen = {"ignore_index": int(labels.flat[0])}
                calls.append(Sample((x, labels), chosen))
            if not nll:
                calls.append(Sample((x, labels, weight), {"label_smoothing": 0.1}))
                soft = r.random(shape)
                settings = {"label_smoothing": 0.2 * (i % 2), "reduction": REDUCTIONS[i % 3]}
                calls.append(Sample((x, soft, weight if i % 2 else None), settings))
        calls.append(Sample((x[:0].reshape(0, 4), np.zeros(0, np.int64)), {"reduction": "sum"}))
        return calls

    return samples


def class_large(nll: bool) -> Callable[[], list[Sample]]:
    def large() -> list[Sample]:
        r = rng(4)
        flat = Sample((r.standard_normal((300, 500)), r.integers(0, 500, 300)))
        images = Sample((r.standard_normal((4, 9, 40, 40)), r.integers(0, 9, (4, 40, 40))))
        return [flat, images]

    return large


def class_bad(nll: bool) -> Callable[[], list[Bad]]:
    def bad() -> list[Bad]:
        x, y = np.zeros((4, 3), np.float32), np.array([0, 1, 2, 0])
        calls = [
            Bad((x, np.array([0, 1, 3, 0])), IndexError, r"target must be in \[0, 3\).*got 3"),
            Bad((x, np.array([0, -1, 2, 0])), IndexError, "target.*got -1"),
            Bad((x, y[:3]), ValueError, r"target must have shape \(4,\), got \(3,\)"),
            Bad((x, y[None]), ValueError, "target must have shape"),
            Bad((x, y, np.ones(2, np.float32)), ValueError, "weight must have shape"),
            Bad((x, y, np.ones(3)), TypeError, "weight must have the dtype of input"),
            Bad((x, y), ValueError, "reduction", {"reduction": "average"}),
            Bad((x.astype(int), y), TypeError, "input must be"),
            Bad((x, y), TypeError, "ignore_index must be an int", {"ignore_index": 1.5}),
            Bad((np.float32(1) * np.ones(()), y), ValueError, "input must have at least 1"),
            Bad((x, "labels"), TypeError, "target"),
            Bad((None, y), TypeError, "input"),
        ]
        if nll:
            calls.append(Bad((x, x), TypeError, "target must be integers"))
        else:
            calls += [
                Bad((x, x[:2]), ValueError, "target must have shape"),
                Bad((x, x.astype(np.float64)), TypeError, "target must have the dtype"),
                Bad((x, y), ValueError, "label_smoothing", {"label_smoothing": 1.5}),
            ]
        return calls

    return bad


SHAPES = [(1,), (5,), (17,), (2, 3), (4, 33), (2, 3, 5), (), (0,), (3, 16)]


def pointwise_samples(kind: str = "real", **options: tuple[Any, ...]) -> Callable[[], list[Sample]]:
    """Every shape × reduction, cycling through the values of each option."""

    def operands(r: np.random.Generator, shape: tuple[int, ...]) -> tuple[Any, Any]:
        if kind == "probability":
            return np.asarray(0.02 + 0.96 * r.random(shape)), np.asarray(r.random(shape))
        if kind == "log":
            return np.asarray(np.log(r.random(shape) + 0.1)), np.asarray(r.random(shape) + 0.05)
        return np.asarray(1.5 * r.standard_normal(shape)), np.asarray(r.standard_normal(shape))

    def samples() -> list[Sample]:
        r = rng(5)
        calls = []
        reductions = (*REDUCTIONS, "batchmean") if kind == "log" else REDUCTIONS
        for i, shape in enumerate(SHAPES * 2):
            for j, reduction in enumerate(reductions):
                if reduction == "batchmean" and not shape:
                    continue
                x, t = operands(r, shape)
                settings: dict[str, Any] = {"reduction": reduction}
                for name, values in options.items():
                    value = values[(i + j) % len(values)]
                    if callable(value):
                        value = value(r, shape)
                    settings[name] = value
                calls.append(Sample((x, t), {k: v for k, v in settings.items() if v is not None}))
        if kind == "real" and "pos_weight" not in options:
            calls.append(Sample((r.standard_normal((4, 3)), r.standard_normal((4, 3)))))
        return calls

    return samples


def pointwise_large(kind: str) -> Callable[[], list[Sample]]:
    def large() -> list[Sample]:
        r = rng(6)
        x, t = 0.01 + 0.98 * r.random((90, 1000)), 0.01 + 0.98 * r.random((90, 1000))
        if kind == "log":
            x = np.log(x)
        return [Sample((x, t)), Sample((x, t), {"reduction": "none"})]

    return large


def pointwise_bad(strict: bool, *extra: Bad) -> Callable[[], list[Bad]]:
    def bad() -> list[Bad]:
        x, t = np.full((2, 3), 0.5, np.float32), np.full((2, 3), 0.25, np.float32)
        mismatch = "must have the shape" if strict else "does not broadcast"
        return [
            Bad((x, t), ValueError, "reduction must be", {"reduction": "average"}),
            Bad((x, t), ValueError, "reduction must be", {"reduction": ""}),
            Bad((x, t.astype(np.float64)), TypeError, "target must have the dtype of input"),
            Bad((x, t.astype(int)), TypeError, "target must be"),
            Bad((x.astype(int), t), TypeError, "input must be"),
            Bad((x.astype(np.float16), t), TypeError, "input must be"),
            Bad((x, t[:, :2]), ValueError, mismatch),
            Bad((x, np.zeros((4, 2, 5), np.float32)), ValueError, mismatch),
            Bad((x, None), (TypeError, ValueError), "target"),
            Bad((x, "target"), (TypeError, ValueError), "target"),
            Bad((x.astype(complex), t), TypeError, "input must be"),
            *extra,
        ]

    return bad


def weights(r: np.random.Generator, shape: tuple[int, ...]) -> Any:
    return np.asarray(r.random(shape) + 0.5)


def last_axis(r: np.random.Generator, shape: tuple[int, ...]) -> Any:
    return np.asarray(r.random(shape[-1:]) + 0.5)


def pointwise(
    name: str, kind: str, differentiable: tuple[int, ...], bad: Any, **options: Any
) -> OpCase:
    return OpCase(
        name=name,
        torch=weighted(F.kl_div) if name == "kl_div" else None,
        samples=pointwise_samples(kind, **options),
        large=pointwise_large(kind),
        bad=bad,
        differentiable=differentiable,
    )


X, T = np.full((2, 3), 0.5, np.float32), np.full((2, 3), 0.25, np.float32)
BETA = Bad((X, T), ValueError, "beta must not be negative", {"beta": -1.0})
DELTA = Bad((X, T), ValueError, "delta must be positive", {"delta": 0.0})
ABOVE = Bad((X + 1, T), ValueError, r"input must be in \[0, 1\]")
WEIGHT = Bad((X, T, np.ones(5, np.float32)), ValueError, "weight of shape")


def weighted(function: Callable[..., Any]) -> Callable[..., Any]:
    """PyTorch's pointwise losses with a weight, which only newer versions take themselves."""

    def call(x: Any, t: Any, reduction: str = "mean", weight: Any = None, **options: Any) -> Any:
        loss = function(x, t, reduction="none", **options)
        loss = loss if weight is None else loss * weight
        if reduction == "batchmean":
            return loss.sum() / loss.shape[0]
        return loss if reduction == "none" else getattr(loss, reduction)()

    return call


CASES = [
    OpCase(
        name="cross_entropy",
        samples=class_samples(False),
        large=class_large(False),
        bad=class_bad(False),
        differentiable=(0, 1),
    ),
    OpCase(
        name="nll_loss", samples=class_samples(True), large=class_large(True), bad=class_bad(True)
    ),
    pointwise("smooth_l1_loss", "real", (0, 1), pointwise_bad(False, BETA), beta=(1.0, 0.3, 0.0)),
    pointwise(
        "binary_cross_entropy",
        "probability",
        (0, 1),
        pointwise_bad(True, ABOVE, WEIGHT),
        weight=(None, weights, last_axis),
    ),
    pointwise(
        "binary_cross_entropy_with_logits",
        "real",
        (0, 1),
        pointwise_bad(True, WEIGHT),
        weight=(None, weights),
        pos_weight=(None, last_axis, weights),
    ),
    pointwise("kl_div", "log", (0, 1), pointwise_bad(False), log_target=(False, True)),
    *(
        OpCase(
            name=name,
            samples=pointwise_samples("real", **options),
            large=pointwise_large("real"),
            bad=pointwise_bad(False, *bad),
            torch=weighted(getattr(F, name)),
            differentiable=(0, 1),
        )
        for name, options, bad in (
            ("mse_loss", {"weight": (None, weights)}, ()),
            ("l1_loss", {"weight": (None, weights)}, ()),
            ("huber_loss", {"delta": (1.0, 0.4), "weight": (None, None, weights)}, (DELTA,)),
        )
    ),
]
