"""batch_norm, instance_norm, group_norm, layer_norm and rms_norm."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from .record import Array, Bad, OpCase, Sample, rng

F = torch.nn.functional

ACTIVATIONS: dict[str, Any] = {
    "relu": torch.relu, "relu6": F.relu6, "leaky_relu": F.leaky_relu, "elu": F.elu,
    "sigmoid": torch.sigmoid, "tanh": torch.tanh, "gelu": F.gelu,
    "gelu_tanh": lambda x: F.gelu(x, approximate="tanh"), "silu": F.silu, "softplus": F.softplus,
    "mish": F.mish, "hardswish": F.hardswish,
    # written out: torch's float64 gradient takes 1/6 in float32
    "hardsigmoid": lambda x: torch.clamp(x / 6 + 0.5, 0, 1),
}  # fmt: skip


def batch_norm_oracle(
    *args: Any, activation: str | None = None, residual: Any = None, **kwargs: Any
) -> Any:
    y = F.batch_norm(*args, **kwargs)
    y = y if residual is None else y + residual
    return y if activation is None else ACTIVATIONS[activation](y)


def group_norm_oracle(x: Any, groups: int, w: Any = None, b: Any = None, eps: float = 1e-5) -> Any:
    if w is None and b is not None:  # torch's backward fails on a bias without a weight
        w = torch.ones_like(b)
    return F.group_norm(x, groups, w, b, eps)


def values(seed: int, shape: tuple[int, ...]) -> Array:
    return np.asarray(2 * rng(seed).standard_normal(shape) + 0.5)


def affine(seed: int, shape: tuple[int, ...]) -> tuple[Array, Array]:
    r = rng(seed + 1000)
    return r.standard_normal(shape) + 1, r.standard_normal(shape)


def running(seed: int, channels: int) -> tuple[Array, Array]:
    r = rng(seed + 2000)
    return r.standard_normal(channels), r.random(channels) + 0.5


def steady(values_per_set: Any) -> dict[str, float]:
    """Keep few values from cancelling to nothing, which leaves PyTorch's float32 only noise."""
    return {"eps": 0.3} if values_per_set < 6 else {}


def away_from_kinks(shape: tuple[int, ...]) -> Array:
    """Evenly spaced values in a shuffled order: normalised, none comes near a kink."""
    return rng(5).permutation(np.arange(np.prod(shape), dtype=float)).reshape(shape)


IMAGES = [
    (2, 3), (5, 1), (4, 17), (33, 16), (70, 65), (3, 2, 4), (1, 3, 5), (2, 1, 9), (2, 5, 17),
    (4, 2, 1), (2, 3, 4, 5), (1, 2, 7, 7), (3, 4, 1, 1), (2, 2, 16, 3), (2, 3, 2, 3, 2),
    (2, 2, 1, 1, 1, 3), (2, 64, 2), (2, 4, 70),
]  # fmt: skip
EMPTY = [(0, 3), (0, 3, 4), (2, 3, 0), (2, 0, 4)]


def batch_norm_samples() -> list[Sample]:
    calls = []
    for i, shape in enumerate(IMAGES):
        x, c = values(i, shape), shape[1]
        calls.insert(i, Sample((x, *running(i, c), *affine(i, (c,)))))
        calls.append(Sample((x, *running(i, c), *affine(i, (c,)), True)))
    x = values(40, (3, 4, 5))
    w, b = affine(40, (4,))
    calls += [Sample((values(i, s), None, None, None, None, True)) for i, s in enumerate(EMPTY)]
    calls += [
        Sample((x, None, None), {"training": True}),
        Sample((x, None, None, w), {"training": True, "eps": 0.1}),
        Sample((x, None, None, None, b), {"training": True}),
        Sample((x, *running(41, 4), w, b, True, 0.7, 1e-3)),
        Sample((x, *running(41, 4), None, b, False, 0.0, 1e-3)),
        Sample((np.ones((2, 4, 3)), None, None, w, b, True)),
    ]
    spaced = away_from_kinks((2, 3, 7))
    for activation in ACTIVATIONS:
        given = {"activation": activation}
        for x in (spaced, away_from_kinks((9, 3))):
            pair = np.array([1.1, -0.9, 0.7]), np.array([0.31, 0.47, -0.23])
            calls.append(Sample((x, None, None, *pair, True), given))
        calls.append(Sample((x, *running(43, 3), *affine(43, (3,))), given))
    for activation in (None, "relu"):
        for i, shape in enumerate([(5, 3), (2, 3, 7), (2, 3, 4, 5), (0, 3, 4)]):
            given = {"activation": activation, "residual": 3 * values(50 + i, shape)}
            operands = (*running(50 + i, 3), *affine(50 + i, (3,)))
            calls += [Sample((values(60 + i, shape), *operands, t), given) for t in (True, False)]
    x = values(44, (2, 3, 4))
    x[0, 1, 2] = np.nan
    calls.append(Sample((x, None, None, np.ones(3), np.zeros(3), True), {"activation": "relu"}))
    return calls


