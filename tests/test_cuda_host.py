"""What CUDA kernels compute, run on the CPU: the very functions, compiled for the host as well."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import pyfast as pf

host = pytest.importorskip("pyfast._cuda", reason="built without CUDA").host


def windows(n: int, kernel: int, stride: int, padding: int, dilation: int, out: int) -> Any:
    taps = [o * stride - padding + k * dilation for o in range(out) for k in range(kernel)]
    return [[i for i in taps[o * kernel : (o + 1) * kernel] if 0 <= i < n] for o in range(out)]


def test_pool_windows_are_those_of_the_definition() -> None:
    seen = 0
    for n in (1, 2, 5, 8, 13):
        for kernel in (1, 2, 3, 5):
            for stride in (1, 2, 3):
                for padding in range(kernel // 2 + 1):
                    for dilation in (1, 2):
                        for ceil in (0, 1):
                            window = (kernel, stride, padding, dilation, ceil)
                            try:
                                taps, holders = host.pool_windows(n, 0, window)
                            except ValueError:
                                continue
                            assert taps == windows(n, *window[:4], len(taps)), window
                            inverse: list[list[int]] = [[] for _ in range(n)]
                            for o, inside in enumerate(taps):
                                for i in inside:
                                    inverse[i].append(o)
                            assert holders == inverse, window
                            seen += 1
    assert seen > 200


@pytest.mark.parametrize("n", [1, 2, 5, 7, 12])
@pytest.mark.parametrize("out", [1, 2, 3, 5, 9])
def test_adaptive_windows_are_those_of_the_definition(n: int, out: int) -> None:
    taps, holders = host.pool_windows(n, out, None)
    want = [list(range(o * n // out, -(-(o + 1) * n // out))) for o in range(out)]
    assert taps == want
    assert holders == [[o for o in range(out) if i in want[o]] for i in range(n)]


@pytest.mark.parametrize("span", [1, 3, 16])
@pytest.mark.parametrize("p", [0.0, 0.1, 0.5, 1.0])
def test_dropout_masks_are_the_cpus_bit_for_bit(span: int, p: float) -> None:
    seed, offset = 0x123456789ABCDEF0, 2**33 + 5
    x = np.ones(48, np.float32)
    y = pf._core.dropout("dropout", x, p, seed, offset, span, False)
    assert host.dropout_mask(p, seed, offset, span, x.size, False) == (y != 0).tolist()
    if span == 1:
        assert host.dropout_mask(p, seed, offset, span, x.size, True) == (y != 0).tolist()


@pytest.mark.parametrize("piece", [1, 3, 8, 100])
def test_moments_of_pieces_are_those_of_the_whole(piece: int) -> None:
    # far from zero: a sum of squares would have lost the variance altogether
    x = (np.random.default_rng(1).standard_normal(100) + 1e4).astype(np.float32)
    for packs in (False, True):
        n, mean, m2 = host.moments(x.tolist(), piece, packs)
        assert n == x.size
        assert mean == pytest.approx(x.astype(np.float64).mean(), rel=1e-6)
        assert m2 / n == pytest.approx(x.astype(np.float64).var(), rel=2e-3)


@pytest.mark.parametrize("piece", [1, 2, 7, 64])
def test_online_softmax(piece: int) -> None:
    x = (np.random.default_rng(2).standard_normal(64) * 30).astype(np.float32)
    top, total = host.online_softmax(x.tolist(), piece)
    assert top == x.max()
    wide = x.astype(np.float64)
    assert total == pytest.approx(np.exp(wide - wide.max()).sum(), rel=1e-5)


def test_online_softmax_of_infinities_and_nan() -> None:
    inf, nan = float("inf"), float("nan")
    for piece in (1, 2, 3, 8):
        assert host.online_softmax([-inf, -inf, -inf], piece) == (-inf, 0.0)
        top, total = host.online_softmax([-inf, 1.0, -inf, 1.0], piece)
        assert (top, total) == (1.0, 2.0)
        for values in ([1.0, nan, 2.0], [nan, 1.0], [1.0, 2.0, nan], [-inf, nan, -inf]):
            assert np.isnan(host.online_softmax(values, piece)).any(), (values, piece)


SETTINGS = {
    "leaky_relu": (0.2,), "elu": (0.7,), "celu": (1.3,), "softplus": (1.5, 20.0),
    "hardtanh": (-0.5, 2.0), "hardshrink": (0.5,), "softshrink": (0.5,), "threshold": (0.3, -2.0),
}  # fmt: skip
NAMES = [
    "relu", "relu6", "sigmoid", "tanh", "gelu", "gelu_tanh", "silu", "mish", "hardswish",
    "hardsigmoid", "leaky_relu", "elu", "selu", "celu", "softplus", "logsigmoid", "softsign",
    "hardtanh", "hardshrink", "softshrink", "tanhshrink", "threshold",
]  # fmt: skip
OF_OUTPUT = {"relu", "relu6", "sigmoid", "tanh"}


@pytest.mark.parametrize("name", NAMES)
def test_activations_agree_with_the_reference(name: str) -> None:
    settings = SETTINGS.get(name, ())
    ab = (*settings, 0.0, 0.0)[:2]
    x = np.concatenate([np.linspace(-12, 12, 97), [-0.0, 0.5, 3.0, -3.0, 6.0, 30.0, -80.0]])
    x = x.astype(np.float32)
    wide = x.astype(np.float64)
    want = getattr(pf._core, name)(wide, *settings)
    got = np.array(host.unary(name, *ab, x.tolist()))
    np.testing.assert_allclose(got, want, rtol=3e-6, atol=3e-7)
    saved = want if name in OF_OUTPUT else wide
    grad = np.random.default_rng(3).standard_normal(x.size)
    want = getattr(pf._core, name + "_backward")(grad, saved, *settings)
    got = np.array(host.unary_backward(name, *ab, grad.tolist(), saved.tolist()))
    np.testing.assert_allclose(got, want, rtol=1e-5, atol=2e-6)


LOSSES = [("mse", 0.0), ("l1", 0.0), ("smooth_l1", 0.7), ("smooth_l1", 0.0), ("huber", 1.3),
          ("bce", 0.0), ("bce_logits", 0.0), ("kl", 0.0), ("kl_log", 0.0)]  # fmt: skip


@pytest.mark.parametrize(("loss", "scale"), LOSSES)
def test_losses_agree_with_the_reference(loss: str, scale: float) -> None:
    random = np.random.default_rng(6)
    x, t = (random.random((2, 400)) * (1 if loss == "bce" else 6)).astype(np.float32)
    x[:6], t[:6] = [0, 1, 0, 1, 0.5, 0.5], [0, 1, 1, 0, 0.5, 0]
    if loss in ("bce_logits", "kl_log", "huber"):
        x *= np.where(random.random(x.size) < 0.5, -1, 1).astype(np.float32)
    pos = random.random(x.size).astype(np.float32) + 0.5
    value, of_input, of_target = host.pointwise(loss, scale, x, t, pos)
    wide = [a.astype(np.float64) for a in (x, t)]
    operands = (*wide, None, pos.astype(np.float64) if loss == "bce_logits" else None)
    want = pf._core.pointwise_loss(loss, loss, scale, "none", *operands)
    np.testing.assert_allclose(value, want, rtol=2e-6, atol=1e-6)
    wants = pf._core.pointwise_loss_backward(
        loss, loss, scale, "none", np.ones_like(wide[0]), *operands, True
    )
    # relative to the largest: bce's slope at 0 and 1 is some 1e12
    for got, expected in zip((of_input, of_target), wants, strict=True):
        finite = np.isfinite(expected)
        np.testing.assert_array_equal(got[~finite], expected[~finite])
        np.testing.assert_allclose(got[finite], expected[finite], rtol=3e-6, atol=2e-6)


def test_losses_keep_nan() -> None:
    nan = np.full(1, np.nan, np.float32)
    half = np.full(1, 0.5, np.float32)
    for loss, scale in LOSSES:
        for x, t in ((nan, half), (half, nan)):
            assert np.isnan(host.pointwise(loss, scale, x, t, half)[0]).all(), loss
    outside = np.array([-0.25, 1.5], np.float32)
    assert np.isnan(host.pointwise("bce", 0, outside, outside, outside)[0]).all()


PADS = [
    ((3, 4), (1, 2)), ((3, 4), (1, 2, 2, 1)), ((2, 3, 4), (0, 0, 1, 1)), ((2, 3, 5), (2, 1)),
    ((2, 3, 5), (-1, 3)), ((2, 3, 4, 5), (2, 1, -1, 2)), ((2, 3, 4, 5), (3, 3, 2, 2)),
    ((2, 1, 3, 4, 5), (1, 1, 2, 0, -1, 1)), ((6,), (-2, -1)), ((2, 3, 4), (-1, -1, 0, 0)),
]  # fmt: skip


@pytest.mark.parametrize("mode", ["constant", "reflect", "replicate", "circular"])
def test_padding_is_the_cpus(mode: str) -> None:
    seen = 0
    for shape, amounts in PADS:
        x = np.random.default_rng(7).integers(-9, 9, shape).astype(np.float32)
        value = 2.5 if mode == "constant" else 0.0
        try:
            want = pf._core.pad(x, amounts, mode, value)
        except ValueError:
            continue
        seen += 1
        np.testing.assert_array_equal(host.pad(x, amounts, mode, value), want)
        grad = np.random.default_rng(8).integers(-9, 9, want.shape).astype(np.float32)
        want = pf._core.pad_backward(grad, shape, amounts, mode)
        np.testing.assert_array_equal(host.pad_backward(grad, shape, amounts, mode), want)
    assert seen >= 6


UNFOLDS = [  # image, kernel, dilation, padding, stride
    ((2, 3, 5, 6), (2, 3), 1, 0, 1), ((1, 2, 7, 5), 3, (1, 2), (1, 2), (2, 1)),
    ((3, 4, 4), 2, 1, 1, 3), ((2, 1, 9, 8), (1, 4), (3, 2), (0, 3), (2, 3)),
]  # fmt: skip


@pytest.mark.parametrize(("shape", "kernel", "dilation", "padding", "stride"), UNFOLDS)
def test_unfold_and_fold_are_the_cpus(
    shape: Any, kernel: Any, dilation: Any, padding: Any, stride: Any
) -> None:
    settings = (kernel, dilation, padding, stride)
    x = np.random.default_rng(9).integers(-9, 9, shape).astype(np.float32)
    columns = pf._core.unfold(x, *settings)
    np.testing.assert_array_equal(host.unfold(x, settings), columns)
    columns = np.random.default_rng(9).integers(-9, 9, columns.shape).astype(np.float32)
    want = pf._core.fold(columns, shape[-2:], *settings)
    np.testing.assert_array_equal(host.fold(columns, shape[-2:], settings), want)


@pytest.mark.parametrize(
    ("status", "cause", "remedy"),
    [
        (2, "memory ended", "smaller batches"),
        (35, "driver", "NVIDIA's driver"),
        (100, "no CUDA device was found", "nvidia-smi"),
        (101, "device does not exist", ""),
        (209, "no code for this GPU, only for sm", "PYFAST_CUDA_ARCHITECTURES"),
        (1, "cudaErrorInvalidValue", "CUDA_LAUNCH_BLOCKING=1"),
        (9, "more blocks of threads than one launch takes", "split the batch"),
        (700, "illegal memory access", "restart it with CUDA_LAUNCH_BLOCKING=1"),
    ],
)
def test_errors_say_what_and_how_to_mend_it(status: int, cause: str, remedy: str) -> None:
    text = host.describe(status)
    assert cause in text
    assert remedy in text
    assert "\n" not in text


@pytest.mark.parametrize("norm_type", [2.0, 1.0, 3.5, 0.0, np.inf, -np.inf])
def test_rows_of_a_table_are_scaled_down_once(norm_type: float) -> None:
    random = np.random.default_rng(3)
    table = random.standard_normal((9, 37)).astype(np.float32)
    table[2] *= 1e25  # whose squares float32 does not hold
    table[7, 5] = np.nan
    picked = np.array([4, 2, 4, 7, 0, 4, 12, -1])
    want, limit = table.astype(np.float64), 1.5
    rows = np.array([0, 2, 4, 7])
    norms = np.linalg.norm(want[rows], norm_type, axis=1)
    want[rows] *= np.where(norms > limit, limit / (norms + 1e-7), 1)[:, None]
    got = table.copy()
    host.embedding_renorm(got, picked, np.argsort(picked, kind="stable"), norm_type, limit)
    np.testing.assert_allclose(got, want, rtol=1e-6)
    assert norm_type in (0.0, -np.inf) or not np.array_equal(got[rows], table[rows])
