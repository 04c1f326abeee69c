"""Max, average and adaptive pooling in one and two dimensions."""

from __future__ import annotations

from typing import Any

import numpy as np

from .record import Bad, OpCase, Sample, rng

INF, NAN = np.inf, np.nan


def images(seed: int, *shape: int) -> np.ndarray[Any, Any]:
    """Distinct values, so that a finite difference never changes which element is the largest."""
    n = int(np.prod(shape))
    values = (np.arange(n) - n / 2) / max(n, 1) * 4 + 0.005
    return np.asarray(rng(seed).permutation(values).reshape(shape))


# (shape, kernel_size, further keywords that max and average pooling share)
WINDOWS_1D: list[tuple[tuple[int, ...], Any, dict[str, Any]]] = [
    ((1, 1, 1), 1, {}),
    ((2, 3, 8), 2, {}),
    ((3, 8), 2, {}),
    ((2, 3, 9), 2, {"ceil_mode": True}),
    ((2, 3, 9), 3, {"stride": 1}),
    ((2, 3, 9), 3, {"stride": 1, "padding": 1}),
    ((2, 3, 9), 3, {"stride": 2, "padding": 1}),
    ((2, 2, 40), 3, {"stride": 2, "padding": 1}),
    ((2, 2, 41), 2, {"stride": 2}),
    ((2, 2, 70), 5, {"stride": 1, "padding": 2}),
    ((2, 2, 70), 4, {"stride": 2, "padding": 2}),
    ((1, 2, 100), 5, {"stride": 3, "padding": 1}),
    ((1, 2, 100), 3, {"stride": 5}),
    ((1, 2, 100), 7, {"stride": 4, "ceil_mode": True}),
    ((1, 2, 11), 11, {}),
    ((1, 2, 11), 10, {"stride": 3, "padding": 5, "ceil_mode": True}),
    ((1, 1, 700), 300, {"stride": 50, "padding": 150}),
    ((1, 1, 700), 300, {"stride": 1}),
    ((1, 1, 3), (3,), {"stride": (2,), "padding": (1,)}),
    ((0, 3, 8), 2, {}),
    ((1, 1, 5), 2, {"stride": 3}),
    ((1, 1, 5), 2, {"stride": 4, "ceil_mode": True}),
    ((4, 1, 2), 2, {"padding": 1, "stride": 1}),
    ((1, 20, 6), 2, {}),
]

DILATED_1D: list[tuple[tuple[int, ...], Any, dict[str, Any]]] = [
    ((2, 2, 20), 3, {"dilation": 2, "stride": 1}),
    ((2, 2, 50), 3, {"dilation": 3, "stride": 1, "padding": 1}),
    ((2, 2, 50), 3, {"dilation": 3, "stride": 2, "padding": 1}),
    ((2, 2, 50), 2, {"dilation": 5, "stride": 3, "ceil_mode": True}),
    ((1, 1, 900), 3, {"dilation": 200, "stride": 7}),
    ((1, 1, 4), 3, {"dilation": 2, "padding": 1}),
    ((1, 1, 9), 1, {"dilation": 100}),
]

WINDOWS_2D: list[tuple[tuple[int, ...], Any, dict[str, Any]]] = [
    ((1, 1, 1, 1), 1, {}),
    ((2, 3, 4, 6), 2, {}),
    ((3, 4, 6), 2, {}),
    ((2, 3, 5, 7), 2, {"ceil_mode": True}),
    ((2, 3, 7, 7), 3, {"stride": 1, "padding": 1}),
    ((2, 3, 9, 9), 3, {"stride": 2, "padding": 1}),
    ((2, 3, 9, 9), 3, {"stride": 2, "padding": 1, "ceil_mode": True}),
    ((1, 2, 6, 40), 3, {"stride": 2, "padding": 1}),
    ((1, 2, 6, 40), 2, {"stride": 2}),
    ((1, 2, 5, 71), 3, {"stride": 1, "padding": 1}),
    ((1, 2, 9, 64), (3, 4), {"stride": (1, 2), "padding": (1, 2)}),
    ((1, 2, 9, 64), (2, 3), {"stride": (2, 3), "padding": (0, 1)}),
    ((2, 2, 12, 12), 5, {"stride": 3, "padding": 2}),
    ((1, 1, 12, 13), 12, {}),
    ((1, 1, 6, 6), (6, 1), {}),
    ((1, 1, 6, 6), (1, 6), {}),
    ((1, 1, 1, 9), (1, 3), {"stride": 1}),
    ((1, 1, 9, 1), (3, 1), {"stride": 1}),
    ((0, 3, 4, 4), 2, {}),
    ((2, 17, 5, 5), 2, {"stride": 1}),
    ((1, 33, 4, 4), 3, {"stride": 1, "padding": 1}),
    ((1, 9, 20, 20), 3, {"stride": 2, "padding": 1}),
    ((1, 1, 4, 4), (2,), {"stride": (2,)}),
    ((1, 1, 4, 5), 3, {"stride": 3, "padding": 1, "ceil_mode": True}),
    ((2, 1, 3, 3), 2, {"stride": 5, "ceil_mode": True}),
]

