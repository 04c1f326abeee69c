"""Activations."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch

from .record import Array, Bad, OpCase, Sample, rng

SHAPES = [
    (), (1,), (2,), (3,), (7,), (8,), (9,), (15,), (16,), (17,), (31,), (33,), (64,), (65,), (0,),
    (0, 3), (3, 0), (1, 1), (2, 3), (5, 7), (4, 16), (3, 33), (2, 3, 4), (3, 1, 5), (2, 3, 4, 5),
    (1, 2, 1, 3), (2, 2, 2, 2, 3),
]  # fmt: skip

# What every function must get right beside the ordinary; for NaN see tests/test_activation.py.
EXTREMES = np.array([0.0, -0.0, 1e-30, -1e-30, 60.0, -60.0, 1e4, -1e4])
# Steps of 1/8 shifted by 1/16, so that no kink at a multiple of 1/8 is met.
GRID = np.arange(-8, 8, 0.125) + 0.0625

Settings = Sequence[dict[str, float | str]]


def apart_from(kinks: Sequence[float], x: Array) -> Array:
    """Moves values by up to 1/100 so that finite differences don't step across a kink."""
    for kink in kinks:
        near = np.abs(x - kink) < 0.005
        x = np.where(near, kink + np.where(x < kink, -0.01, 0.01), x)
    return np.asarray(x)


def unary_samples(kinks: Sequence[float], settings: Settings) -> Callable[[], list[Sample]]:
    def samples() -> list[Sample]:
        r = rng(11)
        options = settings or [{}]
        calls = [
            Sample(
                (apart_from(kinks, np.asarray(2.5 * r.standard_normal(shape))),),
                options[i % len(options)],
            )
            for i, shape in enumerate(SHAPES)
        ]
        calls += [Sample((GRID,), option) for option in options]
        calls += [Sample((EXTREMES,), option) for option in options]
        calls.append(Sample((apart_from(kinks, 2 * GRID), *options[-1].values())))  # by position
        return calls

    return samples


def unary_large() -> list[Sample]:
    r = rng(12)
    return [
        Sample((3 * r.standard_normal(70_001),)),
        Sample((3 * r.standard_normal((9, 50, 83)),)),
    ]


def threshold_samples() -> list[Sample]:
    options: Settings = [{"threshold": 0.5, "value": -2.0}, {"threshold": -1, "value": 3}]
    return unary_samples([0.5, -1.0], options)()


def threshold_large() -> list[Sample]:
    return [Sample((*s.args, 0.25, -1.0)) for s in unary_large()]


def unary_bad(arguments: Sequence[str], *more: Bad, given: Any = ()) -> Callable[[], list[Bad]]:
    """Wrong arrays, and for each argument wrong kinds of value."""

    def bad() -> list[Bad]:
        x = np.zeros((2, 3), np.float32)
        arrays: list[tuple[Any, type[Exception], str]] = [
            (x.astype(np.int32), TypeError, "input must be .*int32"),
            (x.astype(np.int64), TypeError, "input must be .*"),
            (x.astype(np.float16), TypeError, "input must be .*float16"),
            (x.astype(bool), TypeError, "input must be .*"),
            (x.astype(complex), TypeError, "input must be .*complex"),
            (x.astype(np.uint8), TypeError, "input must be .*uint8"),
            (np.array(["a"]), TypeError, "input must be"),
            (np.array([None]), TypeError, "input must be"),
            (None, TypeError, "input must be"),
            ([[1.0], [1.0, 2.0]], ValueError, "not an array"),
            ("text", TypeError, "input must be"),
            (np.zeros((1,) * 20, np.float32), ValueError, "at most 16 dimensions"),
        ]
        calls = [Bad((a, *given), error, match) for a, error, match in arrays]
        for name in arguments:
            rest = dict.fromkeys(arguments, 1.0)
            for wrong in ("one", None, [1.0, 2.0], 1j):
                calls.append(Bad((x,), TypeError, f"{name} must be a number", rest | {name: wrong}))
        return [*calls, *more]

    return bad


def not_extreme(sample: Sample) -> bool:
    """Kinks at 0, and differences that cancel at 1e4: those slopes are held against PyTorch's."""
    return sample.args[0] is not EXTREMES


def unary(
    name: str,
    kinks: Sequence[float] = (),
    settings: Settings = (),
    bad: Sequence[Bad] = (),
    arguments: Sequence[str] | None = None,
    **options: Any,
) -> OpCase:
    names = list(settings[0]) if settings and arguments is None else list(arguments or ())
    return OpCase(
        name=name,
        samples=unary_samples(kinks, settings),
        large=unary_large,
        bad=unary_bad(names, *bad),
        derivative=not_extreme,
        **options,
    )


