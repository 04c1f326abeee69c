"""sm_90a's machinery and the kernels that use it, their very source, run on the CPU.

csrc/cuda/hopper/emulator.h plays TMA, barriers and the products of a warpgroup by the PTX ISA.
Boxes land at once or as late as nobody can do without them, products run at once or when they are
waited for, threads take turns forwards and backwards: a kernel must be right in all of it.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from test_cuda_attention import (
    check_backward,
    check_forward,
    check_packed_forward,
    decode,
    draw,
    masks,
)

host = pytest.importorskip("pyfast._cuda", reason="built without CUDA").host


def test_a_swizzle_permutes_chunks_within_eight_rows() -> None:
    addresses = np.arange(4096)
    row, chunk, byte = addresses // 128, addresses // 16 % 8, addresses % 16
    want = row * 128 + (chunk ^ row % 8) * 16 + byte
    assert [host.swizzled(int(a)) for a in addresses] == want.tolist()
    assert sorted(want.tolist()) == addresses.tolist()


def test_descriptors_bit_by_bit() -> None:
    for address, leading, stride in ((0, 16, 1024), (0x3FFF0, 16384, 1024), (0x12340, 32, 262128)):
        bits = f"{host.matrix_descriptor(address, leading, stride):064b}"[::-1]
        assert int(bits[0:14][::-1], 2) == address // 16
        assert int(bits[16:30][::-1], 2) == leading // 16
        assert int(bits[32:46][::-1], 2) == stride // 16
        assert bits[62] + bits[63] == "10"  # 128 bytes is mode 1
        assert {bits[i] for i in (14, 15, 30, 31, *range(46, 62))} == {"0"}
    assert host.rows_descriptor(4096) == host.matrix_descriptor(4096, 16, 1024)
    assert host.columns_descriptor(4096, 128) == host.matrix_descriptor(4096, 128 * 128, 1024)
    moved = host.rows_descriptor(4096) + host.descriptor_right(128, 64 + 48)
    assert moved == host.rows_descriptor(4096 + 128 * 128 + 96)
    moved = host.columns_descriptor(4096, 128) + host.descriptor_down(16)
    assert moved == host.columns_descriptor(4096 + 16 * 128, 128)


@pytest.mark.parametrize("begin", [0, 1024, 7168])
def test_boxes_land_swizzled(begin: int) -> None:
    places = host.box_places(24, begin)
    row, column = np.indices((24, 64))
    chunk = (column // 8) ^ (begin // 128 + row) % 8
    np.testing.assert_array_equal(places, begin + row * 128 + chunk * 16 + column % 8 * 2)


@pytest.mark.parametrize(
    ("batch", "element"),
    [
        ([], 0), ([(6, 4096)], 5), ([(3, 40960), (4, 0), (5, 512)], 53),
        ([(2, 9216), (3, 1024), (4, 40960)], 17), ([(2, 0), (3, 0)], 4),
    ],
)  # fmt: skip
def test_coordinates_lead_where_offsets_do(batch: Any, element: int) -> None:
    at, sizes, strides, offset = host.boxes(40, 64, 80, batch, element)
    assert sizes[:2] == [64, 40]
    assert strides[:2] == [2, 160]
    assert all(0 <= a < size for a, size in zip(at, sizes[2:], strict=True))
    assert sum(a * stride for a, stride in zip(at, strides[2:], strict=True)) == 2 * offset


@pytest.mark.parametrize(
    "wrong",
    [
        (40, 64, 81, []), (40, 64, -80, []), (40, 64, 0, []), (0, 64, 80, []),
        (40, 64, 80, [(2, 12)]), (40, 64, 80, [(2, -4096)]), (40, 64, 1 << 39, []),
        (40, 64, 80, [(2, 8), (2, 32), (2, 128), (2, 512)]), (40, 64, 80, [(1 << 32, 0)]),
    ],
)  # fmt: skip
def test_what_tma_does_not_take(wrong: Any) -> None:
    assert host.boxes(*wrong, 0) is None


@pytest.fixture(
    params=[
        ("late", "late", False), ("early", "early", False), ("early", "late", False),
        ("early", "late", True), ("late", "early", True),
    ],
    ids=lambda p: f"{p[0]} copies, {p[1]} products{', last first' if p[2] else ''}",
)  # fmt: skip
def order(request: Any) -> Iterator[None]:
    copies, products, last_first = request.param
    host.late_copies(copies == "late")
    host.late_products(products == "late")
    host.last_first(last_first)
    yield
    host.late_copies(True)
    host.late_products(True)
    host.last_first(False)


@pytest.mark.parametrize("columns", [64, 128])
@pytest.mark.parametrize("right_transposed", [False, True])
@pytest.mark.parametrize("left", ["rows", "transposed", "registers"])
def test_products_of_a_warpgroup(
    left: str, right_transposed: bool, columns: int, order: None
) -> None:
    a = draw(64, 64).astype(np.float16)
    b = draw(columns, 64, seed=1).astype(np.float16)
    one = a.T.copy() if left == "transposed" else a
    other = b.T.copy() if right_transposed else b
    got = host.warpgroup_product(
        one.view(np.uint16), left == "transposed", left == "registers", other.view(np.uint16),
        right_transposed, columns,
    )  # fmt: skip
    want = a.astype(np.float64) @ b.astype(np.float64).T
    np.testing.assert_allclose(got, want, rtol=0, atol=2e-5)


def test_what_lies_outside_an_array_is_zero() -> None:
    a, b = draw(50, 40).astype(np.float16), draw(70, 40, seed=1).astype(np.float16)
    got = host.warpgroup_product(a.view(np.uint16), False, False, b.view(np.uint16), False, 128)
    want = np.zeros((64, 128))
    want[:50, :70] = a.astype(np.float64) @ b.astype(np.float64).T
    np.testing.assert_allclose(got, want, rtol=0, atol=2e-5)


@pytest.fixture
def hopper() -> Iterator[None]:
    """Forward by the kernel of sm_90a, on three blocks of threads."""
    host.use_hopper(3)
    yield
    host.use_hopper(0)


def operands(batch: int, queries: int, keys: int, width: int, values: int = 0) -> list[Any]:
    rows = ((queries, width), (keys, width), (keys, values or width))
    return [draw(batch, *shape, seed=i) for i, shape in enumerate(rows)]


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
@pytest.mark.parametrize("width", [64, 128, 256])
def test_forward(dtype: str, width: int, hopper: None, order: None) -> None:
    check_forward(dtype, *operands(1, 200, 300 if width < 256 else 200, width))


BANDS: list[dict[str, Any]] = [
    {"is_causal": True}, {"window_size": (40, 9)}, {"window_size": (-1, 3)},
    {"window_size": (150, -1), "is_causal": True}, {"scale": 0.3},
]  # fmt: skip


@pytest.mark.parametrize("named", BANDS, ids=str)
@pytest.mark.parametrize("rows", [(300, 300), (130, 400), (400, 70)])
def test_bands(named: dict[str, Any], rows: tuple[int, int], hopper: None) -> None:
    check_forward("bfloat16", *operands(1, *rows, 64), **named)


@pytest.mark.parametrize("name", sorted(masks(4, 4)))
def test_masks(name: str, hopper: None) -> None:
    check_forward("bfloat16", *operands(2, 150, 300, 64), masks(150, 300)[name])


def test_blocks_without_any_key_are_skipped(hopper: None) -> None:
    mask = np.zeros((300, 500), bool)
    mask[:128, 130:140] = True  # one block of keys of the first task
    mask[256:, 499] = True  # the last key alone; the task between has none
    output, top, total = check_forward("float16", *operands(2, 300, 500, 64), mask)
    assert np.all(output[:, 128:256] == 0)
    assert np.all(top[:, 128:256] == -np.inf)
    assert np.all(total[:, 128:256] == 0)


@pytest.mark.parametrize("junk", [np.nan, np.inf])
def test_forbidden_keys_leave_no_trace(junk: float, hopper: None) -> None:
    q, k, v = draw(1, 70, 64), draw(1, 90, 64, seed=1), draw(1, 90, 64, seed=2)
    mask = np.random.default_rng(4).random((70, 90)) < 0.5
    mask[:, 66] = False
    k[:, 66, 1] = v[:, 66, 9] = junk
    output = check_forward("float16", q, k, v, mask)[0]
    assert np.isfinite(decode(output, "float16")).all()


@pytest.mark.parametrize("window", [None, (-1, 0), (9, 4)])
def test_packed_sequences(window: Any, hopper: None) -> None:
    starts = [np.array([0, 70, 70, 101, 150]), np.array([0, 70, 75, 140, 189])]
    q, k, v = draw(2, 150, 64), draw(2, 189, 64, seed=1), draw(2, 189, 64, seed=2)
    check_packed_forward("bfloat16", q, k, v, starts, window)


def test_grouped_heads_and_strides(hopper: None) -> None:
    q = draw(2, 70, 4, 64).transpose(0, 2, 1, 3)
    k, v = (draw(2, 90, 2, 64, seed=i).transpose(0, 2, 1, 3) for i in (1, 2))
    check_forward("float16", q, k, v, enable_gqa=True, is_causal=True)
    check_forward("float16", q, k, v, draw(2, 1, 70, 90, seed=3), enable_gqa=True)


@pytest.mark.parametrize(("width", "values"), [(40, 80), (72, 16), (136, 200)])
def test_widths_that_fill_no_panel(width: int, values: int, hopper: None) -> None:
    check_forward("float16", *operands(1, 90, 150, width, values))


def test_the_blocks_of_threads_do_not_change_a_bit(hopper: None) -> None:
    results = []
    for blocks in (1, 2, 7):
        host.use_hopper(blocks)
        results.append(check_forward("float16", *operands(3, 290, 140, 64), is_causal=True))
    for other in results[1:]:
        for a, b in zip(results[0], other, strict=True):
            np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
@pytest.mark.parametrize("width", [64, 128])
def test_gradients(dtype: str, width: int, hopper: None, order: None) -> None:
    """More steps than stages, of queries and of keys."""
    check_backward(dtype, *operands(1, 330, 330, width))


@pytest.mark.parametrize("named", BANDS, ids=str)
@pytest.mark.parametrize("rows", [(300, 300), (130, 400), (400, 70)])
def test_gradients_of_bands(named: dict[str, Any], rows: tuple[int, int], hopper: None) -> None:
    check_backward("bfloat16", *operands(1, *rows, 128), **named)


@pytest.mark.parametrize("name", ["random", "one for all", "lengths", "transposed"])
def test_gradients_under_masks(name: str, hopper: None) -> None:
    for width in (64, 128):
        check_backward("float16", *operands(2, 150, 300, width), masks(150, 300)[name])


def test_gradients_under_terms_that_need_none(hopper: None) -> None:
    """Whoever wants the mask's own gradient gets the portable kernels."""
    q, k, v = operands(2, 150, 300, 64)
    terms = masks(150, 300)["terms"]
    with pytest.raises(ValueError, match="don't take this"):
        check_backward("float16", q, k, v, terms)
    for width in (64, 128):
        check_backward("float16", *operands(2, 150, 300, width), terms, mask_gradient=False)


