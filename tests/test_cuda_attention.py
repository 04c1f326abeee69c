"""The kernels of attention, their very source, run thread by thread on the CPU.

csrc/cuda/core/emulator.h plays the machine: matrix instructions by the layouts of the PTX ISA,
shared memory that begins as NaN, copies that land as late as they may, or at once.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import numpy as np
import pytest

import pyfast as pf

host = pytest.importorskip("pyfast._cuda", reason="built without CUDA").host
DTYPES = ["float32", "float16", "bfloat16"]
SPACING = {"float32": 2.0**-23, "float16": 2.0**-10, "bfloat16": 2.0**-7}


@pytest.fixture(params=[True, False], ids=["late copies", "early copies"])
def copies(request: Any) -> Iterator[None]:
    host.late_copies(request.param)
    yield
    host.late_copies(True)


def encode(x: Any, dtype: str) -> Any:
    """The values as the kernels get them: bfloat16 in uint16, rounded to nearest even."""
    if dtype != "bfloat16":
        return x.astype(dtype)
    bits = x.astype(np.float32).view(np.uint32)
    return ((bits + 0x7FFF + (bits >> 16 & 1)) >> 16).astype(np.uint16)


def decode(x: Any, dtype: str) -> Any:
    if dtype == "bfloat16":
        return (x.astype(np.uint32) << 16).view(np.float32).astype(np.float64)
    return (x.view(np.float16) if dtype == "float16" else x).astype(np.float64)


def units(dtype: str, q: Any, k: Any, scale: float | None) -> float:
    """How many spacings a result may be off.

    float32: a score of size s is rounded by about s / 2 spacings, and its weight errs relatively by
    as much; |q| |k| bounds scores. Half types err by the roundings of weights before a product.
    """
    if dtype != "float32" or q.size == 0 or k.size == 0:
        return 3.0
    factor = q.shape[-1] ** -0.5 if scale is None else abs(scale)
    norms = [largest(np.linalg.norm(x, axis=-1)) for x in (q, k)]
    return float(3 + factor * norms[0] * norms[1] / 2)


def largest(x: Any) -> float:
    """Magnitude, infinities and NaN aside."""
    return float(np.abs(x[np.isfinite(x)]).max(initial=0))


def draw(*shape: int, seed: int = 0) -> Any:
    return np.random.default_rng(seed).standard_normal(shape)


SETTINGS = {"dropout_p": 0.0, "is_causal": False, "scale": None, "enable_gqa": False,
            "seed": 7, "offset": 3, "window_size": None}  # fmt: skip


def check_forward(
    dtype: str, q: Any, k: Any, v: Any, mask: Any = None, **named: Any
) -> tuple[Any, ...]:
    """Against the reference in float64, on the same rounded operands."""
    options = {**SETTINGS, **named}.values()
    coded = [encode(x, dtype) for x in (q, k, v)]
    exact = [decode(x, dtype) for x in coded]
    if mask is not None and mask.dtype != bool:
        mask = encode(mask, dtype)
    wide = mask if mask is None or mask.dtype == bool else decode(mask, dtype)
    got = host.scaled_dot_product_attention(dtype, *coded, mask, *options, None)
    wants = pf._core.scaled_dot_product_attention(*exact, wide, *options)
    output = decode(got[0], dtype)
    bound = SPACING[dtype] * (1 + largest(wants[0]))
    np.testing.assert_allclose(
        output, wants[0], rtol=0, atol=units(dtype, q, k, named.get("scale")) * bound
    )
    for ours, theirs in zip(got[1:], wants[1:], strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=2e-5, atol=2e-5)
    return got


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("width", [32, 64, 128, 256, 40, 5])
def test_plain_heads(dtype: str, width: int, copies: None) -> None:
    check_forward(dtype, draw(2, 37, width), draw(2, 90, width, seed=1), draw(2, 90, width, seed=2))


def band(rows: int, columns: int, width: int) -> Any:
    return np.abs(np.arange(rows)[:, None] - np.arange(columns)) < width


def masks(rows: int, columns: int) -> dict[str, Any]:
    random = np.random.default_rng(5).random((2, rows, columns)) < 0.6
    random[..., 0] = True
    random[0, 3] = False  # a query that may attend to nothing
    lengths = np.arange(columns) < np.array([20, 70])[:, None, None]
    terms = np.where(random, draw(2, rows, columns, seed=6), -np.inf)
    return {
        "random": random,
        "one for all": random[1],
        "lengths": lengths,
        "band": band(rows, columns, 9),
        "transposed": np.ascontiguousarray(random.transpose(0, 2, 1)).transpose(0, 2, 1),
        "terms": terms,
        "terms of keys": draw(columns, seed=7),
        "terms of queries": draw(rows, 1, seed=8),
        "zeros": np.zeros((rows, columns)),
    }


def check_backward(
    dtype: str,
    q: Any,
    k: Any,
    v: Any,
    mask: Any = None,
    grad: Any = None,
    mask_gradient: bool = True,
    **named: Any,
) -> list[Any]:
    """Against the reference as check_forward; the output and the gradients."""
    output, top, total = check_forward(dtype, q, k, v, mask, **named)
    *options, window = {**SETTINGS, **named}.values()
    grad = draw(*output.shape, seed=9) if grad is None else grad
    coded = [encode(x, dtype) for x in (grad, q, k, v)]
    exact = [decode(x, dtype) for x in coded]
    terms = mask is not None and mask.dtype != bool
    coded.append(encode(mask, dtype) if terms else mask)
    exact.append(decode(coded[4], dtype) if terms else mask)
    needs = (True, True, True, terms and mask_gradient)
    got = host.scaled_dot_product_attention_backward(
        dtype, *coded, output, top, total, *options, needs, window, None
    )
    saved = pf._core.scaled_dot_product_attention(*exact[1:], *options, window)
    wants = pf._core.scaled_dot_product_attention_backward(*exact, *saved, *options, *needs, window)
    for ours, want in zip(got, wants, strict=True):
        if want is None:
            assert ours is None
            continue
        bound = SPACING[dtype] * (2 + largest(want))
        np.testing.assert_allclose(
            decode(ours, dtype),
            want,
            rtol=0,
            atol=(1 + units(dtype, q, k, named.get("scale"))) * bound,
        )
    return [decode(x, dtype) for x in (output, *got) if x is not None]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("width", [32, 64, 128, 256, 40, 5])
def test_gradients_of_plain_heads(dtype: str, width: int, copies: None) -> None:
    check_backward(
        dtype, draw(1, 37, width), draw(1, 70, width, seed=1), draw(1, 70, width, seed=2)
    )


@pytest.mark.parametrize("name", sorted(masks(4, 4)))
def test_masks(name: str) -> None:
    q, k, v = draw(2, 70, 16), draw(2, 90, 16, seed=1), draw(2, 90, 16, seed=2)
    for dtype in ("float32", "bfloat16"):
        check_backward(dtype, q, k, v, masks(70, 90)[name])


@pytest.mark.parametrize(
    "named",
    [
        {"is_causal": True}, {"window_size": (5, 9)}, {"window_size": (-1, 3)},
        {"window_size": (12, -1), "is_causal": True}, {"dropout_p": 0.3},
        {"dropout_p": 0.5, "is_causal": True}, {"dropout_p": 1.0}, {"scale": -0.7},
        {"scale": 0.0},
    ],
    ids=str,
)  # fmt: skip
def test_settings(named: dict[str, Any]) -> None:
    q, k, v = draw(2, 150, 16), draw(2, 70, 16, seed=1), draw(2, 70, 24, seed=2)
    for dtype in ("float32", "float16"):
        check_backward(dtype, q, k, v, **named)


@pytest.mark.parametrize(
    ("queries", "keys", "values", "grouped"),
    [
        ((2, 4), (2, 2), (2, 2), True), ((1, 6), (1, 1), (1, 1), True),
        ((2, 1), (1, 3), (2, 3), False), ((3,), (), (), False), ((), (3,), (), False),
        ((2, 2), (2, 1), (1, 2), False),
    ],
)  # fmt: skip
@pytest.mark.parametrize("rows", [1, 3, 20])
def test_shared_operands(queries: Any, keys: Any, values: Any, grouped: bool, rows: int) -> None:
    q, k, v = draw(*queries, rows, 8), draw(*keys, 37, 8, seed=1), draw(*values, 37, 8, seed=2)
    for dtype in ("float32", "float16"):
        check_backward(dtype, q, k, v, enable_gqa=grouped)
        check_backward(dtype, q, k, v, draw(rows, 37, seed=3), enable_gqa=grouped)


@pytest.mark.parametrize("keys", [900, 1100])
def test_few_queries_against_keys_in_splits(keys: int) -> None:
    q, k, v = draw(1, 4, 1, 32), draw(1, 2, keys, 32, seed=1), draw(1, 2, keys, 32, seed=2)
    lengths = np.arange(keys) < 300  # whole splits see nothing
    for dtype in DTYPES:
        check_forward(dtype, q, k, v, enable_gqa=True)
        check_forward(dtype, q, k, v, lengths, enable_gqa=True)
        check_forward(dtype, q, k, v, np.zeros(keys, bool), enable_gqa=True)


def test_strides_are_read_where_they_lie() -> None:
    q, k, v = (draw(2, 40, 3, 16, seed=i).transpose(0, 2, 1, 3) for i in range(3))
    for dtype in ("float32", "bfloat16"):
        check_forward(dtype, q, k, v)
        check_forward(dtype, q[:, :, ::2, ::-1], k[..., ::-1], v[..., 1::2], is_causal=True)


def test_empty_operands() -> None:
    for lead, rows, keys, width, value_width in (
        ((2,), 0, 5, 4, 3), ((2,), 3, 0, 4, 3), ((2,), 3, 5, 0, 3), ((2,), 3, 5, 4, 0),
        ((0,), 3, 5, 4, 3),
    ):  # fmt: skip
        q, k = draw(*lead, rows, width), draw(*lead, keys, width)
        check_backward("float32", q, k, draw(*lead, keys, value_width))


def test_the_same_bits_again() -> None:
    q, k, v = (encode(draw(1, 70, 64, seed=i), "float16") for i in range(3))
    options = SETTINGS.values()
    first = host.scaled_dot_product_attention("float16", q, k, v, None, *options, None)
    host.late_copies(False)
    again = host.scaled_dot_product_attention("float16", q, k, v, None, *options, None)
    host.late_copies(True)
    for a, b in zip(first, again, strict=True):
        np.testing.assert_array_equal(a, b)


def test_a_head_too_wide() -> None:
    wide, narrow = np.zeros((2, 257), np.float32), np.zeros((2, 5), np.float32)
    for argument, arrays in (("query", (wide, wide, narrow)), ("value", (narrow, narrow, wide))):
        message = f"scaled_dot_product_attention: {argument} must have at most 256 features .* 257"
        with pytest.raises(ValueError, match=message):
            host.scaled_dot_product_attention("float32", *arrays, None, *SETTINGS.values(), None)


def broken_operands(junk: float) -> tuple[Any, ...]:
    """Beside a mask that forbids some keys to all queries, and others to some."""
    q, k, v = draw(1, 34, 24), draw(1, 80, 24, seed=1), draw(1, 80, 16, seed=2)
    mask = np.random.default_rng(4).random((34, 80)) < 0.5
    mask[:, [3, 66]] = False
    mask[5] = False  # sees nothing
    k[:, 3, 1] = v[:, 3, 0] = v[:, 66, 9] = junk
    return q, k, v, mask


@pytest.mark.parametrize("junk", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("dtype", DTYPES)
def test_forbidden_keys_leave_no_trace(dtype: str, junk: float) -> None:
    q, k, v, mask = broken_operands(junk)
    terms = np.where(mask, draw(34, 80, seed=6), -np.inf)
    for m, dropout_p in ((mask, 0.0), (terms, 0.4)):
        got = check_backward(dtype, q, k, v, m, dropout_p=dropout_p)
        assert all(np.isfinite(x).all() for x in got)


def test_forbidden_terms_leave_no_trace() -> None:
    """A mask's own NaN where the window forbids."""
    q, k, v, _ = broken_operands(0.0)
    terms = draw(34, 80, seed=6)
    terms[:, 70:] = np.nan
    terms[3, 20:] = np.inf
    got = check_backward("float32", q, k, v, terms, window_size=(-1, 9))
    assert all(np.isfinite(x).all() for x in got)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("named", [{"is_causal": True}, {"window_size": (9, 4)}], ids=str)