ONE = np.ones(3, np.float32)


def torch_gelu(x: Any, approximate: str = "none") -> Any:  # by name only in PyTorch
    return torch.nn.functional.gelu(x, approximate=approximate)


def torch_hardsigmoid(x: Any) -> Any:  # PyTorch's own derivative is 1/6 in float32 even in float64
    return torch.clamp(x + 3, 0, 6) / 6


UNARY = [
    unary("relu", [0]),
    unary("relu6", [0, 6]),
    unary("leaky_relu", [0], [{"negative_slope": s} for s in (0.01, 0.5, 0.0, -0.25, 2)]),
    unary("elu", [0], [{"alpha": a} for a in (1.0, 0.5, 2, -0.75)]),
    unary("selu", [0]),
    unary(
        "celu", [0], [{"alpha": a} for a in (1.0, 0.5, 2)],
        [Bad((ONE, 0.0), ValueError, "alpha must not be 0")],
    ),
    unary(
        "gelu", [], [{"approximate": "none"}, {"approximate": "tanh"}],
        [
            Bad((ONE, "erf"), ValueError, "approximate must be 'none' or 'tanh', got 'erf'"),
            Bad((ONE, None), ValueError, "approximate must be"),
            Bad((ONE, 1), ValueError, "approximate must be"),
        ],
        arguments=[], torch=torch_gelu,
    ),
    unary("silu"),
    unary("mish"),
    unary("sigmoid", torch=torch.sigmoid),
    unary("logsigmoid"),
    unary("tanh", torch=torch.tanh),
    unary(
        "softplus", [],
        [{"beta": 1.0, "threshold": 20.0}, {"beta": 2, "threshold": 50}, {"beta": 0.5}],
        [Bad((ONE, 0), ValueError, "beta must not be 0")],
        # At the threshold the function steps down by exp(-threshold): far below this tolerance.
        rtol64=1e-9,
    ),
    unary("softsign"),
    unary("hardswish", [-3, 3]),
    unary("hardsigmoid", [-3, 3], torch=torch_hardsigmoid),
    unary(
        "hardtanh", [-1, 1, -0.5, 2],
        [{"min_val": -1.0, "max_val": 1.0}, {"min_val": -0.5, "max_val": 2}],
        [
            Bad((ONE, 2.0, 1.0), ValueError, "min_val must not exceed max_val, got 2.* and 1"),
            Bad((ONE, float("nan"), 1.0), ValueError, "min_val must not exceed"),
        ],
    ),
    unary("hardshrink", [-0.5, 0.5, -1, 1], [{"lambd": 0.5}, {"lambd": 1}, {"lambd": -1}]),
    unary(
        "softshrink", [-0.5, 0.5, -1, 1, 0], [{"lambd": 0.5}, {"lambd": 1}, {"lambd": 0}],
        [Bad((ONE, -0.5), ValueError, "lambd must not be negative, got -0.5")],
    ),
    unary("tanhshrink"),
    OpCase(
        name="threshold", samples=threshold_samples, large=threshold_large,
        bad=unary_bad(["threshold", "value"], given=(0.0, 0.0)), derivative=not_extreme,
    ),
]  # fmt: skip


def glu_samples() -> list[Sample]:
    r = rng(13)
    shapes = [
        ((2,), -1), ((4,), 0), ((16,), 0), ((34,), -1), ((0,), 0), ((3, 2), 1), ((4, 3), 0),
        ((4, 3), -2), ((2, 6), -1), ((5, 66), 1), ((66, 5), 0), ((2, 4, 3), 1), ((2, 4, 3), -2),
        ((4, 2, 3), 0), ((2, 3, 4), 2), ((2, 6, 5, 3), 1), ((2, 6, 5, 3), -3), ((2, 3, 5, 8), -1),
        ((0, 4), 1), ((0, 4), 0), ((4, 0), 0), ((3, 0), 1), ((1, 2, 1), 1), ((2, 2, 2, 2), 3),
        ((1, 32), 1), ((1, 64), 1), ((32, 1), 0), ((2, 2, 17), 1), ((2, 2, 16), 1), ((7, 2), -1),
    ]  # fmt: skip
    calls = [Sample((2 * r.standard_normal(shape), dim)) for shape, dim in shapes]
    calls.append(Sample((2 * r.standard_normal((3, 8)),)))
    calls.append(Sample((np.array([[1.0, 2.0, -40.0, 40.0], [np.nan, 1.0, 0.5, np.nan]]), 1)))
    return calls


