"""scaled_dot_product_attention."""

from __future__ import annotations

from typing import Any

import numpy as np

from .record import Array, Bad, OpCase, Sample, rng

NAME = "scaled_dot_product_attention"

# lead of query, lead of key and value, L, S, E, Ev
SHAPES: list[tuple[tuple[int, ...], tuple[int, ...], int, int, int, int]] = [
    ((), (), 3, 5, 4, 4),
    ((), (), 1, 1, 1, 1),
    ((2,), (2,), 5, 7, 4, 3),
    ((2, 3), (2, 3), 4, 6, 8, 8),
    ((2, 3), (2, 3), 17, 9, 5, 6),
    ((1, 2), (1, 2), 49, 33, 16, 16),
    ((1, 1), (1, 1), 65, 97, 17, 15),
    ((2, 1), (1, 3), 5, 6, 4, 2),
    ((3,), (), 4, 5, 3, 2),
    ((), (3,), 4, 5, 3, 2),
    ((2, 1, 2), (2, 1), 3, 4, 2, 5),
    ((1, 1), (1, 1), 1, 130, 8, 8),
    ((1, 1), (1, 1), 130, 1, 8, 8),
    ((2,), (2,), 33, 200, 3, 1),
    ((1,), (1,), 3, 900, 4, 4),
]
EMPTY = [
    ((2,), (2,), 0, 5, 4, 3),
    ((2,), (2,), 3, 0, 4, 3),
    ((2,), (2,), 3, 5, 0, 3),
    ((2,), (2,), 3, 5, 4, 0),
    ((0,), (0,), 3, 5, 4, 3),
]


def operands(shape: Any, seed: int = 0) -> tuple[Array, Array, Array]:
    queries, keys, rows, columns, width, value_width = shape
    r = rng(seed)
    return (
        r.standard_normal((*queries, rows, width)),
        r.standard_normal((*keys, columns, width)),
        r.standard_normal((*keys, columns, value_width)),
    )


def allowed(shape: tuple[int, ...], seed: int = 0) -> Array:
    """A random boolean mask that leaves every query its first key."""
    mask = rng(seed).random(shape) < 0.6
    mask[..., 0] = True
    return mask


def bias(shape: tuple[int, ...], seed: int = 0) -> Array:
    return np.where(allowed(shape, seed), rng(seed + 1).standard_normal(shape), -np.inf)


def masked_samples() -> list[Sample]:
    small, wide = ((2, 3), (2, 3), 5, 7, 4, 3), ((2,), (2,), 60, 200, 4, 5)
    plain = rng(3).standard_normal
    window = np.abs(np.arange(60)[:, None] - np.arange(200)) < 30
    masks: list[tuple[Any, Array]] = [
        (small, allowed((5, 7))), (small, allowed((1, 7))), (small, allowed((7,))),
        (small, allowed((2, 1, 1, 7))), (small, allowed((2, 3, 5, 7))),
        (small, allowed((3, 1, 7))), (small, np.ones((5, 1), bool)),
        (small, bias((5, 7))), (small, bias((2, 3, 5, 7))), (small, plain((5, 7))),
        (small, plain((7,))), (small, plain((5, 1))), (small, plain((1, 1))),
        (small, plain((2, 1, 5, 7))), (small, plain((3, 1, 7))), (small, plain((2, 1, 1, 1))),
        (wide, window), (wide, allowed((2, 60, 200))), (wide, allowed((1, 200))),
        (wide, plain((60, 200))), (wide, bias((2, 60, 200))), (wide, np.where(window, 0, -np.inf)),
        (wide, plain((2, 1, 200))),
    ]  # fmt: skip
    return [Sample((*operands(shape, i), mask)) for i, (shape, mask) in enumerate(masks)]


def grouped_samples() -> list[Sample]:
    q, k, v = operands(((2, 6), (2, 2), 5, 7, 4, 3))
    shared = {"enable_gqa": True}
    return [
        Sample((q, k, v), shared),
        Sample((q, k[:, :1], v[:, :1]), shared),
        Sample((q, k[:1], v[:1]), {**shared, "is_causal": True}),
        Sample((q, k, v, allowed((5, 7))), shared),
        Sample((q, k, v, bias((6, 5, 7))), shared),
        Sample((q, k, v, bias((2, 1, 5, 7))), shared),
        Sample((q[:, :2], k, v), shared),
    ]


def windowed_samples() -> list[Sample]:
    wide, small = ((2,), (2,), 150, 300, 4, 5), ((2, 3), (2, 3), 5, 7, 4, 3)
    return [
        Sample(operands(wide, 1), {"window_size": (20, 30)}),
        Sample(operands(wide, 2), {"window_size": (-1, 0)}),
        Sample(operands(wide, 3), {"window_size": (7, -1), "is_causal": True}),
        Sample((*operands(wide, 4), allowed((150, 300))), {"window_size": (140, 3)}),
        Sample((*operands(wide, 5), bias((2, 150, 300))), {"window_size": (9, 100)}),
        Sample(operands(small, 6), {"window_size": (1, 2)}),
        Sample((*operands(small, 7), allowed((5, 7))), {"window_size": (2, 0)}),
        Sample(operands(((2, 4), (2, 4), 5, 200, 8, 8), 8), {"window_size": (2, 150)}),
    ]