def test_the_band_keeps_broken_keys_to_those_who_see_them(
    dtype: str, named: dict[str, Any]
) -> None:
    q, k, v = draw(1, 50, 16), draw(1, 50, 16, seed=1), draw(1, 50, 16, seed=2)
    k[:, 40:, 2], v[:, 41:, 3] = np.nan, np.inf
    output, dq, *_ = check_backward(dtype, q, k, v, **named)
    for x in (output, dq):
        assert np.isfinite(x[:, :36]).all()
        assert np.isnan(x[:, 40:]).any(axis=-1).all()


@pytest.mark.parametrize("dtype", DTYPES)
def test_broken_queries_and_gradients_stay_within_the_keys_they_see(dtype: str) -> None:
    q, k, v = draw(2, 30, 32), draw(2, 70, 32, seed=1), draw(2, 70, 32, seed=2)
    grad = draw(2, 30, 32, seed=9)
    mask = np.ones((30, 70), bool)
    mask[1] = np.arange(70) < 4
    q[0, 1, 5] = np.nan
    grad[1, 1, 0] = np.nan  # of an infinity, what differences are depends on their order
    _, _, dk, dv = check_backward(dtype, q, k, v, mask, grad=grad)
    for x in (dk, dv):
        assert np.isfinite(x[:, 4:]).all()
        assert not np.isfinite(x[:, :4]).all()
    terms = np.where(mask, 0.5, -np.inf)
    *_, dm = check_backward(dtype, q, k, v, terms, grad=grad)
    assert np.isfinite(dm[~mask]).all()


