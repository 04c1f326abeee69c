"""What the records of tests/cases/attention.py cannot say: leaks, dropout, splits, memory."""

from __future__ import annotations

import sys
from typing import Any

import numpy as np
import pytest
import torch
from interpreter import python
from numpy.typing import NDArray
from oracle import reference_mode, threads

import pyfast as pf
from pyfast import _core

Array = NDArray[Any]
attention = pf.ops.scaled_dot_product_attention


def normal(*shape: int, seed: int = 0, dtype: Any = np.float32) -> Array:
    return np.random.default_rng(seed).standard_normal(shape).astype(dtype)


def gradients(arrays: list[Array], grad: Array, *args: Any, **options: Any) -> list[Array]:
    """The output and the gradient of every array."""
    tensors = [pf.Tensor(a, requires_grad=True) for a in arrays]
    output = attention(*tensors, *args, **options)
    output.backward(grad)
    return [output.numpy(), *(np.asarray(t.grad) for t in tensors)]


def torch_gradients(arrays: list[Array], grad: Array, **options: Any) -> list[Array]:
    tensors = [torch.from_numpy(a).requires_grad_() for a in arrays]
    output = torch.nn.functional.scaled_dot_product_attention(*tensors, **options)
    output.backward(torch.from_numpy(grad))
    return [output.detach().numpy(), *(t.grad.numpy() for t in tensors)]


def operands(rows: int, columns: int, width: int = 8) -> list[Array]:
    return [
        normal(2, 3, n, width, seed=i) for i, n in enumerate((rows, columns, columns, rows))
    ]  # query, key, value, gradient of the output


def additive(mask: Array) -> Array:
    return np.where(mask, 0, -np.inf).astype(np.float32)