def test_gradients_of_grouped_heads(hopper: None) -> None:
    q = draw(2, 70, 6, 64).transpose(0, 2, 1, 3)
    k, v = (draw(2, 190, 2, 64, seed=i).transpose(0, 2, 1, 3) for i in (1, 2))
    check_backward("float16", q, k, v, enable_gqa=True)
    check_backward("float16", q, k, v, enable_gqa=True, is_causal=True)
    check_backward("bfloat16", q, k, v, masks(70, 190)["one for all"], enable_gqa=True)


@pytest.mark.parametrize("junk", [np.nan, np.inf])
@pytest.mark.parametrize("width", [64, 128])
def test_forbidden_keys_leave_no_trace_in_gradients(width: int, junk: float, hopper: None) -> None:
    q, k, v = operands(1, 70, 90, width)
    mask = np.random.default_rng(4).random((70, 90)) < 0.5
    mask[:, [7, 66]] = False
    k[:, 66, 1] = v[:, 7, 9] = junk
    for m in (mask, np.where(mask, 0.5, -np.inf)):
        got = check_backward("float16", q, k, v, m, mask_gradient=False)
        assert all(np.isfinite(x).all() for x in got)


@pytest.mark.parametrize("named", [{"is_causal": True}, {"window_size": (9, 4)}], ids=str)
def test_broken_keys_stay_within_the_band(named: dict[str, Any], hopper: None) -> None:
    q, k, v = operands(1, 150, 150, 64)
    k[:, 140:, 2], v[:, 141:, 3] = np.nan, np.inf
    output, dq, *_ = check_backward("bfloat16", q, k, v, **named)
    for x in (output, dq):
        assert np.isfinite(x[:, :136]).all()
        assert np.isnan(x[:, 140:]).any(axis=-1).all()