@pytest.mark.parametrize("shared", [1, 6])
def test_broken_keys_among_few_queries_in_splits(shared: int) -> None:
    """As in generation: heads that share keys, what lies beyond a cache's end is anything."""
    q, k, v = draw(1, shared, 1, 32), draw(1, 1, 900, 32, seed=1), draw(1, 1, 900, 32, seed=2)
    mask = np.arange(900) < 510
    k[..., 510:, :], v[..., 510:, :] = np.nan, -np.inf
    for dtype in DTYPES:
        output = check_forward(dtype, q, k, v, mask, enable_gqa=True)[0]
        assert np.isfinite(decode(output, dtype)).all()


def test_broken_pairs_that_are_allowed_stay_broken() -> None:
    q, k, v, mask = broken_operands(np.nan)
    mask[1, 3] = True
    output, dq, *_ = check_backward("float16", q, k, v, mask)
    for x in (output, dq):
        assert np.isnan(x[:, 1]).all()
        assert np.isfinite(np.delete(x, 1, axis=1)).all()


def lengths_to_starts(*lengths: int) -> Any:
    return np.cumsum([0, *lengths])


def packed_mask(q_starts: Any, k_starts: Any, window: tuple[int, int] | None) -> Any:
    """Who may see whom, written out: a band is counted from a sequence's last rows."""
    mask = np.zeros((q_starts[-1], k_starts[-1]), bool)
    left, right = window or (-1, -1)
    for (a, b), (c, d) in zip(pairwise(q_starts), pairwise(k_starts), strict=True):
        away = np.arange(d - c) - (np.arange(b - a)[:, None] + (d - c) - (b - a))
        near = (left < 0) | (away >= -left)
        mask[a:b, c:d] = near & ((right < 0) | (away <= right))
    return mask