DILATED_2D: list[tuple[tuple[int, ...], Any, dict[str, Any]]] = [
    ((2, 2, 9, 9), 3, {"dilation": 2, "stride": 1}),
    ((2, 2, 9, 40), 3, {"dilation": (2, 3), "stride": 1, "padding": 1}),
    ((2, 2, 9, 40), (2, 3), {"dilation": (3, 2), "stride": 2, "padding": (1, 0)}),
    ((1, 2, 10, 10), 2, {"dilation": 4, "stride": 3, "ceil_mode": True}),
    ((1, 16, 6, 6), 2, {"dilation": 2, "stride": 1, "padding": 1}),
]

ADAPTIVE_1D: list[tuple[tuple[int, ...], Any]] = [
    ((1, 1, 1), 1), ((2, 3, 8), 1), ((2, 3, 8), 2), ((2, 3, 8), 3), ((2, 3, 8), 5),
    ((2, 3, 8), 8), ((2, 3, 8), 11), ((3, 8), 3), ((3, 8), 4), ((2, 2, 7), 2), ((2, 2, 70), 1),
    ((2, 2, 70), 3), ((2, 2, 70), 35), ((2, 2, 71), 35), ((2, 2, 100), 7), ((0, 3, 8), 3),
    ((1, 1, 5), 20), ((1, 1, 5), 13), ((1, 20, 9), 4), ((4, 1, 6), 6),
    ((1, 3, 600), 1), ((1, 3, 600), 2), ((1, 3, 601), 2), ((5, 2, 3), 2), ((1, 1, 2), 1),
    ((2, 1, 13), (5,)), ((1, 2, 31), 16), ((1, 2, 32), 16), ((1, 2, 33), 16), ((7, 9), 1),
]  # fmt: skip

ADAPTIVE_2D: list[tuple[tuple[int, ...], Any]] = [
    ((1, 1, 1, 1), 1), ((2, 3, 7, 7), 1), ((2, 3, 8, 8), 2), ((2, 3, 8, 8), (2, 4)),
    ((2, 3, 8, 8), (None, 2)), ((2, 3, 8, 8), (3, None)), ((2, 3, 8, 8), (None, None)),
    ((2, 3, 8, 9), 3), ((2, 3, 8, 9), (5, 7)), ((3, 8, 9), (4, 3)), ((3, 8, 9), 1),
    ((1, 2, 5, 5), 7), ((1, 2, 5, 5), (9, 2)), ((1, 2, 4, 70), (2, 1)), ((1, 2, 4, 70), (1, 3)),
    ((1, 2, 4, 70), (2, 35)), ((1, 2, 4, 71), (2, 35)), ((0, 3, 8, 8), 2),
    ((1, 20, 6, 6), 4), ((1, 20, 6, 6), 3), ((2, 17, 7, 7), 1),
    ((1, 33, 5, 4), (2, 3)), ((4, 1, 2, 3), (2, 3)), ((1, 1, 1, 9), (1, 4)),
    ((1, 1, 9, 1), (4, 1)), ((1, 1, 13, 11), 6), ((2, 2, 10, 10), (7, 7)), ((1, 1, 6, 40), (5, 1)),
    ((1, 3, 14, 14), 7),
]  # fmt: skip


def hard_values(spatial: int) -> list[np.ndarray[Any, Any]]:
    """Ties, infinities and NaNs, in windows of the border and inside."""
    r = rng(5)
    shape = (2, 2, 40) if spatial == 1 else (2, 2, 6, 40)
    ties = np.asarray(r.integers(0, 2, shape), np.float64)
    ties[..., 0] = INF  # which also tells the finite differences to stay away
    infinite = np.where(r.random(shape) < 0.7, -INF, r.standard_normal(shape))
    nans = np.where(r.random(shape) < 0.1, NAN, r.standard_normal(shape))
    return [ties, infinite, nans, np.full(shape, -INF), np.full(shape, NAN)]