def batch_norm_large() -> list[Sample]:
    return [
        Sample((values(1, (4, 24, 40, 40)), *running(1, 24), *affine(1, (24,)), True),
               {"activation": "relu"}),
        Sample((values(2, (1, 2, 150, 301)), None, None, *affine(2, (2,)), True)),
        Sample((values(3, (3000, 70)), None, None, *affine(3, (70,)), True)),
        Sample((values(4, (50, 40, 7)), *running(4, 40), *affine(4, (40,)))),
    ]  # fmt: skip


def batch_norm_bad() -> list[Bad]:
    x = np.zeros((2, 3, 4), np.float32)
    c, wide, double = np.ones(3, np.float32), np.ones(4, np.float32), np.ones(3)
    frozen = c.copy()
    frozen.flags.writeable = False
    return [
        Bad((x.astype(np.int64), c, c), TypeError, "input must be .*int64"),
        Bad((x.astype(np.float16), c, c), TypeError, "input must be .*float16"),
        Bad((c, c, c), ValueError, r"input must have at least 2 dimensions, got shape \(3,\)"),
        Bad((x, None, None), ValueError, "running_mean and running_var must be given unless"),
        Bad((x, c, None), ValueError, "both or neither"),
        Bad((x, None, c, None, None, True), ValueError, "both or neither"),
        Bad((x, wide, c), ValueError, r"running_mean must have shape \(3,\), got \(4,\)"),
        Bad((x, c, wide), ValueError, r"running_var must have shape \(3,\), got \(4,\)"),
        Bad((x, c, c, wide), ValueError, r"weight must have shape \(3,\), got \(4,\)"),
        Bad((x, c, c, c, wide), ValueError, r"bias must have shape \(3,\), got \(4,\)"),
        Bad((x, c, c, double), TypeError, "weight must have the dtype of input"),
        Bad((x, double, double), TypeError, "running_mean must have the dtype of input"),
        Bad((x, frozen, c, None, None, True), ValueError, "running_mean must be a writable"),
        Bad((x, c, frozen, None, None, True), ValueError, "running_var must be a writable"),
        Bad((x[:1, :, :1], c, c, None, None, True), ValueError, "more than one value per channel"),
        Bad((x, c, c, None, None, False, 0.1, -1.0), ValueError, "eps .* got -1"),
        Bad((x, c, c, None, None, False, 0.1, np.nan), ValueError, "eps .* got nan"),
        Bad((x, c, c), ValueError, r"residual must have shape \(2, 3, 4\)", {"residual": x[:1]}),
        Bad((x, c, c), ValueError, "batch_norm: not an array", {"residual": [[1], [2, 3]]}),
        Bad((x, c, c), TypeError, "residual must have the dtype", {"residual": x.astype(float)}),
        Bad(
            (x, c, c),
            ValueError,
            "None or 'relu' beside a residual, got 'tanh'",
            {"residual": x, "activation": "tanh"},
        ),
        Bad((x, c, c, None, None, False, 0.1, "a"), TypeError, "eps must be a number"),
        Bad((x, c, c, None, None, True, np.inf), ValueError, "momentum must be finite"),
        Bad((x, c, c, None, None, True, None), TypeError, "momentum must be a number"),
        Bad((x, c, c), ValueError, "activation .*got 'swoosh'", {"activation": "swoosh"}),
        Bad((x, c, c), TypeError, "activation must be None or a str", {"activation": 1}),
    ]