def samples() -> list[Sample]:
    calls = [Sample(operands(shape, i)) for i, shape in enumerate([*SHAPES, *EMPTY])]
    calls += [Sample(operands(s, 9), {"is_causal": True}) for s in SHAPES[2:9]]
    calls += masked_samples() + grouped_samples() + windowed_samples()
    q, k, v = operands(SHAPES[3], 5)
    calls += [Sample((q, k, v), {"scale": s}) for s in (0.5, 2.0, 0.0, -1.0)]
    calls.append(Sample((4 * q, 4 * k, v)))
    calls.append(Sample((q, k, v[:1])))
    calls.append(Sample((q, k[:, :1], v)))
    return calls


def large() -> list[Sample]:
    q, k, v = operands(((2, 2), (2, 2), 210, 430, 40, 72), 1)
    causal = operands(((1, 2), (1, 2), 250, 250, 16, 16), 2)
    return [Sample((q, k, v, bias((2, 1, 210, 430)))), Sample(causal, {"is_causal": True})]


def bad() -> list[Bad]:
    q, k, v = (a.astype(np.float32) for a in operands(((2, 4), (2, 4), 3, 5, 6, 7)))
    mask = np.ones((3, 5), bool)
    return [
        Bad((q[0, 0, 0], k, v), ValueError, "query must have at least 2 dimensions"),
        Bad((q, k[..., :5], v), ValueError, r"key must have the last dimension of query \(6\)"),
        Bad((q, k, v[..., :4, :]), ValueError, r"value must have as many rows as key \(5\)"),
        Bad((q[:, :3], k, v), ValueError, r"leading dimensions of key .*\(2, 3\).*\(2, 4\)"),
        Bad((q, k, v[:, :3]), ValueError, r"leading dimensions of value .*\(2, 3\)"),
        Bad((q, k, v.astype(np.float64)), TypeError, "value must have the dtype of query"),
        Bad((q.astype(np.int64), k, v), TypeError, "query must be .*float.*int64"),
        Bad((q, None, v), TypeError, "key must be"),
        Bad((q, k, v, mask[:, :4]), ValueError, r"attn_mask of shape \(3, 4\) does not broadcast"),
        Bad((q, k, v, np.ones((3, 2, 4, 3, 5), bool)), ValueError, "attn_mask of shape"),
        Bad((q, k, v, mask.astype(np.int32)), TypeError, "attn_mask must be a bool.*int32"),
        Bad((q, k, v, mask.astype(np.float64)), TypeError, "attn_mask.*dtype of query.*float64"),
        Bad((q, k, v, mask, 0.0, True), ValueError, "attn_mask must be None when is_causal"),
        Bad((q, k, v, None, 1.5), ValueError, r"dropout_p must be in \[0, 1\], got 1.5"),
        Bad((q, k, v, None, -0.1), ValueError, "dropout_p must be in"),
        Bad((q, k, v, None, float("nan")), ValueError, "dropout_p must be in"),
        Bad((q, k, v, None, "0.5"), TypeError, "dropout_p"),
        Bad((q, k, v), ValueError, "scale must be finite, got inf", {"scale": float("inf")}),
        Bad((q, k, v), ValueError, r"window_size .* got \(-2, 0\)", {"window_size": (-2, 0)}),
        Bad((q, k, v), TypeError, "window_size", {"window_size": (1.5, 0)}),
        Bad((q, k, v), ValueError, "window_size", {"window_size": (1, 2, 3)}),
        Bad((q, k[:, :3], v[:, :3]), ValueError, "key heads must divide", {"enable_gqa": True}),
        Bad((q, k[:, :2], v), ValueError, "value must have the heads", {"enable_gqa": True}),
        Bad((q[0, 0], k[0, 0], v[0, 0]), ValueError, "at least 3", {"enable_gqa": True}),
    ]


def oracle(query: Any, key: Any, value: Any, mask: Any = None, *rest: Any, **named: Any) -> Any:
    """PyTorch's, which takes no 1-d mask and no window."""
    import torch

    mask = mask if mask is None else torch.atleast_2d(mask)
    if window := named.pop("window_size", None):
        left, right = (10**6 if side < 0 else side for side in window)
        right = 0 if named.pop("is_causal", False) else right
        ahead = torch.arange(key.shape[-2])[None] - torch.arange(query.shape[-2])[:, None]
        inside = (ahead >= -left) & (ahead <= right)
        if mask is not None and mask.dtype != torch.bool:
            mask = torch.where(inside, mask, -torch.inf)
        else:
            mask = inside if mask is None else inside & mask
    attention = torch.nn.functional.scaled_dot_product_attention
    return attention(query, key, value, mask, *rest, **named)


CASES = [
    OpCase(
        name=NAME,
        samples=samples,
        large=large,
        bad=bad,
        torch=oracle,
        differentiable=(0, 1, 2, 3),
        atol=5e-6,  # a lone key's gradient is 0: dP - D cancels, from numbers of order 5
    )
]