def check_packed_forward(
    dtype: str, q: Any, k: Any, v: Any, starts: Any, window: tuple[int, int] | None
) -> tuple[Any, ...]:
    """Against the reference with the mask written out; what both gave."""
    *settings, _ = {**SETTINGS, "enable_gqa": True}.values()
    coded = [encode(x, dtype) for x in (q, k, v)]
    exact = [decode(x, dtype) for x in coded]
    got = host.scaled_dot_product_attention(dtype, *coded, None, *settings, window, starts)
    mask = packed_mask(*starts, window)
    saved = pf._core.scaled_dot_product_attention(*exact, mask, *settings, None)
    bound = units(dtype, q, k, None) * SPACING[dtype] * (1 + largest(saved[0]))
    np.testing.assert_allclose(decode(got[0], dtype), saved[0], rtol=0, atol=bound)
    return got, saved


@pytest.mark.parametrize("window", [None, (-1, 0), (9, 4), (0, 0)])
@pytest.mark.parametrize(
    "lengths",
    [((5, 70, 0, 1, 30), (5, 70, 3, 1, 30)), ((40, 3), (90, 0)), ((20,), (70,)), ((64, 64),) * 2],
    ids=str,
)
def test_packed_sequences(lengths: Any, window: Any) -> None:
    starts = [lengths_to_starts(*x) for x in lengths]
    n, m = starts[0][-1], starts[1][-1]
    q, k, v = draw(2, n, 16), draw(1, m, 16, seed=1), draw(1, m, 24, seed=2)
    k[:, -1], v[:, -1, 1] = np.nan, np.inf  # of the last sequence alone
    mask = packed_mask(*starts, window)
    *settings, _ = {**SETTINGS, "enable_gqa": True}.values()
    needs = (True, True, True, False)
    for dtype in ("float32", "float16"):
        got, saved = check_packed_forward(dtype, q, k, v, starts, window)
        coded = [encode(x, dtype) for x in (draw(2, n, 24, seed=9), q, k, v)]
        exact = [decode(x, dtype) for x in coded]
        found = host.scaled_dot_product_attention_backward(
            dtype, *coded, None, *got, *settings, needs, window, starts
        )
        wants = pf._core.scaled_dot_product_attention_backward(
            *exact, mask, *saved, *settings, *needs, None
        )
        for ours, want in zip(found[:3], wants[:3], strict=True):
            # A query that sees one key: its gradient is the difference of two equal sums.
            bound = (3 + units(dtype, q, k, None)) * SPACING[dtype] * (2 + largest(want))
            np.testing.assert_allclose(decode(ours, dtype), want, rtol=0, atol=bound)