def glu_large() -> list[Sample]:
    r = rng(14)
    return [
        Sample((r.standard_normal((3, 40_006)),)),
        Sample((r.standard_normal((40, 10, 101)), 1)),
        Sample((r.standard_normal((9000, 2)), 1)),
    ]


def glu_bad() -> list[Bad]:
    x = np.zeros((2, 3), np.float32)
    return [
        Bad((x, 1), ValueError, r"even size along dim 1, got shape \(2, 3\)"),
        Bad((x,), ValueError, "even size"),
        Bad((x, 2), IndexError, "dim must be in .*got 2"),
        Bad((x, -3), IndexError, "dim must be in .*got -3"),
        Bad((x, 2**70), ValueError, "dim does not fit 64 bits"),
        Bad((x, 0.0), TypeError, "dim must be an int"),
        Bad((x, None), TypeError, "dim must be an int"),
        Bad((np.zeros((), np.float32),), ValueError, "at least 1 dim"),
        Bad((x.astype(np.int32), 0), TypeError, "input must be .*int32"),
        Bad((x.astype(np.float16), 0), TypeError, "input must be .*float16"),
        Bad((x.astype(bool), 0), TypeError, "input must be"),
        Bad((None, 0), TypeError, "input must be"),
    ]


def prelu_samples() -> list[Sample]:
    r = rng(15)
    shapes = [
        (1,), (5,), (17,), (40,), (0,), (1, 1), (3, 2), (4, 7), (3, 16), (5, 33), (20, 3), (0, 3),
        (2, 3, 4), (3, 2, 17), (2, 5, 1), (2, 3, 0), (2, 3, 4, 5), (1, 8, 3, 3), (3, 1, 4, 2),
        (2, 3, 2, 2, 2),
    ]  # fmt: skip
    calls = []
    for shape in shapes:
        x = apart_from([0], np.asarray(r.standard_normal(shape)))
        calls.append(Sample((x, r.standard_normal(1))))
        if len(shape) > 1:
            calls.append(Sample((x, 0.5 * r.standard_normal(shape[1]))))
    calls.append(Sample((x, np.array(0.25))))
    calls.append(Sample((np.array([[0.0, -0.0], [np.nan, -1e30]]), np.array([0.5, 2.0]))))
    return calls


def prelu_large() -> list[Sample]:
    r = rng(16)
    return [
        Sample((r.standard_normal((2, 3, 150, 151)), r.standard_normal(3))),
        Sample((r.standard_normal((3000, 33)), r.standard_normal(33))),
        Sample((r.standard_normal((60_000,)), r.standard_normal(1))),
        Sample((r.standard_normal((700, 10, 7)), r.standard_normal(10))),
    ]


def prelu_bad() -> list[Bad]:
    x, w = np.zeros((2, 3, 4), np.float32), np.zeros(3, np.float32)
    return [
        Bad((x, w[:2]), ValueError, "weight must hold 1 or 3 values.*got 2"),
        Bad((x, np.zeros(4, np.float32)), ValueError, "weight must hold 1 or 3 values.*got 4"),
        Bad((x, np.zeros(0, np.float32)), ValueError, "weight must hold .*got 0"),
        Bad((x, np.zeros((3, 1), np.float32)), ValueError, "weight must have at most 1 dimension"),
        Bad((x[0, 0], w), ValueError, "weight must hold 1 or 1 values"),
        Bad((np.zeros((), np.float32), w[:1]), ValueError, "input must have at least 1"),
        Bad((x, w.astype(float)), TypeError, "weight must have the dtype of input"),
        Bad((x, w.astype(int)), TypeError, "weight must be"),
        Bad((x.astype(int), w), TypeError, "input must be"),
        Bad((x.astype(np.float16), w), TypeError, "input must be"),
        Bad((x, None), TypeError, "weight must be"),
        Bad((x, 0.25), TypeError, "weight must have the dtype of input"),
        Bad((None, w), TypeError, "input must be"),
    ]


def softmin_samples() -> list[Sample]:
    from .softmax import samples

    return samples()[:-1]  # the last holds infinities of one sign


def softmin_large() -> list[Sample]:
    from .softmax import large

    return large()


def softmin_bad() -> list[Bad]:
    from .softmax import bad

    return bad()


CASES = [
    *UNARY,
    OpCase(name="glu", samples=glu_samples, large=glu_large, bad=glu_bad),
    OpCase(
        name="prelu", samples=prelu_samples, large=prelu_large, bad=prelu_bad,
        differentiable=(0, 1),
    ),
    OpCase(name="softmin", samples=softmin_samples, large=softmin_large, bad=softmin_bad),
]  # fmt: skip
