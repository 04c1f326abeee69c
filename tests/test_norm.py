"""What tests/test_ops.py cannot see: running statistics, precision, hostile backward calls."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

import pyfast as pf
from pyfast import _core

F = torch.nn.functional
Array = np.ndarray[Any, Any]


def normal(*shape: int, seed: int = 0) -> Array:
    return np.random.default_rng(seed).standard_normal(shape)


def normalized(x: Array, axes: tuple[int, ...], eps: float) -> Array:
    wide = x.astype(np.longdouble)
    mean, var = wide.mean(axes, keepdims=True), wide.var(axes, keepdims=True)
    return np.asarray((wide - mean) / np.sqrt(var + eps), float)


@pytest.fixture(params=["fast", "reference"])
def path(request: Any) -> Any:
    _core.use_reference(request.param == "reference")
    yield request.param
    _core.use_reference(False)


@pytest.mark.usefixtures("path")
@pytest.mark.parametrize("op", ["batch_norm", "instance_norm"])
@pytest.mark.parametrize("momentum", [0.0, 0.1, 1.0])
@pytest.mark.parametrize(
    ("dtype", "rtol"), [(np.float32, 1e-6), (np.float64, 1e-12)], ids=["float32", "float64"]
)
def test_running_statistics_follow_torch(op: str, momentum: float, dtype: Any, rtol: float) -> None:
    mean, var = np.zeros(5, dtype), np.ones(5, dtype)
    torch_mean, torch_var = torch.from_numpy(mean.copy()), torch.from_numpy(var.copy())
    for step, shape in enumerate([(4, 5, 6), (3, 5, 2, 7), (2, 5, 3)]):
        x = (normal(*shape, seed=step) + 3).astype(dtype)
        getattr(pf.ops, op)(x, mean, var, None, None, True, momentum)
        getattr(F, op)(torch.from_numpy(x), torch_mean, torch_var, None, None, True, momentum)
    np.testing.assert_allclose(mean, torch_mean.numpy(), rtol=rtol)
    np.testing.assert_allclose(var, torch_var.numpy(), rtol=rtol)


@pytest.mark.usefixtures("path")
def test_running_statistics_in_every_kind_and_stride() -> None:
    x = normal(6, 3, 4)
    expected = 0.9 * np.zeros(3) + 0.1 * x.mean((0, 2))
    strided = np.zeros(9)[::-3]
    pf.ops.batch_norm(x, strided, np.ones(3), training=True)
    np.testing.assert_allclose(strided, expected)
    tensor, tensor_var = pf.Tensor(np.zeros(3)), pf.Tensor(np.ones(3))
    pf.ops.batch_norm(pf.Tensor(x, requires_grad=True), tensor, tensor_var, training=True)
    np.testing.assert_allclose(tensor.numpy(), expected)
    on_torch = torch.zeros(3, dtype=torch.float64)
    pf.ops.batch_norm(torch.from_numpy(x), on_torch, torch.ones_like(on_torch), training=True)
    np.testing.assert_allclose(on_torch.numpy(), expected)


def test_a_refused_call_writes_nothing() -> None:
    x, mean, var = normal(4, 3), np.zeros(3), np.ones(3)
    with pytest.raises(ValueError, match="bias must have shape"):
        pf.ops.batch_norm(x, mean, var, None, np.zeros(2), True)
    np.testing.assert_array_equal(mean, 0)
    np.testing.assert_array_equal(var, 1)


@pytest.mark.usefixtures("path")
@pytest.mark.parametrize("op", ["batch_norm", "instance_norm"])
def test_an_empty_batch_leaves_running_statistics_alone(op: str) -> None:
    mean, var = np.zeros(3), np.ones(3)
    y = getattr(pf.ops, op)(np.zeros((0, 3, 4)), mean, var, None, None, True)
    assert y.shape == (0, 3, 4)
    np.testing.assert_array_equal(mean, 0)
    np.testing.assert_array_equal(var, 1)


@pytest.mark.usefixtures("path")
@pytest.mark.parametrize("shape", [(0, 4, 3), (2, 4, 0), (2, 0, 3)])
def test_empty_inputs_have_zero_weight_gradients(shape: tuple[int, ...]) -> None:
    for f in (
        lambda x, w, b: pf.ops.group_norm(x, 2, w, b),
        lambda x, w, b: pf.ops.instance_norm(x, None, None, w, b),
        lambda x, w, b: pf.ops.batch_norm(x, None, None, w, b, True),
    ):
        x = pf.Tensor(np.zeros(shape), requires_grad=True)
        w = pf.Tensor(np.ones(shape[1]), requires_grad=True)
        b = pf.Tensor(np.ones(shape[1]), requires_grad=True)
        f(x, w, b).backward(np.zeros(shape))
        assert x.grad.shape == shape
        np.testing.assert_array_equal(w.grad.numpy(), np.zeros(shape[1]))
        np.testing.assert_array_equal(b.grad.numpy(), np.zeros(shape[1]))


CASES = {
    "batch_norm planes": (lambda x: pf.ops.batch_norm(x, None, None, training=True, eps=1e-12),
                          (8, 6, 30, 31), (0, 2, 3)),
    "batch_norm long planes": (
        lambda x: pf.ops.batch_norm(x, None, None, training=True, eps=1e-12), (2, 2, 40000), (0, 2)
    ),
    "batch_norm columns": (lambda x: pf.ops.batch_norm(x, None, None, training=True, eps=1e-12),
                           (3000, 70), (0,)),
    "batch_norm channels-last": (
        lambda x: pf.ops.batch_norm(
            np.moveaxis(np.ascontiguousarray(np.moveaxis(x, 1, -1)), -1, 1), None, None,
            training=True, eps=1e-12,
        ), (8, 6, 30, 31), (0, 2, 3),
    ),
    "instance_norm": (lambda x: pf.ops.instance_norm(x, eps=1e-12), (3, 4, 50, 51), (2, 3)),
    "group_norm": (lambda x: pf.ops.group_norm(x, 1, eps=1e-12), (3, 4, 50, 51), (1, 2, 3)),
    "layer_norm": (lambda x: pf.ops.layer_norm(x, 1000, eps=1e-12), (40, 1000), (1,)),
    "layer_norm long": (lambda x: pf.ops.layer_norm(x, 100000, eps=1e-12), (2, 100000), (1,)),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize(("mean", "spread"), [(1e4, 1e-2), (-3e5, 1.0), (0.0, 1e-6), (2e25, 3e24)])
def test_float32_statistics_are_as_good_as_float64(name: str, mean: float, spread: float) -> None:
    f, shape, axes = CASES[name]
    x = (mean + spread * normal(*shape)).astype(np.float32)
    np.testing.assert_allclose(f(x), normalized(x, axes, 1e-12), rtol=2e-6, atol=2e-6)


def test_running_statistics_are_exact_to_rounding() -> None:
    x = (1e4 + 1e-2 * normal(8, 4, 30, 30)).astype(np.float32)
    mean, var = np.zeros(4, np.float32), np.zeros(4, np.float32)
    pf.ops.batch_norm(x, mean, var, training=True, momentum=1.0)
    wide = x.astype(float)
    np.testing.assert_allclose(mean, wide.mean((0, 2, 3)), rtol=6e-8)
    np.testing.assert_allclose(var, wide.var((0, 2, 3), ddof=1), rtol=1e-6)


def test_an_outlier_in_front_does_not_spoil_the_variance() -> None:
    x = normal(1, 8192).astype(np.float32)
    x[0, 0] = 1e4
    np.testing.assert_allclose(
        pf.ops.layer_norm(x, 8192), normalized(x, (1,), 1e-5), rtol=1e-6, atol=1e-6
    )


@pytest.mark.parametrize("x", [np.full((3, 5), 0.1), np.full((3, 5), 1e30), np.zeros((3, 5))])
def test_constant_rows_become_zero(x: Array) -> None:
    y = pf.ops.layer_norm(x.astype(np.float32), 5)
    np.testing.assert_allclose(y, 0, atol=1e-6)
    np.testing.assert_array_equal(pf.ops.layer_norm(x[:, :1].copy(), 1), 0)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_what_is_not_finite_stays_in_its_set(bad: float) -> None:
    x = normal(3, 4, 20).astype(np.float32)
    x[1, 2, 3] = bad
    batch = pf.ops.batch_norm(x, None, None, training=True)
    assert np.isnan(batch[:, 2]).all()
    assert np.isfinite(np.delete(batch, 2, axis=1)).all()
    row = pf.ops.layer_norm(x, 20)
    assert np.isnan(row[1, 2]).all()
    assert np.isfinite(row).sum() == x.size - 20
    group = pf.ops.group_norm(x, 2)
    assert np.isnan(group[1, 2:]).all()
    assert np.isfinite(group).sum() == x.size - 40


@pytest.mark.parametrize("activation", ["relu", "gelu", "silu", "sigmoid", "tanh", "mish"])
def test_fused_activation_is_the_composition(activation: str) -> None:
    x = normal(4, 3, 50).astype(np.float32)
    plain = pf.ops.batch_norm(x, None, None, training=True)
    fused = pf.ops.batch_norm(x, None, None, training=True, activation=activation)
    then = getattr(torch, activation, getattr(F, activation))(torch.from_numpy(plain)).numpy()
    np.testing.assert_allclose(fused, then, rtol=1e-6, atol=1e-6)


LAYOUTS = {
    "merged": lambda a: np.moveaxis(np.ascontiguousarray(np.moveaxis(a, 1, -1)), -1, 1),
    "every other image": lambda a: np.moveaxis(
        np.repeat(np.moveaxis(a, 1, -1), 2, axis=0)[::2], -1, 1
    ),
    "padded channels": lambda a: np.moveaxis(
        np.pad(np.moveaxis(a, 1, -1), [(0, 0)] * 3 + [(0, 3)])[..., : a.shape[1]], -1, 1
    ),
    "cropped": lambda a: np.moveaxis(
        np.pad(np.moveaxis(a, 1, -1), [(0, 0), (1, 1), (2, 1), (0, 0)])[:, 1:-1, 2:-1], -1, 1
    ),
    "upside down": lambda a: np.moveaxis(
        np.ascontiguousarray(np.moveaxis(a, 1, -1)[:, ::-1, ::-1])[:, ::-1, ::-1], -1, 1
    ),
    "broadcast": lambda a: np.broadcast_to(a[:1, :, :1, :1], a.shape),
}


@pytest.mark.parametrize("shape", [(3, 5, 7, 9), (2, 33, 4, 17), (1, 16, 1, 130)])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_channels_last_layouts(layout: str, shape: tuple[int, ...]) -> None:
    view = LAYOUTS[layout](normal(*shape).astype(np.float32))
    for training in (True, False):
        stats = np.outer([0.3, 0.6], np.ones(shape[1])).astype(np.float32)
        got = pf.ops.batch_norm(view, *stats.copy(), training=training, eps=0.1)
        assert got.flags.c_contiguous
        want = pf.ops.batch_norm(
            np.ascontiguousarray(view), *stats.copy(), training=training, eps=0.1
        )
        np.testing.assert_allclose(got, want, rtol=1e-5, atol=1e-6)


def test_inference_gradient_uses_the_statistics_of_forward() -> None:
    x, mean, var = pf.Tensor(normal(4, 3), requires_grad=True), np.zeros(3), np.ones(3)
    y = pf.ops.batch_norm(x, mean, var, eps=0.0)
    var[:] = 100.0
    y.backward(np.ones((4, 3)))
    np.testing.assert_array_equal(x.grad.numpy(), 1.0)


X, C = np.zeros((2, 3, 4)), np.ones(3)
S, G = np.ones((2, 3)), np.ones((2, 2, 3))
R = np.ones((2, 6))
BACKWARD = {
    "batch_norm": [X, X, S, C, C, True, 1e-5, None, True, True],
    "group_norm": [X, X, G, C, 3, 1e-5, True, True],
    "layer_norm": [X, X, R, np.ones(4), (4,), 1e-5, True, True],
    "rms_norm": [X, X, R, np.ones(4), (4,), None, True, False],
}
WRONG = [
    (0, np.zeros((2, 3, 5)), ValueError, "grad must have shape"),
    (0, X.astype(np.float32), TypeError, "grad must have the dtype of input"),
    (0, None, TypeError, "grad must be"),
    (1, np.zeros((2, 3, 4), int), TypeError, "input must be"),
    (2, np.ones((2, 7)), ValueError, "statistics must have shape"),
    (2, np.ones((1, 3)), ValueError, "statistics must have shape"),
    (2, np.ones((2, 3), np.float32), TypeError, "statistics must be float64"),
    (3, np.ones(5), ValueError, "weight must have shape"),
    (3, np.ones(3, np.float32), TypeError, "weight must have the dtype"),
]


@pytest.mark.parametrize("op", BACKWARD)
@pytest.mark.parametrize("wrong", WRONG, ids=lambda w: f"{w[0]}-{w[3][:12]}")
def test_backward_trusts_nothing(op: str, wrong: tuple[int, Any, type[Exception], str]) -> None:
    args = list(BACKWARD[op])
    getattr(_core, f"{op}_backward")(*args)
    args[wrong[0]] = wrong[1]
    with pytest.raises(wrong[2], match=f"{op}_backward: {wrong[3]}"):
        getattr(_core, f"{op}_backward")(*args)


def test_only_the_gradients_asked_for_are_computed() -> None:
    _, weight, bias = _core.layer_norm_backward(X, X, R, np.ones(4), (4,), 1e-5, False, True)
    assert weight is None
    assert bias.shape == (4,)


def test_float32_gradients_are_close_to_float64() -> None:
    x, g = (
        (100 + normal(6, 8, 500)).astype(np.float32),
        normal(6, 8, 500, seed=1).astype(np.float32),
    )
    for f in (
        lambda t: pf.ops.batch_norm(t, None, None, training=True),
        lambda t: pf.ops.group_norm(t, 2),
        lambda t: pf.ops.layer_norm(t, 500),
        lambda t: pf.ops.rms_norm(t, 500),
    ):
        gradients = []
        for dtype in (np.float32, np.float64):
            t = pf.Tensor(x.astype(dtype), requires_grad=True)
            f(t).backward(g.astype(dtype))
            gradients.append(t.grad.numpy())
        scale = np.abs(gradients[1]).max()
        np.testing.assert_allclose(gradients[0], gradients[1], rtol=2e-6, atol=5e-7 * scale)


@pytest.mark.usefixtures("path")
@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("activation", [None, "relu"])
def test_a_residuals_gradients_are_torchs(training: bool, activation: str | None) -> None:
    arrays = [normal(3, 4, 5, 6), normal(3, 4, 5, 6, seed=1), normal(4, seed=2), normal(4, seed=3)]
    grad = normal(3, 4, 5, 6, seed=4)
    ours = [pf.Tensor(a, requires_grad=True) for a in arrays]
    x, residual, weight, bias = ours
    statistics = normal(4, seed=5), np.abs(normal(4, seed=6))
    y = pf.ops.batch_norm(x, *(s.copy() for s in statistics), weight, bias, training,
                          activation=activation, residual=residual)  # fmt: skip
    y.backward(grad)
    theirs = [torch.from_numpy(a.copy()).requires_grad_() for a in arrays]
    z = F.batch_norm(theirs[0], *(torch.from_numpy(s.copy()) for s in statistics), *theirs[2:],
                     training) + theirs[1]  # fmt: skip
    want = z if activation is None else F.relu(z)
    want.backward(torch.from_numpy(grad))
    np.testing.assert_allclose(y.numpy(), want.detach().numpy(), rtol=1e-10, atol=1e-12)
    for a, b in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(a.grad.numpy(), b.grad.numpy(), rtol=1e-9, atol=1e-12)


def test_a_residual_that_requires_no_gradient_gets_none() -> None:
    x = pf.Tensor(normal(3, 4), requires_grad=True)
    residual = pf.Tensor(normal(3, 4, seed=1))
    pf.ops.batch_norm(x, None, None, training=True, residual=residual).sum().backward()
    assert residual.grad is None


@pytest.mark.parametrize("n", [1, 7, 10, 33, 65, 128, 129])
def test_short_rows_together_are_rows_alone(n: int) -> None:
    """Short rows are reduced a row a lane: what stands in the other lanes must not matter."""
    x = np.random.default_rng(n).standard_normal((37, n)).astype(np.float32)
    x[3] *= np.float32(1e25)  # squares leave float32's range
    x[20, -1] = np.nan
    labels = np.arange(37) % n
    ops = [
        lambda v, _: pf.ops.layer_norm(v, (n,)),
        lambda v, _: pf.ops.rms_norm(v, (n,)),
        lambda v, _: pf.ops.softmax(v, -1),
        lambda v, _: pf.ops.log_softmax(v, -1),
        lambda v, t: pf.ops.cross_entropy(v, t, reduction="none"),
    ]
    for op in ops:
        together = op(x, labels)
        for i in range(37):
            alone = op(x[i : i + 1], labels[i : i + 1])
            np.testing.assert_array_equal(together[i : i + 1], alone)
    spread = pf.ops.layer_norm(x, (n,))
    if n > 1:
        assert abs(float(np.std(spread[3].astype(np.float64))) - 1) < 1e-5


@pytest.mark.parametrize("n", [17, 300, 1000])
def test_a_row_of_one_large_value_has_finite_gradients(n: int) -> None:
    """Lanes beyond the row hold no numbers whose distance from the mean overflows."""
    x = pf.Tensor(np.full((3, n), 1e37, np.float32), requires_grad=True)
    pf.ops.layer_norm(x, n).backward(normal(3, n).astype(np.float32))
    assert x.grad is not None
    assert np.isfinite(np.asarray(x.grad)).all()