@pytest.mark.parametrize(
    "starts", [(0, 50, 10, 20), (-5, 3, 99, 10**12), (30, 10, 5, 0), (0, 0, 0, 0), (0,)], ids=str
)
def test_starts_that_make_no_sense_are_survived(starts: Any) -> None:
    """A GPU's values are not read before the launch: what comes of them must stay inside."""
    q = draw(1, 40, 8).astype(np.float32)
    cu = np.array(starts)
    options = SETTINGS.values()
    got = host.scaled_dot_product_attention("float32", q, q, q, None, *options, (cu, cu))
    needs = (True, True, True, False)
    *settings, window = options
    host.scaled_dot_product_attention_backward(
        "float32", q, q, q, q, None, *got, *settings, needs, window, (cu, cu)
    )
    assert np.isfinite(got[0]).all()


def test_starts_must_be_vectors_of_one_length() -> None:
    q = draw(1, 4, 8).astype(np.float32)
    for starts, argument in ((([[0, 4]], [0, 4]), "cu_seq_q"), (([0, 4], [0]), "cu_seq_k"),
                             (([], []), "cu_seq_q")):  # fmt: skip
        with pytest.raises(ValueError, match=f"scaled_dot_product_attention: {argument} must have"):
            host.scaled_dot_product_attention("float32", q, q, q, None, *SETTINGS.values(), starts)