def max_samples(spatial: int) -> list[Sample]:
    windows = [WINDOWS_1D + DILATED_1D, WINDOWS_2D + DILATED_2D][spatial - 1]
    calls = []
    for i, (shape, kernel, keywords) in enumerate(windows):
        also = {"return_indices": True} if i % 2 else {}
        calls.append(Sample((images(i, *shape), kernel), {**keywords, **also}))
    for x in hard_values(spatial):
        calls.append(Sample((x, 3), {"stride": 2, "padding": 1, "return_indices": True}))
        calls.append(Sample((x, 3), {"stride": 1, "padding": 1, "return_indices": True}))
        calls.append(Sample((x, 2), {"dilation": 2}))
    return calls


def avg_samples(spatial: int) -> list[Sample]:
    windows = [WINDOWS_1D, WINDOWS_2D][spatial - 1]
    calls = []
    for i, (shape, kernel, keywords) in enumerate(windows):
        calls.append(Sample((images(i, *shape), kernel), keywords))
        if keywords.get("padding") or keywords.get("ceil_mode"):
            calls.append(
                Sample((images(i, *shape), kernel), {**keywords, "count_include_pad": False})
            )
    if spatial == 2:
        for divisor in (1, 3, -2):
            keywords = {"padding": 1, "stride": 2, "divisor_override": divisor}
            calls.append(Sample((images(divisor + 9, 2, 2, 7, 7), 3), keywords))
    calls.append(Sample((hard_values(spatial)[2], 3), {"stride": 2, "padding": 1}))
    return calls


def adaptive_samples(spatial: int, return_indices: bool) -> list[Sample]:
    calls = []
    for i, (shape, size) in enumerate([ADAPTIVE_1D, ADAPTIVE_2D][spatial - 1]):
        keywords = {"return_indices": True} if return_indices and i % 2 else {}
        calls.append(Sample((images(i, *shape), size), keywords))
    for x in hard_values(spatial)[:3] if return_indices else hard_values(spatial)[2:3]:
        keywords = {"return_indices": True} if return_indices else {}
        calls.append(Sample((x, 7 if spatial == 1 else (4, 7)), keywords))
    return calls


def large_max(spatial: int) -> list[Sample]:
    if spatial == 1:
        return [
            Sample((images(1, 4, 30, 3000), 3), {"stride": 2, "padding": 1}),
            Sample((images(2, 1, 3, 50_000), 4), {"stride": 4, "return_indices": True}),
        ]
    return [
        Sample((images(1, 4, 32, 56, 57), 3), {"stride": 2, "padding": 1, "return_indices": True}),
        Sample((images(2, 4, 16, 40, 130), 2)),
    ]


def large_avg(spatial: int) -> list[Sample]:
    if spatial == 1:
        return [Sample((images(1, 4, 30, 3000), 3), {"stride": 1, "padding": 1})]
    return [
        Sample((images(1, 4, 32, 56, 57), 3), {"stride": 2, "padding": 1}),
        Sample((images(2, 4, 16, 40, 130), 3), {"stride": 1, "padding": 1}),
    ]


def large_adaptive(spatial: int) -> list[Sample]:
    if spatial == 1:
        return [Sample((images(1, 4, 30, 3000), 700))]
    return [Sample((images(1, 4, 32, 56, 57), 7)), Sample((images(2, 8, 64, 20, 20), 1))]


