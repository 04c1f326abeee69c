"""What the records of tests/cases/conv.py cannot say: memory, layouts, fusion, crafted operands."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from oracle import reference_mode, threads

import pyfast as pf
from pyfast import _core

Array = np.ndarray[Any, Any]


def normal(*shape: int, seed: int = 0) -> Array:
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def channels_last(x: Array) -> Array:
    return np.ascontiguousarray(x.transpose(0, 2, 3, 1)).transpose(0, 3, 1, 2)


def test_no_patch_matrix_is_ever_formed() -> None:
    """The patches of this image are 924 MB; the scratch stays below 16 MiB."""
    x, w = normal(8, 64, 224, 224), normal(64, 64, 3, 3)
    with threads(1):
        _core.pool_clear()
        y = pf.ops.conv2d(x, w, None, 1, 1)
        held = _core.pool_statistics()
    scratch = held["cached_bytes"] + held["used_bytes"] - y.nbytes
    assert y.shape == x.shape
    assert scratch < 16 << 20


def test_channels_last_images_give_the_same_result() -> None:
    for stride, padding, kernel in [(1, 1, 3), (2, 3, 7), (1, 0, 1), (3, 2, 5)]:
        x, w = normal(2, 37, 19, 21), normal(40, 37, kernel, kernel)
        want = pf.ops.conv2d(x, w, None, stride, padding)
        np.testing.assert_array_equal(
            pf.ops.conv2d(channels_last(x), w, None, stride, padding), want
        )
    x, w = normal(9, 40, 123, 61), normal(40, 1, 3, 3)  # a plane a channel, in several passes
    for stride in (1, 2):
        want = pf.ops.conv2d(x, w, None, stride, 1, groups=40)
        got = pf.ops.conv2d(channels_last(x), w, None, stride, 1, groups=40)
        np.testing.assert_array_equal(got, want)


@pytest.mark.parametrize(
    ("channels", "size", "kernel", "stride"),
    [
        (64, 28, 3, 1),
        (256, 14, 3, 1),
        (128, 14, 3, 2),
        (512, 8, 1, 1),
        (512, 7, 3, 1),
        (256, 28, 1, 2),
    ],
)
def test_error_is_that_of_pytorch(channels: int, size: int, kernel: int, stride: int) -> None:
    """Against float64: sums are cut short enough."""
    x, w = normal(2, channels, size, size), normal(channels, channels, kernel, kernel, seed=1)
    x = np.maximum(x, 0)  # as behind a ReLU
    settings = (stride, kernel // 2)
    t, u = torch.from_numpy(x), torch.from_numpy(w)
    want = torch.conv2d(t.double(), u.double(), None, *settings).numpy()
    theirs = np.square(torch.conv2d(t, u, None, *settings).numpy() - want).mean() ** 0.5
    ours = np.square(pf.ops.conv2d(x, w, None, *settings) - want).mean() ** 0.5
    assert ours < 1.1 * theirs


# input, output channels, size, kernel, stride, padding, dilation, groups: every way that weights
# are packed for, and edges of its tiles.
PACKED = [
    (64, 64, (28, 28), 3, 1, 1, 1, 1), (37, 70, (13, 9), 3, 2, 1, 1, 1),
    (40, 33, (7, 7), 3, 1, 1, 1, 1), (48, 50, (6, 15), 3, 2, (0, 2), (1, 2), 1),
    (128, 64, (23, 23), 1, 1, 0, 1, 1), (100, 40, (9, 31), 1, 2, 0, 1, 1),
    (3, 24, (33, 40), 7, 2, 3, 1, 1), (32, 40, (16, 64), 1, 2, 0, 1, 1),
    (16, 64, (9, 9), 3, 3, 1, 1, 2), (8, 8, (9, 9), 3, 1, 1, 1, 8),
    (5, 6, (11, 12), 3, 1, "same", 2, 1),
    (6, 40, (5, 400), (1, 3), 1, 0, 1, 1), (64, 48, (141, 160), 1, 2, 0, 1, 1),
]  # fmt: skip


def packed_case(case: Any, dtype: Any = np.float32) -> tuple[Array, Array, Array, tuple[Any, ...]]:
    inputs, outputs, size, kernel, stride, padding, dilation, groups = case
    shape = kernel if isinstance(kernel, tuple) else (kernel, kernel)
    x, w = normal(3, inputs, *size), normal(outputs, inputs // groups, *shape, seed=1)
    arrays = (a.astype(dtype) for a in (x, w, normal(outputs, seed=2)))
    return *arrays, (stride, padding, dilation)


@pytest.mark.parametrize("case", PACKED, ids=str)
def test_packed_weights_change_no_bit(case: Any) -> None:
    for dtype in (np.float32, np.float64):
        x, w, b, settings = packed_case(case, dtype)
        packed = _core.PackedConvWeight(w, case[-1])
        for image in (x, x[:1], channels_last(x), x[0]):  # the same panels for any image
            want = _core.conv2d(image, w, b, *settings, case[-1], "relu")
            np.testing.assert_array_equal(
                _core.conv_packed(image, packed, b, *settings, "relu"), want
            )


@pytest.mark.parametrize("case", PACKED, ids=str)
def test_a_residual_is_added_before_the_activation(case: Any) -> None:
    x, w, b, settings = packed_case(case)
    packed = _core.PackedConvWeight(w, case[-1])
    linear = _core.conv2d(x, w, b, *settings, case[-1], None)
    residual = normal(*linear.shape, seed=3)
    for r in (residual, channels_last(residual)):
        got = _core.conv_packed(x, packed, b, *settings, "relu", r)
        if w.shape[0] // case[-1] > 2:  # kernels of smaller groups add nothing: another sums there
            np.testing.assert_array_equal(got, np.maximum(linear + residual, 0))
    with reference_mode():
        naive = _core.conv_packed(x, packed, b, *settings, "relu", residual)
    scale = abs(naive).max()
    np.testing.assert_allclose(got, naive, rtol=1e-4, atol=1e-5 * scale)


@pytest.mark.parametrize("case", PACKED[:3], ids=str)
def test_packed_weights_serve_any_thread_and_precision(case: Any) -> None:
    x, w, b, settings = packed_case(case)
    packed = _core.PackedConvWeight(w)
    for precision in ("highest", "high", "medium"):
        with pf.set_float32_matmul_precision(precision):
            want = _core.conv2d(x, w, b, *settings, 1, None)
            for count in (1, 2, 3):
                with threads(count):
                    got = _core.conv_packed(x, packed, b, *settings, None)
                np.testing.assert_array_equal(got, want)


def test_packed_weights_of_any_layout_and_rank() -> None:
    x, w = normal(2, 20, 30), normal(17, 20, 3, seed=1)
    packed = _core.PackedConvWeight(w)
    want = _core.conv1d(x, w, None, 2, 1, 1, 1, None)
    np.testing.assert_array_equal(_core.conv_packed(x, packed, None, 2, 1, 1, None), want)
    turned = np.asfortranarray(w)
    packed = _core.PackedConvWeight(turned)
    turned[...] = 0  # not C order: a copy was taken
    np.testing.assert_array_equal(_core.conv_packed(x, packed, None, 2, 1, 1, None), want)


def test_packed_weights_errors() -> None:
    x, w = normal(2, 4, 6, 6), normal(6, 4, 3, 3)
    with pytest.raises(ValueError, match="PackedConvWeight: weight must have 3 or 4 dimensions"):
        _core.PackedConvWeight(w[0, 0])
    with pytest.raises(TypeError, match="PackedConvWeight: weight must be a float32"):
        _core.PackedConvWeight(w.astype(np.int64))
    with pytest.raises(ValueError, match="groups must divide the weight's output channels, got 4"):
        _core.PackedConvWeight(w, 4)
    packed = _core.PackedConvWeight(w)
    with pytest.raises(TypeError, match="conv2d: weight must have the dtype of input"):
        _core.conv_packed(x.astype(np.float64), packed, None, 1, 1, 1, None)
    with pytest.raises(ValueError, match="conv2d: residual must have shape"):
        _core.conv_packed(x, packed, None, 1, 1, 1, None, x)
    with pytest.raises(TypeError, match="conv2d: residual"):
        _core.conv_packed(x, packed, None, 1, 1, 1, None, normal(2, 6, 6, 6).astype(np.float64))


@pytest.mark.parametrize("groups", [1, 8])
def test_fused_activation_is_the_composition(groups: int) -> None:
    x, w, b = normal(2, 8, 9, 9), normal(8, 8 // groups, 3, 3), normal(8)
    plain = pf.ops.conv2d(x, w, b, groups=groups)
    fused = pf.ops.conv2d(x, w, b, groups=groups, activation="relu")
    np.testing.assert_array_equal(fused, np.maximum(plain, 0))
    gelu = torch.nn.functional.gelu(torch.from_numpy(plain)).numpy()
    fused = pf.ops.conv2d(x, w, b, groups=groups, activation="gelu")
    np.testing.assert_allclose(fused, gelu, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_what_is_not_finite_stays_where_the_kernel_meets_it(value: float) -> None:
    x, w = normal(1, 64, 28, 28), normal(64, 64, 3, 3)
    x[0, 5, 10, 11] = value
    met = np.zeros((28, 28), bool)
    met[9:12, 10:13] = True
    finite = np.isfinite(pf.ops.conv2d(x, w, padding=1))
    np.testing.assert_array_equal(finite, np.broadcast_to(~met, finite.shape))


@pytest.mark.parametrize("groups", [1, 32])
@pytest.mark.parametrize("kernel", [1, 3])
@pytest.mark.parametrize("stride", [1, 2])
def test_a_batch_of_no_images(groups: int, kernel: int, stride: int) -> None:
    x, w = normal(0, 32, 8, 8), normal(32, 32 // groups, kernel, kernel)
    for image in (x, channels_last(x)):
        ours = pf.Tensor(image, requires_grad=True), pf.Tensor(w, requires_grad=True)
        y = pf.ops.conv2d(*ours, None, stride, groups=groups)
        assert (
            y.shape == F.conv2d(*map(torch.from_numpy, (x, w)), None, stride, groups=groups).shape
        )
        y.backward(np.ones(y.shape, np.float32))
        assert ours[0].grad.shape == x.shape
        assert not ours[1].grad.numpy().any()
        packed = _core.PackedConvWeight(w, groups)
        assert _core.conv_packed(image, packed, None, stride, 0, 1, None).shape == y.shape
        turned = pf.ops.conv_transpose2d(image, w, None, stride, groups=groups)
        assert turned.shape[0] == 0


def test_without_channels_the_bias_is_left() -> None:
    x, w, b = np.zeros((2, 0, 4, 4)), np.zeros((3, 0, 3, 3)), np.arange(3.0)
    want = np.broadcast_to(b[:, None, None], (2, 3, 2, 2))
    np.testing.assert_array_equal(pf.ops.conv2d(x, w, b), want)


def test_far_dilation_costs_nothing() -> None:
    """The padded signal would have four billion elements."""
    x, w = normal(1, 2, 10), normal(2, 1, 3)
    y = pf.ops.conv1d(x, w, None, 1, 10**9, 10**9, 2)
    np.testing.assert_allclose(y, x * w[:, :, 1], rtol=1e-6)


def test_far_stride_costs_nothing() -> None:
    """A hundred million phases, of which one meets the kernel."""
    y = pf.ops.conv_transpose1d(np.ones((1, 1, 2)), np.ones((1, 1, 1)), None, 10**7)
    assert y.shape == (1, 1, 10**7 + 1)
    assert np.flatnonzero(y).tolist() == [0, 10**7]


@pytest.mark.parametrize("naive", [False, True])
def test_backward_checks_its_operands(naive: bool) -> None:
    x, w, g = normal(1, 2, 5, 5), normal(3, 2, 3, 3), normal(1, 3, 3, 3)
    settings = ((True, True, True), 1, 0, 1, 1)

    def backward(grad: Array, saved: Any, activation: Any) -> Any:
        return _core.conv2d_backward(grad, x, w, saved, *settings, activation)

    for grad, saved, activation, error, match in [
        (g[:, :2], None, None, ValueError, "grad must have shape"),
        (g.astype(float), None, None, TypeError, "grad must have the dtype of input"),
        (g, None, "relu", TypeError, "saved must be given"),
        (g, g[:, :, 1:], "relu", ValueError, "saved must have shape"),
    ]:
        if naive:
            with reference_mode(), pytest.raises(error, match=match):
                backward(grad, saved, activation)
        else:
            with pytest.raises(error, match=match):
                backward(grad, saved, activation)


def test_only_wanted_gradients_are_computed() -> None:
    x, w = pf.Tensor(normal(1, 2, 5, 5)), pf.Tensor(normal(3, 2, 3, 3), requires_grad=True)
    b = pf.Tensor(normal(3), requires_grad=True)
    pf.ops.conv2d(x, w, b).sum().backward()
    assert x.grad is None
    assert w.grad.shape == (3, 2, 3, 3)
    np.testing.assert_allclose(b.grad.numpy(), 9.0)


def test_weight_gradient_keeps_its_accuracy_over_many_samples() -> None:
    """Float32 sums over 400,000 products, against float64."""
    x, g = normal(64, 2, 80, 80), normal(64, 2, 78, 78, seed=1)
    w = normal(2, 1, 3, 3)
    got = _core.conv2d_backward(g, x, w, None, (False, True, True), 1, 0, 1, 2, None)
    want = _core.conv2d_backward(
        *(a.astype(float) for a in (g, x, w)), None, (False, True, True), 1, 0, 1, 2, None
    )
    scale = np.sqrt(64 * 78 * 78)
    for a, b in zip(got[1:], want[1:], strict=True):
        assert np.abs(a - b).max() < 5e-6 * scale


def gradients(x: Array, w: Array, g: Array, *settings: int, groups: int = 1) -> list[Array]:
    """Of x and w; settings: stride, padding, dilation."""
    return _core.conv2d_backward(g, x, w, None, (True, True, False), *settings, groups, None)[:2]


def torch_gradients(
    x: Array, w: Array, g: Array, *settings: int, groups: int = 1, double: bool = False
) -> list[Array]:
    operands = [torch.from_numpy(a.astype(float) if double else a) for a in (g, x, w)]
    pairs = [(s, s) for s in settings]
    got = torch.ops.aten.convolution_backward(
        *operands, None, *pairs, False, (0, 0), groups, (True, True, False)
    )
    return [a.numpy() for a in got[:2]]


# Channels, size, filters, kernel, stride, padding, dilation, groups: wide enough for the tiles'
# weight gradient (the first six), and every way of the depthwise kernels.
LAYERS = [
    (64, 40, 64, 3, 1, 1, 1, 1),
    (40, 40, 72, 3, 1, 2, 2, 1),
    (64, 38, 100, 1, 1, 0, 1, 1),
    (32, 90, 32, 3, 2, 1, 1, 1),
    (32, 48, 48, 5, 1, 0, 1, 1),
    (64, 56, 128, 3, 1, 1, 1, 2),
    (3, 64, 56, 7, 2, 3, 1, 1),
    (20, 7, 20, 3, 1, 1, 1, 20),
    (17, 14, 17, 5, 1, 2, 1, 17),
    (32, 70, 32, 3, 1, 1, 1, 32),
    (17, 57, 17, 3, 2, 1, 1, 17),
    (5, 56, 5, 3, 2, 1, 1, 5),
    (3, 50, 3, 5, 3, 2, 2, 3),
    (16, 28, 16, 3, 1, 1, 1, 4),
]


def layer(channels: int, size: int, filters: int, kernel: int, *rest: int) -> tuple[Array, ...]:
    """Non-negative operands, as behind a ReLU: input, weight, the output's gradient."""
    groups = rest[-1]
    x = np.abs(normal(3, channels, size, size + 1))
    w = normal(filters, channels // groups, kernel, kernel, seed=1)
    y = pf.ops.conv2d(x, w, None, *rest)
    return x, w, np.abs(normal(*y.shape, seed=2))


@pytest.mark.skipif(_core.isa() == "scalar", reason="the scalar baseline has no FMA, PyTorch has")
@pytest.mark.parametrize("shape", [*LAYERS, (3, 70, 3, 3, 1, 1, 1, 3)])
def test_gradients_err_no_more_than_pytorch(shape: tuple[int, ...]) -> None:
    x, w, g = layer(*shape)
    settings, groups = shape[4:7], shape[7]
    got = gradients(x, w, g, *settings, groups=groups)
    theirs = torch_gradients(x, w, g, *settings, groups=groups)
    want = torch_gradients(x, w, g, *settings, groups=groups, double=True)
    for a, b, c in zip(got, theirs, want, strict=True):
        error, other = (np.square(v - c).mean() ** 0.5 for v in (a, b))
        assert error <= 1.1 * other


def unlike(kind: str, x: Array, g: Array) -> tuple[Array, Array]:
    """Operands of a weight's gradient, from normal ones."""
    r = np.random.default_rng(5)
    if kind == "relu":
        x = np.maximum(x, 0)
    if kind == "sparse":
        g = g * (r.random(g.shape) < 0.05)
    if kind == "heavy tails":
        g = r.standard_t(3, g.shape).astype(np.float32)
    if kind == "outlier":
        g[0, 3, 2, 1] = 1e4
    if kind == "tiny and huge":
        x = x * np.float32(1e-20) * (2.0 ** np.arange(-9, 9).repeat(8)[: x.shape[1], None, None])
        g = g * np.float32(1e18)
    return x.astype(np.float32), g.astype(np.float32)


# Channels, size, filters, kernel, stride: the tiles' digits, six, seven and eight products of them.
TILED = [(64, 40, 64, 3, 1), (48, 28, 72, 3, 1), (64, 38, 64, 3, 2), (64, 38, 100, 1, 1)]
SHORT = (64, 20, 64, 1, 1)


@pytest.mark.skipif(_core.isa() == "scalar", reason="the scalar baseline has no FMA, PyTorch has")
@pytest.mark.parametrize(
    "kind", ["normal", "relu", "sparse", "heavy tails", "outlier", "tiny and huge"]
)
@pytest.mark.parametrize("shape", [*TILED, SHORT])
def test_weight_gradient_errs_no_more_than_pytorch(shape: tuple[int, ...], kind: str) -> None:
    channels, size, filters, kernel, stride = shape
    w = normal(filters, channels, kernel, kernel, seed=1)
    settings = (stride, kernel // 2, 1)
    x = normal(3, channels, size, size)
    x, g = unlike(kind, x, normal(*pf.ops.conv2d(x, w, None, *settings).shape, seed=2))
    got = gradients(x, w, g, *settings)[1]
    theirs = torch_gradients(x, w, g, *settings)[1]
    want = torch_gradients(x, w, g, *settings, double=True)[1]
    error, other = (np.square(v - want).mean() ** 0.5 for v in (got, theirs))
    assert error <= 1.1 * other


def test_weight_gradient_of_small_integers_is_exact() -> None:
    r = np.random.default_rng(6)
    x = r.integers(-30, 31, (2, 48, 30, 30)).astype(np.float32)
    g = r.integers(-40, 41, (2, 48, 30, 30)).astype(np.float32)
    w = np.zeros((48, 48, 3, 3), np.float32)
    want = torch_gradients(x, w, g, 1, 1, 1, double=True)[1]
    np.testing.assert_array_equal(gradients(x, w, g, 1, 1, 1)[1], want)


@pytest.mark.parametrize("shape", LAYERS)
def test_gradients_do_not_depend_on_threads(shape: tuple[int, ...]) -> None:
    x, w, g = layer(*shape)
    results = []
    for count in (1, 3):
        with threads(count):
            results.append(gradients(x, w, g, *shape[4:7], groups=shape[7]))
    for a, b in zip(*results, strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("value", [np.nan, np.inf, 1e30])
@pytest.mark.parametrize("shape", LAYERS)
def test_gradients_where_an_operand_is_not_tame(shape: tuple[int, ...], value: float) -> None:
    """An infinity at the end of a row meets no tap of the next row, nor padding's zeros."""
    x, w, g = layer(*shape)
    settings, groups = shape[4:7], shape[7]
    x[1, 2, 3, -1] = value
    g[0, 1, 2, 0] = value
    got = gradients(x, w, g, *settings, groups=groups)
    want = torch_gradients(x, w, g, *settings, groups=groups, double=True)
    for a, b in zip(got, want, strict=True):
        np.testing.assert_array_equal(np.isnan(a), np.isnan(b))
        finite = np.isfinite(b)
        np.testing.assert_allclose(a[finite], b[finite], rtol=1e-4, atol=1e-3)


def test_depthwise_infinity_stays_where_the_kernel_meets_it() -> None:
    x, w = normal(1, 3, 7, 7), normal(3, 1, 3, 3)
    x[0, 1, 3, 6] = np.inf
    met = np.zeros((1, 3, 7, 7), bool)
    met[0, 1, 2:5, 5:] = True
    np.testing.assert_array_equal(
        np.isfinite(pf.ops.conv2d(x, w, padding=1, groups=3, activation="relu")),
        np.isfinite(np.maximum(pf.ops.conv2d(x, w, padding=1, groups=3), 0)),
    )
    np.testing.assert_array_equal(np.isfinite(pf.ops.conv2d(x, w, padding=1, groups=3)), ~met)


@pytest.mark.parametrize("stride", [3, 4, (2, 5)])
@pytest.mark.parametrize("padding", [0, 1])
def test_a_single_column_of_outputs_under_a_long_stride(stride: Any, padding: int) -> None:
    x, w = normal(3, 30, 29, 3), normal(21, 30, 2, 2)
    got = pf.ops.conv2d(x, w, None, stride, padding)
    want = F.conv2d(torch.from_numpy(x), torch.from_numpy(w), None, stride, padding)
    np.testing.assert_allclose(got, want.numpy(), rtol=1e-4, atol=1e-4)


def test_points_that_no_window_meets() -> None:
    """An image shorter than the stride, whose every output reads padding: no gradient, no junk."""
    for channels, stride in ((8, (2, 1)), (38, (2, 1)), (8, (1, 2)), (8, (3, 3))):
        shape = (2, channels, 1, 9) if stride[0] > 1 else (2, channels, 9, 1)
        x, w = normal(*shape), normal(6, channels, 1, 1)
        t = pf.Tensor(x, requires_grad=True)
        y = pf.ops.conv2d(t, w, None, stride, 1)
        y.backward(np.ones(y.shape, np.float32))
        theirs = torch.from_numpy(x).requires_grad_()
        F.conv2d(theirs, torch.from_numpy(w), None, stride, 1).sum().backward()
        np.testing.assert_allclose(t.grad.numpy(), theirs.grad.numpy(), rtol=1e-4, atol=1e-4)
    x, w, bias = normal(2, 4, 2, 5), normal(4, 3, 1, 1), normal(3)
    got = pf.ops.conv_transpose2d(x, w, bias, (2, 1), (1, 0))
    want = F.conv_transpose2d(*map(torch.from_numpy, (x, w, bias)), (2, 1), (1, 0))
    np.testing.assert_allclose(got, want.numpy(), rtol=1e-5, atol=1e-5)


def random_case(rng: np.random.Generator) -> tuple[Array, Array, tuple[Any, ...]]:
    """Sizes that reach every way a convolution is computed; few of them are round."""
    if rng.random() < 0.25:  # depthwise
        groups, inputs, outputs = int(rng.integers(1, 50)), 1, int(rng.integers(1, 3))
    else:
        groups = int(rng.choice([1, 1, 2, 4]))
        inputs, outputs = map(int, rng.integers(1, 40, 2))
    kernel, stride, padding = rng.integers(1, 4, 2), rng.integers(1, 5, 2), rng.integers(0, 3, 2)
    size = np.maximum(rng.integers(1, 40, 2), kernel - 2 * padding)
    x = rng.standard_normal((int(rng.integers(1, 5)), groups * inputs, *size))
    w = rng.standard_normal((groups * outputs, inputs, *kernel))
    return x, w, (tuple(stride.tolist()), tuple(padding.tolist()), 1, groups)


@pytest.mark.parametrize("seed", range(4))
def test_random_convolutions_agree_with_torch(seed: int) -> None:
    rng = np.random.default_rng(seed)
    for i in range(60):
        exact_x, exact_w, settings = random_case(rng)
        x, w = exact_x.astype(np.float32), exact_w.astype(np.float32)
        image = channels_last(x) if i % 2 else x
        ours = pf.Tensor(image, requires_grad=True), pf.Tensor(w, requires_grad=True)
        theirs = [torch.from_numpy(a.astype(np.float64)).requires_grad_() for a in (x, w)]
        y, z = pf.ops.conv2d(*ours, None, *settings), F.conv2d(*theirs, None, *settings)
        grad = rng.standard_normal(y.shape).astype(np.float32)
        y.backward(grad)
        z.backward(torch.from_numpy(grad.astype(np.float64)))
        wanted = (z.detach(), theirs[0].grad, theirs[1].grad)
        for got, want in zip((y, ours[0].grad, ours[1].grad), wanted, strict=True):
            limit = 3e-6 * float(want.abs().max())
            np.testing.assert_allclose(
                got.numpy(),
                want.numpy(),
                rtol=0,
                atol=limit,
                err_msg=str((x.shape, w.shape, settings)),
            )
