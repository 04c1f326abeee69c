"""varlen_attn."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
import torch

from .record import Array, Bad, OpCase, Sample, rng


def operands(
    lengths: tuple[int, ...], keys: tuple[int, ...], heads: tuple[int, int], width: int, seed: int
) -> tuple[Array, ...]:
    r = rng(seed)
    q_starts, k_starts = (np.cumsum([0, *n]) for n in (lengths, keys))
    return (
        r.standard_normal((q_starts[-1], heads[0], width)),
        r.standard_normal((k_starts[-1], heads[1], width)),
        r.standard_normal((k_starts[-1], heads[1], width + 1)),
        q_starts,
        k_starts.astype(np.int32),
    )


LENGTHS: list[tuple[tuple[int, ...], tuple[int, ...]]] = [
    ((3,), (3,)), ((1, 1), (1, 1)), ((5, 2, 7), (5, 2, 7)), ((4, 0, 3), (4, 0, 3)),
    ((2, 3), (6, 3)), ((6, 2), (2, 2)), ((0, 5), (3, 5)), ((40, 9, 70), (40, 9, 70)),
]  # fmt: skip
WINDOWS = [(-1, -1), (-1, 0), (2, 1), (0, -1)]


def samples() -> list[Sample]:
    calls = [
        Sample(operands(n, m, (2, 2), 4, i), {"window_size": window})
        for i, (n, m) in enumerate(LENGTHS)
        for window in WINDOWS
    ]
    grouped = operands((5, 2), (5, 3), (6, 2), 3, 1)
    calls += [Sample(grouped, {"enable_gqa": True, "scale": s}) for s in (None, 0.5, -1.0)]
    same = operands((5, 2), (5, 2), (2, 2), 3, 2)
    calls += [Sample(same[:4]), Sample((*same[:4], None, 5, 5)), Sample((*same[:4], None, 5), {})]
    calls.append(Sample(operands((), (), (2, 2), 3, 3)))
    # Gradients of a handful of keys round somewhat worse than PyTorch's, whose sums cancel there;
    # these are sequences as they come.
    for i, n in enumerate([(90, 33), (130,), (64, 65, 66), (150, 1, 40), (200, 17), (48, 80, 96)]):
        for heads in ((2, 1), (2, 2)):
            for window in WINDOWS:
                options = {"window_size": window, "enable_gqa": heads[1] == 1}
                calls.append(Sample(operands(n, n, heads, 16, i), options))
    return calls


def large() -> list[Sample]:
    return [
        Sample(operands((300, 40, 210), (300, 40, 210), (4, 4), 32, 5), {"window_size": (-1, 0)})
    ]


def bad() -> list[Bad]:
    q, k, v, cu, cu_k = (
        a.astype(np.float32) if a.dtype == np.float64 else a
        for a in operands((3, 2), (4, 2), (2, 2), 4, 7)
    )
    return [
        Bad((q[0], k, v, cu, cu_k), ValueError, "query must have 3 dimensions"),
        Bad((q, k[..., 0], v, cu, cu_k), ValueError, "key must have 3 dimensions"),
        Bad((q, k[..., :3], v, cu, cu_k), ValueError, "key must have 4 features as query, got 3"),
        Bad((q, k, v[1:], cu, cu_k), ValueError, "value must have the rows and heads of key"),
        Bad((q, k[:, :1], v[:, :1], cu, cu_k), ValueError, "key must have 2 heads .* got 1"),
        Bad((q, k, v.astype(np.float64), cu, cu_k), TypeError, "value must have the dtype"),
        Bad((q.astype(int), k, v, cu, cu_k), TypeError, "query must be"),
        Bad((q, k, v, cu.astype(float), cu_k), TypeError, "cu_seq_q must be an array of integers"),
        Bad((q, k, v, cu[None], cu_k), ValueError, "cu_seq_q must have shape"),
        Bad((q, k, v, cu[:-1], cu_k), ValueError, "cu_seq_q must rise from 0 to 5"),
        Bad((q, k, v, cu[::-1], cu_k), ValueError, "cu_seq_q must rise from 0 to 5"),
        Bad((q, k, v, cu, cu), ValueError, "cu_seq_k must rise from 0 to 6"),
        Bad((q, k, v, cu, cu_k[[0, 2]]), ValueError, "cu_seq_k must have 3 elements"),
        Bad((q, k, v, cu, cu_k), ValueError, "must hold numbers >= -1", {"window_size": (-2, 0)}),
        Bad((q, k, v, cu, cu_k), TypeError, "window_size must be two ints", {"window_size": 3}),
        Bad((q, k, v, cu, cu_k), ValueError, "scale must be finite", {"scale": float("nan")}),
    ]


def on_torch(
    query: Any, key: Any, value: Any, cu_seq_q: Any, cu_seq_k: Any = None, max_q: Any = None,
    max_k: Any = None, *, scale: float | None = None, window_size: Any = (-1, -1),
    enable_gqa: bool = False,
) -> Any:  # fmt: skip
    """Sequence by sequence; PyTorch's own runs on a GPU only."""
    k_starts = (cu_seq_q if cu_seq_k is None else cu_seq_k).tolist()
    outputs = [value.new_zeros(0, query.shape[1], value.shape[2])]
    left, right = window_size
    for (a, b), (c, d) in zip(pairwise(cu_seq_q.tolist()), pairwise(k_starts), strict=True):
        away = torch.arange(d - c) - (torch.arange(b - a)[:, None] + (d - c) - (b - a))
        keep = (left < 0) | (away >= -left)
        keep = keep & ((right < 0) | (away <= right))
        seen = keep.any(-1)  # PyTorch's gradients of a row that sees nothing are NaN
        rows = torch.nn.functional.scaled_dot_product_attention(
            *[x.transpose(0, 1)[None] for x in (query[a:b][seen], key[c:d], value[c:d])],
            keep[seen], scale=scale, enable_gqa=enable_gqa,
        )  # fmt: skip
        whole = value.new_zeros(b - a, query.shape[1], value.shape[2])
        outputs.append(whole.index_put((seen.nonzero()[:, 0],), rows[0].transpose(0, 1)))
    return torch.cat(outputs)


CASES = [
    OpCase("varlen_attn", samples, large, bad, torch=on_torch, differentiable=(0, 1, 2)),
]