def bad_windows(spatial: int) -> list[Bad]:
    """What max and average pooling have in common."""
    x = np.zeros((2, 3, 8) if spatial == 1 else (2, 3, 8, 8), np.float32)
    big = 2**62
    return [
        Bad((x, 0), ValueError, "kernel_size must be positive"),
        Bad((x, -1), ValueError, "kernel_size must be positive"),
        Bad((x, 2, 0), ValueError, "stride must be positive"),
        Bad((x, 2, -3), ValueError, "stride must be positive"),
        Bad((x, 2, 2, -1), ValueError, "padding must not be negative"),
        Bad((x, 2, 2, 2), ValueError, "padding must be at most half of kernel_size"),
        Bad((x, 9), ValueError, "larger than the padded input of size 8"),
        Bad((x, big, 1, big // 2 + 1), ValueError, "padding must be at most half"),
        Bad((x, 2**64), ValueError, "kernel_size does not fit 64 bits"),
        Bad((x, big, big), ValueError, "larger than the padded input"),
        Bad((x, (2, 2, 2)), ValueError, "kernel_size must be an int or"),
        Bad((x, ()), ValueError, "kernel_size must be an int or"),
        Bad((x, 2.0), TypeError, "kernel_size must be"),
        Bad((x, "2"), TypeError, "kernel_size must be"),
        Bad((x, None), TypeError, "kernel_size must be"),
        Bad((x, 2, 2.5), TypeError, "stride must be"),
        Bad((x[0, 0], 2), ValueError, "input must have .* dimensions"),
        Bad((x[None], 2) if spatial == 2 else (x[None, None], 2), ValueError, "input must have"),
        Bad((x[:, :0], 2), ValueError, "input must not be empty but for its batch"),
        Bad((x[..., :0], 2), ValueError, "input must not be empty but for its batch"),
        Bad((x.astype(np.int64), 2), TypeError, "input must be .*float.*int64"),
        Bad((x.astype(np.float16), 2), TypeError, "input must be .*float16"),
        Bad((x.astype(complex), 2), TypeError, "input must be .*complex"),
        Bad((None, 2), TypeError, "input must be"),
    ]


def bad_max(spatial: int) -> list[Bad]:
    x = np.zeros((2, 3, 8) if spatial == 1 else (2, 3, 8, 8), np.float32)
    return [
        *bad_windows(spatial),
        Bad((x, 2), ValueError, "dilation must be positive", {"dilation": 0}),
        Bad((x, 2), ValueError, "dilation must be positive", {"dilation": -2}),
        Bad((x, 3), ValueError, "larger than the padded input", {"dilation": 4}),
        Bad((x, 3), ValueError, "overflows 64 bits", {"dilation": 2**62}),
        Bad(
            (x[..., :2], (1, 2)[-spatial:], 1, (0, 1)[-spatial:]),
            ValueError,
            "dilation 3 leaves window 0 no element",
            {"dilation": 3},
        ),
    ]


def bad_avg(spatial: int) -> list[Bad]:
    x = np.zeros((2, 3, 8, 8), np.float32)
    if spatial == 1:
        return bad_windows(spatial)
    return [
        *bad_windows(spatial),
        Bad((x, 2), ValueError, "divisor_override must not be zero", {"divisor_override": 0}),
        Bad((x, 2), TypeError, "divisor_override must be an int", {"divisor_override": 1.5}),
    ]


def bad_adaptive(spatial: int) -> list[Bad]:
    x = np.zeros((2, 3, 8) if spatial == 1 else (2, 3, 8, 8), np.float32)
    return [
        Bad((x, -1), ValueError, "output_size must not be negative"),
        Bad((x, (-2,) * spatial), ValueError, "output_size must not be negative"),
        Bad((x, (2, 2, 2)), ValueError, "output_size must be an int or"),
        Bad((x, ()), ValueError, "output_size must be an int or"),
        Bad((x, 2**61), ValueError, "overflows|too large"),
        Bad((x, 2**65), ValueError, "output_size does not fit 64 bits"),
        Bad((x, 2.0), TypeError, "output_size must be an int"),
        Bad((x, "2"), TypeError, "output_size must be an int"),
        Bad((x[0, 0], 2), ValueError, "input must have .* dimensions"),
        Bad((x[None, None], 2), ValueError, "input must have .* dimensions"),
        Bad((x[..., :0], 2), ValueError, "input must not be empty"),
        Bad((x.astype(np.int32), 2), TypeError, "input must be .*int32"),
        Bad((x.astype(bool), 2), TypeError, "input must be .*bool"),
        Bad((None, 2), TypeError, "input must be"),
    ]


def case(name: str, samples: Any, large: Any, bad: Any, *args: Any) -> OpCase:
    spatial = int(name[-2])
    return OpCase(
        name=name,
        samples=lambda: samples(spatial, *args),
        large=lambda: large(spatial),
        bad=lambda: bad(spatial),
        gradcheck_step=1e-5,
    )


CASES = [
    case("max_pool1d", max_samples, large_max, bad_max),
    case("max_pool2d", max_samples, large_max, bad_max),
    case("avg_pool1d", avg_samples, large_avg, bad_avg),
    case("avg_pool2d", avg_samples, large_avg, bad_avg),
    case("adaptive_max_pool1d", adaptive_samples, large_adaptive, bad_adaptive, True),
    case("adaptive_max_pool2d", adaptive_samples, large_adaptive, bad_adaptive, True),
    case("adaptive_avg_pool1d", adaptive_samples, large_adaptive, bad_adaptive, False),
    case("adaptive_avg_pool2d", adaptive_samples, large_adaptive, bad_adaptive, False),
]
