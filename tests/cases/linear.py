"""linear and matmul: edges of the register tile, skinny and batched shapes, every activation."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from .record import Bad, OpCase, Sample, rng

F = torch.nn.functional

# The modules of the activations that linear can fuse.
TORCH = {
    "relu": F.relu,
    "relu6": F.relu6,
    "leaky_relu": F.leaky_relu,
    "elu": F.elu,
    "sigmoid": torch.sigmoid,
    "tanh": torch.tanh,
    "gelu": F.gelu,
    "gelu_tanh": lambda x: F.gelu(x, approximate="tanh"),
    "silu": F.silu,
    "softplus": F.softplus,
    "mish": F.mish,
    "hardswish": F.hardswish,
    "hardsigmoid": lambda x: F.relu6(x + 3) / 6,  # its own backward rounds 1/6 to float32
}

LINEAR = [
    ((2, 3), (4, 3)), ((1, 1), (1, 1)), ((5,), (3, 5)), ((5,), (5,)), ((4, 5), (5,)),
    ((2, 3, 4), (5, 4)), ((2, 1, 3, 4), (33, 4)), ((0, 4), (3, 4)), ((2, 0, 4), (3, 4)),
    ((3, 0), (4, 0)), ((3, 4), (0, 4)), ((1, 40), (70, 40)), ((70, 40), (1, 40)),
    ((15, 17), (33, 17)), ((29, 65), (47, 65)),
]  # fmt: skip

MATMUL = [
    ((2, 3), (3, 4)), ((1, 1), (1, 1)), ((3,), (3,)), ((1,), (1,)), ((3,), (3, 4)),
    ((4, 3), (3,)), ((2, 4, 3), (3,)), ((3,), (2, 3, 4)), ((2, 4, 3), (3, 5)),
    ((4, 3), (2, 3, 5)), ((2, 4, 3), (2, 3, 5)), ((2, 1, 4, 3), (1, 3, 3, 5)),
    ((1, 4, 3), (5, 3, 2)), ((5, 4, 3), (1, 3, 2)), ((2, 2, 3, 4), (4, 5)), ((6, 1, 3), (3, 2)),
    ((3, 1, 2, 4), (2, 4, 1)), ((0, 3), (3, 2)), ((2, 0), (0, 3)), ((2, 3), (3, 0)),
    ((0, 2, 3), (3, 4)), ((0, 2, 3), (1, 3, 4)), ((0,), (0,)), ((1, 7), (7, 40)),
    ((40, 7), (7, 1)), ((50, 9), (9, 3)), ((14, 16), (16, 32)), ((15, 17), (17, 33)),
    ((29, 5), (5, 65)), ((13, 70), (70, 31)), ((1, 70), (70, 130)), ((2, 300), (300, 3)),
    ((20, 3, 2), (20, 2, 3)), ((3, 3, 4), (4,)), ((2, 3, 4), (2, 4, 1)),
]  # fmt: skip


def linear_samples() -> list[Sample]:
    r = rng(11)
    calls = []
    for x, w in LINEAR:
        bias = r.standard_normal(w[:-1])
        calls.append(Sample((r.standard_normal(x), r.standard_normal(w), bias)))
    calls += [Sample((r.standard_normal(x), r.standard_normal(w))) for x, w in LINEAR[:6]]
    eye, line = np.eye(5), np.linspace(-4.3, 4.2, 35).reshape(7, 5)  # clear of every kink
    for name in TORCH:
        calls.append(Sample((line, eye, np.zeros(5)), {"activation": name}))
    for name in ("relu", "gelu", "tanh"):
        x, w = r.standard_normal((2, 3, 9)), r.standard_normal((4, 9))
        calls.append(Sample((x, w, 9.0 * np.sign(r.standard_normal(4))), {"activation": name}))
    return calls


def linear_oracle(x: Any, w: Any, b: Any = None, activation: str | None = None) -> Any:
    # F.linear takes a vector as weight, but not together with a bias.
    y = F.linear(x, w, b) if w.ndim == 2 or b is None else x @ w + b
    return TORCH[activation](y) if activation else y


def linear_large() -> list[Sample]:
    r = rng(12)
    deep = (0.1 * r.standard_normal((150, 700)), r.standard_normal((190, 700)))
    wide = (r.standard_normal((3000, 40)), r.standard_normal((30, 40)), r.standard_normal(30))
    return [Sample(deep), Sample(wide, {"activation": "silu"})]


def linear_bad() -> list[Bad]:
    x, w, b = (np.zeros(s, np.float32) for s in ((2, 3), (4, 3), (4,)))
    return [
        Bad((x, w.T), ValueError, r"weight of shape \(3, 4\) does not fit .*\(2, 3\)"),
        Bad((x, w[None]), ValueError, r"weight must have shape \(out, in\)"),
        Bad((x, np.zeros((), np.float32)), ValueError, "weight must have shape"),
        Bad((np.zeros((), np.float32), w), ValueError, "input must have at least 1"),
        Bad((x, w, b[:3]), ValueError, r"bias must have shape \(4,\), got \(3,\)"),
        Bad((x, w, b[None]), ValueError, r"bias must have shape \(4,\), got \(1, 4\)"),
        Bad((x, w[0], b), ValueError, r"bias must have shape \(\), got \(4,\)"),
        Bad((x, w.astype(np.float64)), TypeError, "weight must have the dtype of input"),
        Bad((x, w, b.astype(np.float64)), TypeError, "bias must have the dtype of input"),
        Bad((x.astype(np.int64), w), TypeError, "input must be .*int64"),
        Bad((x, w.astype(np.float16)), TypeError, "weight must be .*float16"),
        Bad((None, w), TypeError, "input must be"),
        Bad((x, w, b), ValueError, "activation must be .*got 'rule'", {"activation": "rule"}),
        Bad((x, w, b), TypeError, "activation must be None or a str", {"activation": 1}),
    ]


def matmul_samples() -> list[Sample]:
    r = rng(13)
    return [Sample((r.standard_normal(a), r.standard_normal(b))) for a, b in MATMUL]


def matmul_large() -> list[Sample]:
    r = rng(14)
    shapes = [
        ((150, 200), (200, 170)),  # several chunks
        ((20, 5000), (5000, 30)),  # the depth is split
        ((260, 2500), (2500, 60)),  # sums held while the depth goes on
        ((30, 40, 50), (50, 20)),  # a batch as one product
        ((40, 30, 25), (40, 25, 20)),  # spread over the batch
    ]
    return [Sample((r.standard_normal(a), r.standard_normal(b))) for a, b in shapes]


def matmul_bad() -> list[Bad]:
    a, b = np.zeros((2, 3), np.float32), np.zeros((3, 4), np.float32)
    return [
        Bad((a, a), ValueError, r"other of shape \(2, 3\) does not fit input of shape \(2, 3\)"),
        Bad((a, b[0]), ValueError, "does not fit"),
        Bad((a[0], b.T), ValueError, "does not fit"),
        Bad((np.zeros((2, 2, 3), np.float32), np.zeros((3, 3, 4), np.float32)), ValueError, "fit"),
        Bad((np.zeros((), np.float32), b), ValueError, "input must have at least 1"),
        Bad((a, np.zeros((), np.float32)), ValueError, "other must have at least 1"),
        Bad((a, b.astype(np.float64)), TypeError, "other must have the dtype of input"),
        Bad((a.astype(np.int32), b), TypeError, "input must be .*int32"),
        Bad((a, b.astype(bool)), TypeError, "other must be .*bool"),
        Bad((a.astype(np.float16), b), TypeError, "input must be .*float16"),
        Bad((a, None), TypeError, "other must be"),
        Bad((a, "b"), TypeError, "other must be"),
        Bad((np.zeros((1,) * 20, np.float32), b), ValueError, "at most 16 dimensions"),
        Bad(
            (
                np.broadcast_to(np.float32(0), (2**40, 1)),
                np.broadcast_to(np.float32(0), (1, 2**40)),
            ),
            ValueError,
            "too large to allocate",
        ),
    ]


CASES = [
    OpCase(
        name="linear",
        samples=linear_samples,
        large=linear_large,
        bad=linear_bad,
        torch=linear_oracle,
        differentiable=(0, 1, 2),
    ),
    OpCase(
        name="matmul",
        samples=matmul_samples,
        large=matmul_large,
        bad=matmul_bad,
        torch=torch.matmul,
        differentiable=(0, 1),
    ),
]