def instance_norm_samples() -> list[Sample]:
    shapes = [s for s in IMAGES if len(s) > 2 and np.prod(s[2:]) > 1]
    calls = [Sample((values(50, (3, 4)), *running(50, 4), *affine(50, (4,)), False))]
    for i, shape in enumerate(shapes):
        x, c = values(i, shape), shape[1]
        given = steady(np.prod(shape[2:]))
        calls.insert(i, Sample((x, None, None, *affine(i, (c,))), given))
        calls.append(Sample((x, *running(i, c), *affine(i, (c,)), i % 2 == 0), given))
    x = values(51, (2, 3, 5))
    w, b = affine(51, (3,))
    return [
        *calls,
        Sample((x,)), Sample((x, None, None, w)), Sample((x, None, None, None, b)),
        Sample((x,), {"eps": 0.5}), Sample((x, *running(52, 3), w, b, True, 0.6, 1e-3)),
        Sample((x, *running(52, 3), None, None, False)),
        Sample((x, *running(52, 3)), {"momentum": 1.0}), Sample((np.ones((2, 3, 4)),)),
    ]  # fmt: skip


def instance_norm_large() -> list[Sample]:
    return [
        Sample((values(1, (6, 16, 32, 33)), *running(1, 16), *affine(1, (16,)))),
        Sample((values(2, (1, 2, 200, 201)), None, None, *affine(2, (2,)))),
    ]


def instance_norm_bad() -> list[Bad]:
    x = np.zeros((2, 3, 4), np.float32)
    c, wide, double = np.ones(3, np.float32), np.ones(4, np.float32), np.ones(3)
    frozen = c.copy()
    frozen.flags.writeable = False
    return [
        Bad((x.astype(np.int64),), TypeError, "input must be .*int64"),
        Bad((c,), ValueError, r"input must have at least 2 dimensions, got shape \(3,\)"),
        Bad((x[:, :, 0],), ValueError, "more than one value per channel of a sample"),
        Bad((x[:, :, :1],), ValueError, "more than one value per channel of a sample"),
        Bad((x, None, None, None, None, False), ValueError, "running_mean and running_var must be"),
        Bad((x, c), ValueError, "both or neither"),
        Bad((x, wide, wide), ValueError, r"running_mean must have shape \(3,\), got \(4,\)"),
        Bad((x, c, c, wide), ValueError, r"weight must have shape \(3,\), got \(4,\)"),
        Bad((x, c, c, c, wide, False), ValueError, r"bias must have shape \(3,\), got \(4,\)"),
        Bad((x, None, None, double), TypeError, "weight must have the dtype of input"),
        Bad((x, frozen, c), ValueError, "running_mean must be a writable"),
        Bad((x, c, c, None, None, True, 0.1, -1.0), ValueError, "eps .* got -1"),
        Bad((x, c, c, None, None, True, np.nan), ValueError, "momentum must be finite"),
    ]


GROUPS = [
    ((2, 4), 2), ((3, 6), 3), ((5, 32), 2), ((2, 66), 2), ((1, 8), 4), ((70, 12), 3),
    ((2, 4, 3), 1), ((2, 4, 3), 2), ((2, 4, 3), 4), ((1, 3, 17), 3), ((3, 6, 16), 2),
    ((2, 6, 4, 5), 3), ((2, 6, 4, 5), 1), ((1, 4, 7, 7), 2), ((2, 8, 1, 1), 2), ((4, 2, 1), 1),
    ((2, 4, 2, 3, 2), 2), ((1, 2, 70), 1), ((2, 2, 1, 5), 2), ((3, 5, 33), 1),
]  # fmt: skip