def test_broken_queries_and_gradients_reach_only_the_keys_they_see(hopper: None) -> None:
    """Grouped heads, too: a key's gradient is a sum over those who share it."""
    q, (k, v) = draw(1, 4, 130, 64), (draw(1, 2, 170, 64, seed=i) for i in (1, 2))
    grad = draw(1, 4, 130, 64, seed=9)
    mask = np.ones((130, 170), bool)
    mask[1] = np.arange(170) < 4
    q[0, 0, 1, 5] = np.nan
    grad[0, 3, 1, 0] = np.nan  # of an infinity, what differences are depends on their order
    _, _, dk, dv = check_backward("float16", q, k, v, mask, grad=grad, enable_gqa=True)
    for x in (dk, dv):
        assert np.isfinite(x[:, :, 4:]).all()
        assert not np.isfinite(x[:, :, :4]).all()


@pytest.mark.parametrize(("width", "values"), [(40, 80), (72, 16)])
def test_gradients_of_widths_that_fill_no_panel(width: int, values: int, hopper: None) -> None:
    check_backward("float16", *operands(1, 90, 150, width, values))


@pytest.mark.parametrize(
    ("dtype", "width", "named"),
    [
        ("float32", 64, {}), ("float16", 32, {}), ("float16", 66, {}),
        ("float16", 64, {"scale": -1.0}), ("float16", 64, {"dropout_p": 0.5}),
    ],
)  # fmt: skip
def test_what_the_kernel_leaves_to_the_portable_one(
    dtype: str, width: int, named: dict[str, Any], hopper: None
) -> None:
    with pytest.raises(ValueError, match="don't take this"):
        check_forward(dtype, *operands(1, 100, 100, width), **named)