@pytest.mark.parametrize("as_mask", [np.asarray, additive])
@pytest.mark.parametrize(("rows", "columns"), [(5, 7), (60, 200)])
def test_a_query_that_sees_nothing_gives_zeros(rows: int, columns: int, as_mask: Any) -> None:
    q, k, v, g = operands(rows, columns)
    mask = np.random.default_rng(5).random((rows, columns)) < 0.5
    mask[:, 0] = True
    blind = mask.copy()
    blind[2] = False
    g_seen = g.copy()
    g_seen[..., 2, :] = 0
    output, dq, dk, dv = gradients([q, k, v], g, as_mask(blind))
    wanted, wanted_dq, wanted_dk, wanted_dv = gradients([q, k, v], g_seen, as_mask(mask))
    assert not output[..., 2, :].any()
    assert not dq[..., 2, :].any()
    wanted[..., 2, :] = 0
    np.testing.assert_allclose(output, wanted, rtol=1e-5, atol=1e-6)
    for got, want in [(dq, wanted_dq), (dk, wanted_dk), (dv, wanted_dv)]:
        np.testing.assert_allclose(got, want, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("junk", [np.nan, np.inf])
@pytest.mark.parametrize(("rows", "columns"), [(5, 7), (60, 200)])
def test_masked_out_keys_leave_no_trace(rows: int, columns: int, junk: float) -> None:
    q, k, v, g = operands(rows, columns)
    mask = np.random.default_rng(6).random((rows, columns)) < 0.5
    mask[:, 3] = False
    dirty_k, dirty_v = k.copy(), v.copy()
    dirty_k[..., 3, :] = junk
    dirty_v[..., 3, 1] = junk
    for m in (mask, additive(mask)):
        clean = gradients([q, k, v], g, m)
        dirty = gradients([q, dirty_k, dirty_v], g, m)
        for got, want in zip(dirty, clean, strict=True):
            np.testing.assert_allclose(got, want, rtol=1e-5, atol=1e-5)


def test_masked_pairs_keep_broken_keys_from_other_queries() -> None:
    """Key 3 is NaN and only query 1 sees it: query 1 alone breaks."""
    q, k, v, g = operands(50, 120)
    k[..., 3, :] = np.nan
    v[..., 3, :] = np.nan
    mask = np.ones((50, 120), bool)
    mask[:, 3] = False
    without = gradients([q, np.nan_to_num(k), np.nan_to_num(v)], g, mask)
    mask[1, 3] = True
    output, dq, _, _ = gradients([q, k, v], g, mask)
    others = np.arange(50) != 1
    for got, want in zip((output, dq), without, strict=False):
        assert np.isnan(got[..., 1, :]).all()
        np.testing.assert_allclose(got[..., others, :], want[..., others, :], rtol=1e-5, atol=1e-5)


def test_broken_queries_and_gradients_stay_within_the_keys_they_see() -> None:
    q, k, v, g = operands(50, 120)
    mask = np.ones((50, 120), bool)
    mask[1] = np.arange(120) < 4
    q[..., 1, :] = np.nan
    g[..., 1, 0] = np.inf
    _, dq, dk, dv = gradients([q, k, v], g, mask)
    assert np.isnan(dq[..., 1, :]).all()
    for gradient in (dk, dv):
        assert np.isnan(gradient[..., :4, :]).all()
        assert np.isfinite(gradient[..., 4:, :]).all()


def test_later_keys_do_not_leak_through_the_causal_mask() -> None:
    q, k, v, g = operands(120, 120)
    k[..., 70:, :] = np.nan
    v[..., 70:, :] = np.inf
    output, dq, _, _ = gradients([q, k, v], g, is_causal=True)
    clean = gradients([q, np.nan_to_num(k), np.zeros_like(v)], g, is_causal=True)
    assert np.isfinite(output[..., :70, :]).all()
    assert np.isfinite(dq[..., :70, :]).all()
    assert np.isfinite(clean[0]).all()
    assert np.isnan(output[..., 70:, :]).all()


def test_a_broken_query_or_value_is_not_silenced() -> None:
    q, k, v, _ = operands(5, 7)
    broken = q.copy()
    broken[..., 2, 0] = np.nan
    output = attention(broken, k, v)
    assert np.isnan(output[..., 2, :]).all()
    assert np.isfinite(output[..., [0, 1, 3, 4], :]).all()
    v[..., 4, 1] = np.nan
    assert np.isnan(attention(q, k, v)[..., 1]).all()


SIZES = [(5, 7, 8), (1, 300, 16), (70, 203, 32), (128, 128, 64), (200, 320, 64)]
MODES = ["full", "causal", "mask", "bias", "window"]


def extreme_case(size: tuple[int, int, int], mode: str) -> tuple[list[Array], dict[str, Any]]:
    """Query, key, value and gradient of the output; options."""
    rows, columns, width = size
    arrays = [normal(2, n, width, seed=i) for i, n in enumerate((rows, columns, columns, rows))]
    mask = np.random.default_rng(4).random((rows, columns)) < 0.5
    mask[:, 0] = True
    options: dict[str, dict[str, Any]] = {
        "full": {},
        "causal": {"is_causal": True},
        "mask": {"attn_mask": mask},
        "bias": {"attn_mask": normal(rows, columns, seed=5)},
        "window": {"window_size": (40, 3)},
    }
    return arrays, options[mode]


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("growth", [1e9, 1e12, 1e30])
def test_scores_may_be_huge(growth: float, size: tuple[int, int, int], mode: str) -> None:
    """A row's largest score takes it all. It is found anew in backward, by other sums: where its
    rounding is more than exp2 bears, weights were 0 or infinite."""
    (q, k, v, g), options = extreme_case(size, mode)
    k *= np.float32(growth)
    got = gradients([q, k, v], g, **options)
    with reference_mode():
        want = gradients([q, k, v], g, **options)
    assert all(np.isfinite(a).all() for a in got)
    for i in (0, 2, 3):  # dquery is 0 but for rounding, times keys of that size
        np.testing.assert_allclose(got[i], want[i], rtol=1e-5, atol=1e-5)
    if mode in ("full", "causal"):
        theirs = torch.nn.functional.scaled_dot_product_attention(
            *map(torch.from_numpy, (q, k, v)), **options
        )
        np.testing.assert_allclose(got[0], theirs.numpy(), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("broken", ["key", "-key", "nan key", "query", "bias"])
def test_what_an_infinite_score_breaks(broken: str, size: tuple[int, int, int], mode: str) -> None:
    """All that rows with a score of infinity see becomes NaN, in every gradient; nothing else."""
    (q, k, v, g), options = extreme_case(size, mode)
    if broken == "query":
        q[:, size[0] // 2, 3] = np.inf
    elif broken == "bias":
        options = {"attn_mask": normal(size[0], size[1], seed=5)}
        options["attn_mask"][size[0] // 2, size[1] // 3] = np.inf
    else:
        k[:, size[1] // 2, 3] = {"key": np.inf, "-key": -np.inf, "nan key": np.nan}[broken]
    got = gradients([q, k, v], g, **options)
    with reference_mode():
        want = gradients([q, k, v], g, **options)
    # Of an infinite query half the scores are -inf, and what NaN times 0 is hangs on the order.
    for a, b in zip(got, want[:2] if broken == "query" else want, strict=False):
        np.testing.assert_array_equal(np.isfinite(a), np.isfinite(b))
        sound = np.isfinite(b)
        np.testing.assert_allclose(a[sound], b[sound], rtol=1e-4, atol=1e-5)
    if mode == "full" and not options:
        theirs = torch_gradients([q, k, v], g)[:2]
        for a, b in zip(got, theirs, strict=False):
            np.testing.assert_array_equal(np.isfinite(a), np.isfinite(b))


def test_statistics_of_rows() -> None:
    q, k, v, _ = operands(50, 300)
    mask = np.ones((50, 300), bool)
    mask[7] = False
    _, row_max, row_sum = _core.scaled_dot_product_attention(q, k, v, mask)
    scores = np.where(mask, q.astype(np.float64) @ k.swapaxes(-1, -2) / np.sqrt(8), -np.inf)
    top = scores.max(-1)
    np.testing.assert_allclose(row_max, top / np.log(2), rtol=1e-5)
    seen = np.where(np.isinf(top), 0, top)
    np.testing.assert_allclose(row_sum, np.exp(scores - seen[..., None]).sum(-1), rtol=1e-5)


@pytest.mark.parametrize("causal", [False, True])
def test_few_queries_split_the_keys(causal: bool) -> None:
    q, k, v = normal(1, 2, 3, 16), normal(1, 2, 5000, 16, seed=1), normal(1, 2, 5000, 9, seed=2)
    wanted = torch.nn.functional.scaled_dot_product_attention(
        *map(torch.from_numpy, (q, k, v)), is_causal=causal
    )
    got = attention(q, k, v, is_causal=causal)
    np.testing.assert_allclose(got, wanted.numpy(), rtol=1e-5, atol=1e-6)
    v[..., 4000, 2] = np.nan
    assert np.isnan(attention(q, k, v)[..., 2]).all()


def assert_all_close(got: list[Array], want: list[Array]) -> None:
    for a, b in zip(got, want, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=2e-5 * np.abs(b).max())


def test_backward_with_more_keys_than_a_task_holds() -> None:
    arrays = [normal(16, n, 64, seed=i) for i, n in enumerate((8, 4500, 4500))]
    g = normal(16, 8, 64, seed=3)
    assert_all_close(gradients(arrays, g), torch_gradients(arrays, g))


def test_backward_with_more_work_than_a_task_takes() -> None:
    """64 heads share keys and values: together they must be what they are one by one."""
    q, k, v = normal(64, 100, 64), normal(1, 2100, 64, seed=1), normal(1, 2100, 64, seed=2)
    g = normal(64, 100, 64, seed=3)
    output, dq, dk, dv = gradients([q, k, v], g, enable_gqa=True)
    heads = [gradients([q[h], k[0], v[0]], g[h]) for h in range(64)]
    assert_all_close([output, dq], [np.stack([h[i] for h in heads]) for i in (0, 1)])
    assert_all_close([dk[0], dv[0]], [np.sum([h[i] for h in heads], axis=0) for i in (2, 3)])


def cache(length: int, heads: int = 2, width: int = 16) -> tuple[Array, Array]:
    """Keys and values as the used part of a preallocated cache; what lies beyond is NaN."""
    store = np.full((2, 1, heads, 1024, width), np.nan, np.float32)
    store[..., :length, :] = normal(2, 1, heads, length, width, seed=5)
    return store[0, :, :, :length], store[1, :, :, :length]


@pytest.mark.parametrize("queries", [1, 2, 5, 8])
@pytest.mark.parametrize("length", [1, 100, 777, 1024])
@pytest.mark.parametrize("width", [16, 20])
def test_decoding_from_a_cache(queries: int, length: int, width: int) -> None:
    key, value = cache(length, 2, width)
    query = normal(1, 6, queries, width)
    got = attention(query, key, value, enable_gqa=True)
    wanted = torch.nn.functional.scaled_dot_product_attention(
        *map(torch.from_numpy, (query, key.copy(), value.copy())), enable_gqa=True
    )
    np.testing.assert_allclose(got, wanted.numpy(), rtol=1e-4, atol=1e-6)
    with threads(3):
        np.testing.assert_array_equal(attention(query, key, value, enable_gqa=True), got)


def test_decoding_reads_each_heads_mask() -> None:
    key, value = cache(300)
    query = normal(1, 6, 3, 16)
    for mask in (
        np.random.default_rng(0).random((1, 6, 3, 300)) < 0.5,
        np.random.default_rng(1).random((1, 1, 1, 300)) < 0.5,
        normal(6, 1, 300),
    ):
        with reference_mode():
            wanted = attention(query, key, value, mask, enable_gqa=True)
        got = attention(query, key, value, mask, enable_gqa=True)
        np.testing.assert_allclose(got, wanted, rtol=1e-4, atol=1e-6)


def test_decoding_equals_the_last_rows_of_the_whole() -> None:
    """Cached generation must not drift from a pass over the whole sequence."""
    q, k, v = (normal(1, 4, 200, 32, seed=i) for i in range(3))
    whole = attention(q, k, v, is_causal=True)
    for i in (0, 1, 63, 199):
        step = attention(q[:, :, i : i + 1], k[:, :, : i + 1], v[:, :, : i + 1])
        np.testing.assert_allclose(step[:, :, 0], whole[:, :, i], rtol=1e-5, atol=2e-6)


def test_what_the_window_leaves_out_leaves_no_trace() -> None:
    q, k, v, g = operands(150, 150)
    k[..., :40, :] = np.nan
    v[..., :40, :] = np.inf
    output, dq, _, _ = gradients([q, k, v], g, window_size=(10, 10))
    for rows in (output, dq):
        assert np.isfinite(rows[..., 50:, :]).all()
        assert np.isnan(rows[..., :40, :]).all()


def assert_no_larger_error_than_pytorchs(
    arrays: list[Array], g: Array, mask: Array | None = None, limit: float = 1.05, **options: Any
) -> None:
    wide, narrow = (None if mask is None else torch.from_numpy(m) for m in (as_double(mask), mask))
    doubles = [a.astype(np.float64) for a in arrays]
    exact = torch_gradients(doubles, g.astype(np.float64), attn_mask=wide, **options)
    ours = gradients(arrays, g, mask, **options)
    theirs = torch_gradients(arrays, g, attn_mask=narrow, **options)
    for e, a, b in zip(exact, ours, theirs, strict=True):
        error, theirs_error = (float(np.sqrt(np.mean((x - e) ** 2))) for x in (a, b))
        assert error <= limit * theirs_error, (error, theirs_error)


def as_double(mask: Array | None) -> Array | None:
    return mask if mask is None or mask.dtype == bool else mask.astype(np.float64)


@pytest.mark.skipif(_core.isa() == "scalar", reason="without FMA every product is rounded")
@pytest.mark.parametrize("options", [{}, {"is_causal": True}])
@pytest.mark.parametrize(("scale", "length"), [(1.0, 700), (6.0, 700), (1.0, 130)])
def test_error_is_no_larger_than_pytorchs(
    options: dict[str, Any], scale: float, length: int
) -> None:
    arrays = [normal(4, n, 64, seed=i) for i, n in enumerate((length, 700, 700))]
    arrays[0] *= np.float32(scale)
    assert_no_larger_error_than_pytorchs(arrays, normal(4, length, 64, seed=3), **options)


@pytest.mark.skipif(_core.isa() == "scalar", reason="without FMA every product is rounded")
@pytest.mark.parametrize("options", [{}, {"is_causal": True}])
@pytest.mark.parametrize(("length", "width"), [(64, 32), (256, 64), (1024, 32), (512, 128)])
def test_error_where_nothing_is_negative(options: dict[str, Any], length: int, width: int) -> None:
    """dP and the row's mean of it nearly cancel, and what is left has one sign in every row: a bias
    of the output by half a unit in the last place is ten times that in the gradient of a key."""
    heads = 8192 // length  # the mean over many rows: a row's error comes of one number's rounding
    q, k, v, g = (np.abs(normal(heads, length, width, seed=i)) for i in range(4))
    assert_no_larger_error_than_pytorchs([q, k, v], g, limit=1.1, **options)


@pytest.mark.skipif(_core.isa() == "scalar", reason="without FMA every product is rounded")
@pytest.mark.parametrize("as_mask", [np.asarray, additive])
@pytest.mark.parametrize("columns", [100, 200, 430])
@pytest.mark.parametrize("kind", ["normal", "non-negative"])
def test_error_under_a_mask(kind: str, columns: int, as_mask: Any) -> None:
    """Of three dimensions PyTorch keeps all scores, so that its dS adds up to 0 in every row."""
    q, k, v, g = (normal(64, n, 4, seed=i) for i, n in enumerate((60, columns, columns, 60)))
    if kind == "non-negative":
        q, k, v = map(np.abs, (q, k, v))
    mask = np.random.default_rng(8).random((60, columns)) < 0.6
    mask[:, 0] = True
    assert_no_larger_error_than_pytorchs([q, k, v], g, as_mask(mask), limit=1.1)


def test_expanded_operands_are_read_in_place() -> None:
    q, k, v, g = operands(9, 40)
    wide = np.broadcast_to(k[:1, :1], k.shape)
    mask = np.broadcast_to(np.arange(40) < 30, (2, 3, 9, 40))
    flat = np.broadcast_to(np.float32(1), g.shape)
    got = gradients([q, wide, v], flat, mask)
    want = gradients([q, wide.copy(), v], flat.copy(), mask.copy())
    for a, b in zip(got, want, strict=True):
        np.testing.assert_array_equal(a, b)


def test_only_wanted_gradients_are_computed() -> None:
    q, k, v, g = operands(5, 7)
    everything = gradients([q, k, v], g)[1:]
    for i in range(3):
        tensors = [pf.Tensor(a, requires_grad=i == j) for j, a in enumerate((q, k, v))]
        attention(*tensors).backward(g)
        for j, t in enumerate(tensors):
            if i == j:
                np.testing.assert_array_equal(np.asarray(t.grad), everything[i])
            else:
                assert t.grad is None


def weights(p: float, seed: int, rows: int = 70, columns: int = 203) -> Array:
    """Dropped attention weights themselves: values are the unit matrix, scores all 0."""
    zeros = np.zeros((2, rows, 4), np.float32), np.zeros((2, columns, 4), np.float32)
    pf.manual_seed(seed)
    unit = np.broadcast_to(np.eye(columns, dtype=np.float32), (2, columns, columns))
    return attention(*zeros, unit, dropout_p=p) * columns


def test_dropout_drops_at_random_and_scales_the_rest() -> None:
    w = weights(0.3, 1)
    kept = w != 0
    np.testing.assert_allclose(w[kept], 1 / 0.7, rtol=1e-5)
    assert abs(kept.mean() - 0.7) < 4 * np.sqrt(0.3 * 0.7 / kept.size)
    for axis in range(3):  # neighbours are independent
        a, b = (np.take(kept, range(s, kept.shape[axis] - 1 + s), axis) for s in (0, 1))
        assert abs(np.corrcoef(a.ravel(), b.ravel())[0, 1]) < 0.03
    np.testing.assert_array_equal(w, weights(0.3, 1))
    assert (w != weights(0.3, 2)).any()
    assert not weights(1.0, 1).any()
    with threads(3):
        np.testing.assert_array_equal(w, weights(0.3, 1))


def test_dropout_takes_a_new_stream_each_call() -> None:
    q, k, v, _ = operands(5, 7)
    pf.manual_seed(0)
    first, second = attention(q, k, v, dropout_p=0.5), attention(q, k, v, dropout_p=0.5)
    assert (first != second).any()


@pytest.mark.parametrize("causal", [False, True])
def test_dropout_gradients(causal: bool) -> None:
    """The same mask in forward, backward and the reference: finite differences and its twin."""
    arrays = [normal(2, n, 5, seed=i, dtype=np.float64) for i, n in enumerate((50, 101, 101))]
    g = normal(2, 50, 5, seed=4, dtype=np.float64)
    options = {"dropout_p": 0.4, "is_causal": causal}

    def value(moved: list[Array]) -> float:
        pf.manual_seed(3)
        return float(np.sum(attention(*moved, **options) * g))

    pf.manual_seed(3)
    got = gradients(arrays, g, **options)
    with reference_mode():
        pf.manual_seed(3)
        want = gradients(arrays, g, **options)
    for a, b in zip(got, want, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-10)
    for i, gradient in enumerate(got[1:]):
        step = np.zeros_like(arrays[i])
        step[1, 7, 2] = 1e-5
        moved = [[*arrays[:i], arrays[i] + s * step, *arrays[i + 1 :]] for s in (1, -1)]
        difference = (value(moved[0]) - value(moved[1])) / 2e-5
        assert abs(difference - gradient[1, 7, 2]) < 1e-7 * np.abs(gradient).max()


def test_backward_operands_are_checked() -> None:
    q, k, v, g = operands(5, 7)
    output, row_max, row_sum = _core.scaled_dot_product_attention(q, k, v)
    rest = (0.0, False, None, False, 0, 0, True, True, True, False)

    def backward(
        g: Any = g,
        output: Any = output,
        row_max: Any = row_max,
        row_sum: Any = row_sum,
        mask: Any = None,
        rest: Any = rest,
    ) -> Any:
        return _core.scaled_dot_product_attention_backward(
            g, q, k, v, mask, output, row_max, row_sum, *rest
        )

    assert backward()[3] is None
    for call, error, match in [
        (lambda: backward(g=g[..., :3]), ValueError, "grad must have shape"),
        (lambda: backward(output=output[:1]), ValueError, "output must have shape"),
        (lambda: backward(row_max=row_max[..., None]), ValueError, "row_max must have shape"),
        (lambda: backward(row_sum=row_sum[:1]), ValueError, "row_sum must have shape"),
        (lambda: backward(row_max=row_max.astype(float)), TypeError, "row_max must have the dtype"),
        (lambda: backward(rest=(*rest[:9], True)), ValueError, "attn_mask must be floating"),
        (
            lambda: backward(mask=np.ones((5, 7), bool), rest=(*rest[:9], True)),
            ValueError,
            "attn_mask must be floating .* got bool",
        ),
    ]:
        with pytest.raises(error, match=match):
            call()


# VmHWM belongs to the process image; ru_maxrss would begin at the peak of pytest's process.
MEMORY = r"""
import re, numpy as np, pyfast as pf
def peak(): return int(re.search(r"VmHWM:\s+(\d+)", open("/proc/self/status").read())[1]) / 1024
q, k, v, g = (np.ones((1, 1, 16384, 8), np.float32) for _ in range(4))
q, k, v = (pf.Tensor(a, requires_grad=True) for a in (q, k, v))
mask = np.broadcast_to(np.arange(16384) < 9000, (16384, 16384))
before = peak()
pf.ops.scaled_dot_product_attention(q, k, v, mask).backward(g)
print(peak() - before)
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="/proc/self/status is Linux's")
def test_memory_does_not_grow_with_the_square_of_the_length() -> None:
    """Scores of this call would take 1 GiB, an expanded mask 256 MiB."""
    assert float(python("-c", MEMORY).stdout) < 64


def tile_case(kind: str, width: int, junk: float) -> tuple[list[Array], dict[str, Any]]:
    """Query, key, value and the gradient of the output; options."""
    q, k, v, g = (normal(2, 4, n, width, seed=i) for i, n in enumerate((203, 331, 331, 203)))
    k[1, 0, 200, 3] = v[1, 1, 210, 5] = q[0, 2, 17, 1] = g[0, 3, 90, 2] = junk
    options: dict[str, Any] = {"is_causal": True} if kind == "causal" else {}
    if kind == "window":
        options["window_size"] = (40, 3)
    if kind == "mask":
        options["attn_mask"] = np.random.default_rng(7).random((203, 331)) < 0.4
        options["attn_mask"][:, [200, 210]] = False
        options["attn_mask"][5] = False
    if kind == "bias":
        options["attn_mask"] = normal(203, 331, seed=9)
    if kind == "grouped":
        k, v = k[:, :2], v[:, :2]
        options["enable_gqa"] = True
    if kind == "dropout":
        options["dropout_p"] = 0.3
    return [q, k, v, g], options


def by_tiles_and_registers(arrays: list[Array], options: dict[str, Any]) -> Any:
    """The output and every gradient, twice: tiles want the features of a key side by side."""
    q, k, v, g = arrays
    turned = np.swapaxes(np.swapaxes(k, 2, 3).copy(), 2, 3)
    for keys in (k, turned):
        pf.manual_seed(3)
        yield gradients([q, keys, v], g, **options)


KINDS = ["full", "causal", "window", "mask", "bias", "grouped", "dropout"]


@pytest.mark.skipif(_core.isa() != "amx", reason="needs AMX")
@pytest.mark.parametrize("junk", [1.0, np.nan, np.inf, 1e-44])
@pytest.mark.parametrize("width", [48, 64])
@pytest.mark.parametrize("kind", KINDS)
def test_tiles_agree_with_registers(kind: str, width: int, junk: float) -> None:
    tiles, registers = by_tiles_and_registers(*tile_case(kind, width, junk))
    for got, want in zip(tiles, registers, strict=True):
        assert junk != 1.0 or (got != want).any()
        sound = np.isfinite(want)  # sums of infinities are infinite or NaN, as their order has it
        np.testing.assert_array_equal(np.isfinite(got), sound)
        np.testing.assert_allclose(got[sound], want[sound], rtol=2e-5, atol=4e-6)


@pytest.mark.skipif(_core.isa() != "amx", reason="needs AMX")
@pytest.mark.parametrize("kind", KINDS)
def test_what_is_too_large_for_tiles_goes_to_registers(kind: str) -> None:
    """Gradients that 1e30 leaves determined: dS, noise beside P = 1, is multiplied by it."""
    tiles, registers = by_tiles_and_registers(*tile_case(kind, 64, 1e30))
    np.testing.assert_allclose(tiles[0], registers[0], rtol=2e-5, atol=4e-6)
    for got, want in zip(tiles, registers, strict=True):
        np.testing.assert_array_equal(np.isfinite(got), np.isfinite(want))


@pytest.mark.skipif(_core.isa() != "amx", reason="needs AMX")
def test_queries_on_tiles_may_lie_anyhow() -> None:
    (q, k, v, g), _ = tile_case("full", 48, 1.0)
    turned = np.swapaxes(np.swapaxes(q, 2, 3).copy(), 2, 3)
    for got, want in zip(gradients([turned, k, v], g), gradients([q, k, v], g), strict=True):
        np.testing.assert_array_equal(got, want)


def awkward(kind: str, width: int, draw: int) -> list[Array]:
    """Query, key and value, of two blocks of keys."""
    q, k, v = (normal(2, 256, width, seed=4 * draw + i) for i in range(3))
    rng = np.random.default_rng(4 * draw + 3)
    if kind in ("peaked", "flat"):
        q *= np.float32(30 if kind == "peaked" else 0.1)
    if kind == "constant keys":
        k[:] = 1
    if kind in ("outlier in a key", "outlier in a value"):
        (k if kind == "outlier in a key" else v)[..., 3] *= 100
    if kind == "heavy tails":
        q, k, v = (rng.standard_t(3, a.shape).astype(np.float32) for a in (q, k, v))
    if kind == "zeros":
        q[:, ::2] = k[:, ::3] = v[:, ::3] = 0
        v[..., 1] = 0
    if kind == "sparse values":
        v *= rng.random(v.shape) < 0.05
    if kind == "one large value":
        v[:, 100] *= 1000
    return [q, k, v]


AWKWARD = ["peaked", "flat", "constant keys", "outlier in a key", "outlier in a value"]
AWKWARD += ["heavy tails", "zeros", "sparse values", "one large value"]


@pytest.mark.skipif(_core.isa() == "scalar", reason="without FMA every product is rounded")
@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("width", [32, 64, 80, 96])
@pytest.mark.parametrize("kind", AWKWARD)
def test_forward_error_on_awkward_operands(kind: str, width: int, causal: bool) -> None:
    torch_attention = torch.nn.functional.scaled_dot_product_attention
    squares = np.zeros(2)
    for draw in range(8):  # of one large value a single weight's rounding is most of the error
        arrays = awkward(kind, width, draw)
        exact, theirs = (
            torch_attention(*map(torch.from_numpy, a), is_causal=causal).numpy()
            for a in ([a.astype(np.float64) for a in arrays], arrays)
        )
        ours = attention(*arrays, is_causal=causal)
        squares += [np.mean((x - exact) ** 2) for x in (ours, theirs)]
    error, theirs_error = np.sqrt(squares)
    assert error <= 1.1 * theirs_error, (error, theirs_error)


@pytest.mark.parametrize("width", [32, 64, 128])
def test_a_weight_of_one_hands_the_value_on(width: int) -> None:
    q = 100 * np.eye(128, width, dtype=np.float32)[None]
    q[:, width:] = -q[:, : 128 - width]
    v = normal(1, 128, width)
    got = attention(q, q, v, scale=1.0)
    np.testing.assert_allclose(got[:, :width], v[:, :width], rtol=3e-7, atol=1e-8)


@pytest.mark.parametrize("value", [1.0, -1.0, -3.9999998])
def test_values_that_are_all_the_largest(value: float) -> None:
    """Every weight is 1 before the division: the largest sums that integers of the tiles hold."""
    q, k = np.zeros((1, 64, 64), np.float32), np.zeros((1, 1024, 64), np.float32)
    got = attention(q, k, np.full_like(k, value))
    np.testing.assert_allclose(got, np.float32(value), rtol=1.2e-7)


@pytest.mark.skipif(_core.isa() != "amx", reason="needs AMX")
def test_infinite_scores_on_tiles() -> None:
    q, k, v = (normal(1, 128, 64, seed=i) for i in range(3))
    q[:, 40] *= 1e15
    k[:, 50] *= 1e15
    turned = np.swapaxes(np.swapaxes(k, 1, 2).copy(), 1, 2)
    got, want = (attention(q, a, v, scale=1e12) for a in (k, turned))
    assert np.isnan(want).any()
    assert np.isfinite(want).any()
    np.testing.assert_array_equal(np.isnan(got), np.isnan(want))