def group_norm_samples() -> list[Sample]:
    calls = []
    for i, (shape, groups) in enumerate(GROUPS):
        given = steady(np.prod(shape[1:]) // groups)
        calls.append(Sample((values(i, shape), groups, *affine(i, (shape[1],))), given))
    for i, (shape, groups) in enumerate(GROUPS[6:14]):
        calls.append(Sample((values(i, shape), groups), steady(np.prod(shape[1:]) // groups)))
    x = values(60, (2, 4, 5))
    w, b = affine(60, (4,))
    return [
        *calls,
        Sample((x, 2, w)), Sample((x, 2, None, b)), Sample((x, 2), {"eps": 0.3}),
        Sample((np.ones((2, 4, 3)), 2, w, b)), Sample((values(61, (3, 4)), 4, w, b), {"eps": 0.3}),
    ]  # fmt: skip


def group_norm_large() -> list[Sample]:
    return [
        Sample((values(1, (4, 32, 28, 29)), 8, *affine(1, (32,)))),
        Sample((values(2, (1, 4, 150, 151)), 1, *affine(2, (4,)))),
        Sample((values(3, (600, 96)), 4, *affine(3, (96,)))),
    ]


def group_norm_bad() -> list[Bad]:
    x = np.zeros((2, 4, 3), np.float32)
    c, wide, double = np.ones(4, np.float32), np.ones(3, np.float32), np.ones(4)
    return [
        Bad((x.astype(np.int32), 2), TypeError, "input must be .*int32"),
        Bad((c, 2), ValueError, r"input must have at least 2 dimensions, got shape \(4,\)"),
        Bad((x, 0), ValueError, "num_groups must be positive, got 0"),
        Bad((x, -2), ValueError, "num_groups must be positive, got -2"),
        Bad((x, 3), ValueError, "num_groups must divide the 4 channels of input, got 3"),
        Bad((x, 2**70), ValueError, "num_groups does not fit 64 bits"),
        Bad((x, 2.0), TypeError, "num_groups must be an int"),
        Bad((x, 2, wide), ValueError, r"weight must have shape \(4,\), got \(3,\)"),
        Bad((x, 2, c, wide), ValueError, r"bias must have shape \(4,\), got \(3,\)"),
        Bad((x, 2, double), TypeError, "weight must have the dtype of input"),
        Bad((x, 2, c, c, -1e-5), ValueError, "eps must be"),
        Bad((x, 2, c, c, "e"), TypeError, "eps must be a number"),
        Bad((x[:1, :, :1], 4), ValueError, "more than one value per group"),
    ]


ROWS = [
    ((2, 3), (3,)), ((4, 16), (16,)), ((3, 17), (17,)), ((5, 1), (1,)), ((1, 64), (64,)),
    ((2, 65), (65,)), ((70, 5), (5,)), ((7,), (7,)), ((2, 3, 4), (4,)), ((2, 3, 4), (3, 4)),
    ((2, 3, 4), (2, 3, 4)), ((3, 1, 33), (33,)), ((2, 2, 2, 9), (2, 9)), ((1, 130), (130,)),
    ((2, 3, 31), (3, 31)), ((66, 70), (70,)),
]  # fmt: skip
EMPTY_ROWS = [((0, 4), (4,)), ((3, 0), (0,)), ((2, 0, 3), (0, 3)), ((2, 0, 3), (3,))]


def layer_norm_samples() -> list[Sample]:
    calls = []
    for i, (shape, rows) in enumerate([*ROWS, *EMPTY_ROWS]):
        calls.append(Sample((values(i, shape), rows, *affine(i, rows)), steady(np.prod(rows))))
    for i, (shape, rows) in enumerate(ROWS[:8]):
        calls.append(Sample((values(i, shape), rows), steady(np.prod(rows))))
    x = values(70, (3, 2, 6))
    w, b = affine(70, (6,))
    return [
        *calls,
        Sample((x, (6,), w)), Sample((x, (6,), None, b)), Sample((x, [6], w, b)),
        Sample((x, (6,), w, b), {"eps": 0.2}), Sample((np.ones((2, 6)), (6,), w, b)),
    ]  # fmt: skip


def layer_norm_large() -> list[Sample]:
    return [
        Sample((values(1, (700, 300)), (300,), *affine(1, (300,)))),
        Sample((values(2, (3, 70001)), (70001,), *affine(2, (70001,)))),
        Sample((values(3, (80, 3, 3001)), (3, 3001), *affine(3, (3, 3001)))),
    ]


def row_bad(*extra: Bad) -> list[Bad]:
    x = np.zeros((2, 3, 4), np.float32)
    c, wide, double = np.ones(4, np.float32), np.ones(3, np.float32), np.ones(4)
    return [
        Bad((x.astype(np.int32), (4,)), TypeError, "input must be .*int32"),
        Bad((x.astype(bool), (4,)), TypeError, "input must be .*bool"),
        Bad((x, ()), ValueError, "normalized_shape must be the last sizes"),
        Bad((x, (3,)), ValueError, r"normalized_shape must be the last sizes of .*, got \(3,\)"),
        Bad((x, (4, 3)), ValueError, "normalized_shape must be the last sizes"),
        Bad((x, (1, 2, 3, 4)), ValueError, "normalized_shape must be the last sizes"),
        Bad((x, (-4,)), ValueError, "normalized_shape must be the last sizes"),
        Bad((x, 4.0), TypeError, "normalized_shape must be a sequence of ints"),
        Bad((x, ("4",)), TypeError, "normalized_shape must be an int"),
        Bad((x, (2**70,)), ValueError, "normalized_shape does not fit 64 bits"),
        Bad((x, (4,), wide), ValueError, r"weight must have shape \(4,\), got \(3,\)"),
        Bad((x, (4,), double), TypeError, "weight must have the dtype of input"),
        Bad((x, (4,), c), ValueError, "eps must be", {"eps": -1.0}),
        Bad((x, (4,), c), TypeError, "eps must be a number", {"eps": "e"}),
        Bad((None, (4,)), TypeError, "input must be"),
        *extra,
    ]


def layer_norm_bad() -> list[Bad]:
    x, c = np.zeros((2, 4), np.float32), np.ones(4, np.float32)
    return row_bad(
        Bad((x, 4, c, c[:3]), ValueError, r"bias must have shape \(4,\), got \(3,\)"),
        Bad((x, 4, c, np.ones(4)), TypeError, "bias must have the dtype of input"),
    )


def rms_norm_samples() -> list[Sample]:
    calls = []
    for i, (shape, rows) in enumerate([*ROWS, *EMPTY_ROWS]):
        calls.append(Sample((values(i, shape), rows, affine(i, rows)[0])))
    for i, (shape, rows) in enumerate(ROWS[:8]):
        calls.append(Sample((values(i, shape), rows)))
    x = values(80, (3, 2, 6))
    w = affine(80, (6,))[0]
    return [*calls, Sample((x, [6], w)), Sample((x, (6,), w), {"eps": 0.2}), Sample((x, (6,)))]


def rms_norm_large() -> list[Sample]:
    return [
        Sample((values(1, (700, 300)), (300,), affine(1, (300,))[0])),
        Sample((values(2, (3, 70001)), (70001,), affine(2, (70001,))[0])),
    ]


CASES = [
    OpCase(
        name="batch_norm", samples=batch_norm_samples, large=batch_norm_large, bad=batch_norm_bad,
        torch=batch_norm_oracle, differentiable=(0, 3, 4),
    ),
    OpCase(
        name="instance_norm", samples=instance_norm_samples, large=instance_norm_large,
        bad=instance_norm_bad, differentiable=(0, 3, 4),
    ),
    OpCase(
        name="group_norm", samples=group_norm_samples, large=group_norm_large, bad=group_norm_bad,
        torch=group_norm_oracle, differentiable=(0, 2, 3),
    ),
    OpCase(
        name="layer_norm", samples=layer_norm_samples, large=layer_norm_large, bad=layer_norm_bad,
        differentiable=(0, 2, 3),
    ),
    OpCase(
        name="rms_norm", samples=rms_norm_samples, large=rms_norm_large, bad=row_bad,
        differentiable=(0, 2),
    ),
]  # fmt: skip
