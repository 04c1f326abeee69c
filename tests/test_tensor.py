"""Tensor against PyTorch: values, gradients, interoperability."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

import pyfast as pf

Build = Callable[..., Any]


def arrays(*shapes: tuple[int, ...], positive: bool = False) -> list[Any]:
    rng = np.random.default_rng(3)
    values = [rng.standard_normal(shape) for shape in shapes]
    return [np.asarray(np.abs(v) + 0.5 if positive else v) for v in values]


# name, shapes, expression (for both libraries unless a second one is given), positive inputs
CASES: list[tuple[str, list[tuple[int, ...]], Build, Build | None, bool]] = [
    ("add", [(2, 3), (3,)], lambda a, b: a + b, None, False),
    ("add scalar", [(2, 3)], lambda a: 2 + a + 1.5, None, False),
    ("sub", [(2, 1), (2, 3)], lambda a, b: a - b, None, False),
    ("rsub", [(2, 3)], lambda a: 1 - a, None, False),
    ("mul", [(4, 1, 3), (2, 1)], lambda a, b: a * b, None, False),
    ("mul itself", [(3,)], lambda a: a * a * 2, None, False),
    ("mul 0-d", [(), (2, 3)], lambda a, b: a * b, None, False),
    ("div", [(2, 3), (3,)], lambda a, b: a / b, None, True),
    ("rdiv", [(2, 3)], lambda a: 3 / a, None, True),
    ("pow 2", [(5,)], lambda a: a**2, None, False),
    ("pow 3", [(5,)], lambda a: a**3, None, False),
    ("pow 0", [(5,)], lambda a: a**0, None, False),
    ("pow -0.5", [(5,)], lambda a: a**-0.5, None, True),
    ("pow tensor", [(5,), (2, 5)], lambda a, b: a**b, None, True),
    ("rpow", [(5,)], lambda a: 2**a, None, False),
    ("mod", [(7,)], lambda a: a % 0.7, None, False),
    ("neg", [(3,)], lambda a: -a, None, False),
    ("abs", [(3,)], lambda a: abs(a), None, False),
    ("exp", [(3,)], lambda a: a.exp(), None, False),
    ("expm1", [(3,)], lambda a: a.expm1(), None, False),
    ("log", [(3,)], lambda a: a.log(), None, True),
    ("log1p", [(3,)], lambda a: a.log1p(), None, True),
    ("sqrt", [(3,)], lambda a: a.sqrt(), None, True),
    ("sin cos", [(3,)], lambda a: a.sin() * a.cos(), None, False),
    ("square", [(3,)], lambda a: a.square(), None, False),
    ("clip", [(20,)], lambda a: a.clip(-0.5, 0.5), None, False),
    ("clamp one bound", [(20,)], lambda a: a.clamp(min=0.0), None, False),
    ("maximum", [(2, 5), (5,)], lambda a, b: a.maximum(b), None, False),
    ("minimum", [(2, 5), (5,)], lambda a, b: a.minimum(b), None, False),
    ("sum", [(2, 3)], lambda a: a.sum(), None, False),
    ("sum 0-d", [()], lambda a: a.sum(0), None, False),
    ("sum axis", [(2, 3, 4)], lambda a: a.sum(1), None, False),
    ("sum axes", [(2, 3, 4)], lambda a: a.sum((0, -1)), None, False),
    ("sum keepdim", [(2, 3)], lambda a: a.sum(dim=-1, keepdim=True), None, False),
    ("sum empty", [(0, 3)], lambda a: a.sum(0), None, False),
    ("mean", [(2, 3)], lambda a: a.mean(), None, False),
    ("mean axis", [(2, 3, 4)], lambda a: a.mean((1, 2)), None, False),
    ("mean keepdim", [(2, 3)], lambda a: a.mean(0, True), None, False),
    ("var", [(2, 5)], lambda a: a.var(), None, False),
    ("var axis", [(2, 5)], lambda a: a.var(dim=1, correction=0, keepdim=True), None, False),
    ("std", [(2, 5)], lambda a: a.std(dim=0), None, False),
    ("std constant", [(2, 5)], lambda a: (a * 0).std(dim=1), None, False),
    ("max", [(3, 4)], lambda a: a.max(), None, False),
    ("max ties", [(6,)], lambda a: (a * 0 + 1).max(), None, False),
    ("max axis", [(3, 4)], lambda a: a.max(1), lambda a: a.max(1).values, False),
    ("amin axes", [(3, 4, 2)], lambda a: a.amin((0, 2)), None, False),
    ("cumsum", [(3, 4)], lambda a: a.cumsum(1), None, False),
    ("softmax", [(3, 4)], lambda a: a.softmax(1), None, False),
    ("log_softmax", [(3, 4)], lambda a: a.log_softmax(0), None, False),
    ("matmul", [(3, 4), (4, 5)], lambda a, b: a @ b, None, False),
    ("matmul vv", [(4,), (4,)], lambda a, b: a @ b, None, False),
    ("matmul mv", [(3, 4), (4,)], lambda a, b: a @ b, None, False),
    ("matmul vm", [(4,), (4, 5)], lambda a, b: a @ b, None, False),
    ("matmul bmv", [(2, 3, 4), (4,)], lambda a, b: a @ b, None, False),
    ("matmul vbm", [(4,), (2, 4, 5)], lambda a, b: a @ b, None, False),
    ("matmul batch", [(2, 1, 3, 4), (5, 4, 2)], lambda a, b: a @ b, None, False),
    ("reshape", [(2, 6)], lambda a: a.reshape(3, -1) * 2, None, False),
    ("view", [(2, 6)], lambda a: a.view((4, 3)), None, False),
    ("flatten", [(2, 3, 4, 5)], lambda a: a.flatten(1, 2), None, False),
    ("flatten 0-d", [()], lambda a: a.flatten(), None, False),
    ("transpose", [(2, 3, 4)], lambda a: a.transpose(0, -1), None, False),
    ("permute", [(2, 3, 4)], lambda a: a.permute(2, 0, 1), None, False),
    ("permute -1", [(2, 3, 4)], lambda a: a.permute((-1, 0, 1)), None, False),
    ("T", [(2, 3)], lambda a: a.T, None, False),
    ("mT", [(2, 3, 4)], lambda a: a.mT, None, False),
    ("squeeze", [(1, 3, 1)], lambda a: a.squeeze(), None, False),
    ("squeeze dim", [(1, 3, 1)], lambda a: a.squeeze(-1), None, False),
    ("squeeze nothing", [(1, 3, 1)], lambda a: a.squeeze(1), None, False),
    ("unsqueeze", [(2, 3)], lambda a: a.unsqueeze(-1), None, False),
    ("expand", [(3, 1)], lambda a: a.expand(2, -1, 4) * 2, None, False),
    ("broadcast_to", [(3,)], lambda a: a.broadcast_to((2, 3)), None, False),
    ("repeat", [(2, 3)], lambda a: a.repeat(4, 1, 2), None, False),
    ("clone", [(2, 3)], lambda a: a.T.clone().contiguous(), None, False),
    ("index int", [(4, 3)], lambda a: a[1], None, False),
    ("index to 0-d", [(4, 3)], lambda a: a[1, -1], None, False),
    ("index slice", [(4, 3)], lambda a: a[1:, ::2], None, False),
    ("index None ...", [(4, 3)], lambda a: a[..., None, 0], None, False),
    ("index array", [(4, 3)], lambda a: a[[0, 0, 2]], None, False),
    ("index arrays", [(4, 3)], lambda a: a[[0, 0, 2], [1, 1, 0]], None, False),
    ("index mask", [(4, 3)], lambda a: a[a > 0], None, False),
    ("index empty", [(4, 3)], lambda a: a[2:2], None, False),
    ("unpack", [(2, 3)], lambda a: sum(row * i for i, row in enumerate(a)), None, False),
    ("cat", [(2, 3), (1, 3)], lambda a, b: pf.cat([a, b, a]),
     lambda a, b: torch.cat([a, b, a]), False),
    ("cat dim", [(2, 3), (2, 1)], lambda a, b: pf.cat((a, b), dim=-1),
     lambda a, b: torch.cat((a, b), dim=-1), False),
    ("stack", [(2, 3), (2, 3)], lambda a, b: pf.stack([a, b], 1),
     lambda a, b: torch.stack([a, b], 1), False),
    ("split", [(5, 2)], lambda a: a.split(2)[2] * 3, None, False),
    ("split sections", [(2, 5)], lambda a: a.split([1, 4], dim=1)[1], None, False),
    ("chunk", [(2, 5)], lambda a: a.chunk(3, 1)[0], None, False),
    ("where", [(4,), (2, 4)], lambda a, b: pf.where(a > 0, a, b),
     lambda a, b: torch.where(a > 0, a, b), False),
    ("where scalar", [(4,)], lambda a: pf.where(a > 0, a, 0.0),
     lambda a: torch.where(a > 0, a, 0.0), False),
    ("cast", [(4,)], lambda a: a.float().double() * 2, None, False),
]  # fmt: skip


@pytest.mark.parametrize(
    ("shapes", "ours", "theirs", "positive"),
    [pytest.param(*case[1:], id=case[0]) for case in CASES],
)
def test_matches_torch(
    shapes: list[tuple[int, ...]], ours: Build, theirs: Build | None, positive: bool
) -> None:
    values = arrays(*shapes, positive=positive)
    mine = [pf.Tensor(v.copy(), requires_grad=True) for v in values]
    other = [torch.tensor(v, requires_grad=True) for v in values]
    got, want = ours(*mine), (theirs or ours)(*other)
    assert got.shape == tuple(want.shape)
    np.testing.assert_allclose(got.numpy(), want.detach().numpy(), rtol=1e-6, atol=1e-12)
    seed = np.asarray(np.random.default_rng(5).standard_normal(got.shape))
    got.backward(seed)
    want.backward(torch.from_numpy(seed))
    for a, b in zip(mine, other, strict=True):
        assert a.grad is not None
        np.testing.assert_allclose(a.grad.numpy(), b.grad.numpy(), rtol=1e-6, atol=1e-12)


@pytest.mark.parametrize(
    "expression",
    [
        lambda x: x * 2, lambda x: 2.5 + x, lambda x: x / 3, lambda x: x**2, lambda x: 1 - x,
        lambda x: x * np.float64(2), lambda x: np.float64(2) * x, lambda x: x * np.int64(2),
        lambda x: x + np.arange(3), lambda x: x * True, lambda x: x.mean(), lambda x: x.sum(),
        lambda x: x.var(), lambda x: x.std(), lambda x: x.clip(0, 1), lambda x: x.mean() * 2.5,
        lambda x: x.max() + 1.0, lambda x: np.exp(x), lambda x: np.ones(3, np.float32) * x,
        lambda x: pf.where(x > 0, x, 1.0), lambda x: x.cumsum(0), lambda x: x @ x,
        lambda x: math.sqrt(2) * x, lambda x: x % 2, lambda x: np.maximum(x, 0.5),
    ],
)  # fmt: skip
def test_scalars_and_integers_do_not_promote(expression: Build) -> None:
    x = pf.Tensor(np.ones(3, np.float32), requires_grad=True)
    out = expression(x)
    assert isinstance(out, pf.Tensor)
    assert out.dtype == np.float32
    out.sum().backward()
    assert x.grad is not None
    assert x.grad.dtype == np.float32


def test_arrays_on_either_side_give_tensors() -> None:
    a, x = np.arange(3.0), pf.Tensor(np.ones(3), requires_grad=True)
    for out in (a + x, a - x, a * x, a / x, a**x, a @ x, a > x, a == x, np.add(a, x)):
        assert isinstance(out, pf.Tensor)
    a += x.detach()
    assert type(a) is np.ndarray
    np.testing.assert_array_equal(a, [1.0, 2.0, 3.0])
    with pytest.raises(RuntimeError, match="missed by the tape"):
        a += x
    assert isinstance(np.concatenate([x, x]), np.ndarray)
    assert isinstance(np.sum(x), float)
    with pytest.raises(TypeError):
        np.sinh(x)


def test_comparisons_are_bool_and_identity_hashes() -> None:
    x = pf.Tensor(np.array([1.0, 2.0]))
    assert (x == x).dtype == bool
    assert (x == 1).tolist() == [True, False]
    assert x != None  # noqa: E711
    assert (x == None) is False  # noqa: E711
    assert (x != "a") is True
    assert ((x > 0) & ~(x >= 2)).tolist() == [True, False]
    assert x.argmax().item() == 1
    assert (x > 1).any()
    assert not (x > 1).all()
    assert len({x, x}) == 1
    assert 2.0 in x
    with pytest.raises(ValueError, match="ambiguous"):
        bool(x)


def test_conversions() -> None:
    x = pf.Tensor(np.array(2.5))
    assert (float(x), int(x), x.item(), f"{x:.1f}") == (2.5, 2, 2.5, "2.5")
    assert [1, 2, 3][pf.Tensor(np.array(1))] == 2
    assert pf.Tensor([1, 2]).tolist() == [1, 2]
    assert len(pf.zeros(4, 2)) == 4
    data = np.zeros(3, np.float32)
    assert pf.Tensor(data).numpy() is data
    assert np.asarray(pf.Tensor(data)) is data
    assert np.array(pf.Tensor(data)) is not data
    assert np.asarray(pf.Tensor(data), np.float64).dtype == np.float64
    shared = torch.from_dlpack(pf.Tensor(data))
    shared[0] = 7
    assert data[0] == 7
    assert pf.from_dlpack(shared).tolist() == [7, 0, 0]


@pytest.mark.parametrize(
    ("tensor", "text"),
    [
        (pf.Tensor(np.ones(2, np.float32)), "Tensor([1., 1.])"),
        (pf.Tensor(np.ones(2), True), "Tensor([1., 1.], dtype=float64, requires_grad=True)"),
        (pf.Tensor(np.ones(2, np.float32), True) * 2, "Tensor([2., 2.], grad_fn=Mul)"),
        (pf.Tensor([[1], [2]]), "Tensor([[1],\n        [2]], dtype=int64)"),
    ],
)
def test_repr(tensor: pf.Tensor, text: str) -> None:
    assert repr(tensor) == text


def test_in_place_changes_write_the_memory_where_no_gradient_is_at_stake() -> None:
    data = np.ones(3, np.float32)
    p = pf.Tensor(data, requires_grad=True)
    with pf.no_grad():
        p -= 0.5
        p *= 2
        p[0] = 9
        p /= 1
        p += pf.ones(3)
    assert p.numpy() is data
    assert data.tolist() == [10.0, 2.0, 2.0]
    with pf.no_grad():
        p.zero_()
        p.copy_([1, 2, 3])
    assert data.tolist() == [1.0, 2.0, 3.0]
    total = pf.zeros(3)
    total += p
    assert total.requires_grad
    p.data -= 1
    assert data.tolist() == [0.0, 1.0, 2.0]


def test_index_with_tensors_and_assignment() -> None:
    x = pf.zeros(3, 2)
    x[pf.Tensor([0, 2]), 1] = pf.ones(2)
    assert x.numpy()[:, 1].tolist() == [1.0, 0.0, 1.0]
    assert x[pf.Tensor([True, False, True])].shape == (2, 2)


@pytest.mark.parametrize(
    ("call", "error"),
    [
        (lambda x: x.reshape(7), ValueError),
        (lambda x: x[5], IndexError),
        (lambda x: x.unsqueeze(4), IndexError),
        (lambda x: x.squeeze(3), IndexError),
        (lambda x: x.repeat(2), ValueError),
        (lambda x: x + "a", TypeError),
        (lambda x: x + np.zeros(7), ValueError),
        (lambda x: x @ np.zeros(7), ValueError),
        (lambda x: x.split(0), ValueError),
        (lambda x: x.split([1, 2]), ValueError),
        (lambda x: x.chunk(0), ValueError),
        (lambda x: pf.cat([]), ValueError),
        (lambda x: pf.rand(2, dtype=int), TypeError),
        (lambda x: pf.from_numpy([1]), TypeError),
    ],
)
def test_bad_calls(call: Build, error: type[Exception]) -> None:
    with pytest.raises(error):
        call(pf.zeros(2, 3))


def test_creation() -> None:
    assert pf.zeros(2, 3).dtype == np.float32
    assert pf.ones((2, 3), dtype=np.float64).sum().item() == 6
    assert pf.full((2,), 3).dtype == np.int64
    assert pf.arange(2, 5).tolist() == [2, 3, 4]
    assert pf.arange(0, 1, 0.25).dtype == np.float32
    assert pf.eye(2, 3).shape == (2, 3)
    assert pf.linspace(0, 1, 5).tolist() == [0, 0.25, 0.5, 0.75, 1]
    assert pf.ones_like(np.zeros(2)).dtype == np.float64
    assert pf.zeros(2, requires_grad=True).requires_grad
    pf.manual_seed(3)
    first = pf.randn(4), pf.rand(4), pf.randint(0, 9, (4,)), pf.randperm(4)
    pf.manual_seed(3)
    again = pf.randn(4), pf.rand(4), pf.randint(0, 9, (4,)), pf.randperm(4)
    for a, b in zip(first, again, strict=True):
        np.testing.assert_array_equal(a, b)
    assert not np.array_equal(first[0], pf.randn(4))
    source = pf.tensor(np.ones(2))
    assert pf.as_tensor(source) is source
    assert pf.tensor(source).numpy() is not source.numpy()


class DLPackOnly:
    """An array of a library that speaks nothing but DLPack."""

    def __init__(self, data: Any, device: int = 1) -> None:
        self.data = data
        self.on = device

    def __dlpack__(self, **options: Any) -> Any:
        return self.data.__dlpack__(**options)

    def __dlpack_device__(self) -> tuple[int, int]:
        return self.on, 0


class CudaArray:
    """What a CuPy array looks like from outside."""

    __cuda_array_interface__ = None


def test_dispatch_takes_what_numpy_takes() -> None:
    want = pf.ops.softmax(np.ones((1, 2)))
    for given in ([[1.0, 1.0]], ((1.0, 1.0),), DLPackOnly(np.ones((1, 2))), np.ones((1, 2)).data):
        got = pf.ops.softmax(given)
        assert type(got) is np.ndarray
        np.testing.assert_array_equal(got, want)
    with torch.no_grad():
        out = pf.ops.softmax(torch.ones(1, 2, requires_grad=True))
    assert isinstance(out, torch.Tensor)


@pytest.mark.parametrize(
    ("value", "error", "message"),
    [
        (torch.ones(2, requires_grad=True), TypeError, "detach"),
        (torch.ones(2, dtype=torch.bfloat16), TypeError, "softmax: not a dense CPU tensor"),
        (torch.ones(2).to_sparse(), TypeError, "softmax: not a dense CPU tensor"),
        (torch.ones(2, device="meta"), TypeError, "softmax: arrays on device 'meta'"),
        (CudaArray(), TypeError, "softmax: CudaArray lies on a GPU, but is neither a CuPy array"),
        (DLPackOnly(np.ones(2), 2), TypeError, "softmax: arrays on DLPack device 2"),
        (np.ma.masked_array([1.0, 2.0], [True, False]), TypeError, "softmax: masked"),
        ([[1.0], [1.0, 2.0]], ValueError, "softmax: not an array"),
        (object(), TypeError, "softmax: input"),
        ("text", TypeError, "softmax: input"),
    ],
)
def test_dispatch_refuses_clearly(value: Any, error: Any, message: str) -> None:
    with pytest.raises(error, match=message):
        pf.ops.softmax(value)
