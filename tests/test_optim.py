"""Optimizers against torch.optim, step by step, with every option."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch

import pyfast as pf

# Every option of every rule, alone and with others.
SETTINGS: list[tuple[str, dict[str, Any]]] = [
    ("SGD", {}),
    ("SGD", {"lr": 0.05, "momentum": 0.9}),
    ("SGD", {"lr": 0.05, "momentum": 0.9, "dampening": 0.3, "weight_decay": 0.01}),
    ("SGD", {"lr": 0.05, "momentum": 0.8, "nesterov": True, "weight_decay": 0.1}),
    ("SGD", {"lr": 0.01, "maximize": True, "weight_decay": 0.1}),
    ("SGD", {"lr": 0.01, "maximize": True, "momentum": 0.5}),
    ("Adagrad", {}),
    ("Adagrad", {"lr": 0.05, "lr_decay": 0.1, "weight_decay": 0.1}),
    ("Adagrad", {"initial_accumulator_value": 0.5, "eps": 1e-3, "maximize": True}),
    ("RMSprop", {}),
    ("RMSprop", {"centered": True, "alpha": 0.9}),
    ("RMSprop", {"momentum": 0.9, "weight_decay": 0.1, "eps": 1e-4}),
    ("RMSprop", {"lr": 0.003, "centered": True, "momentum": 0.5, "maximize": True}),
    ("Adadelta", {}),
    ("Adadelta", {"lr": 0.5, "rho": 0.7, "eps": 1e-4, "weight_decay": 0.1}),
    ("Adadelta", {"maximize": True}),
    ("Adam", {}),
    ("Adam", {"lr": 0.02, "betas": (0.8, 0.9), "eps": 1e-5, "weight_decay": 0.1}),
    ("Adam", {"amsgrad": True, "maximize": True}),
    ("Adam", {"weight_decay": 0.2, "decoupled_weight_decay": True}),
    ("AdamW", {}),
    ("AdamW", {"lr": 0.02, "amsgrad": True, "weight_decay": 0.3}),
    ("AdamW", {"lr": 0.02, "maximize": True}),
    ("Adamax", {}),
    ("Adamax", {"betas": (0.8, 0.95), "eps": 1e-4, "weight_decay": 0.1}),
    ("Adamax", {"maximize": True}),
    ("NAdam", {}),
    ("NAdam", {"betas": (0.8, 0.95), "momentum_decay": 0.02, "weight_decay": 0.1}),
    ("NAdam", {"weight_decay": 0.1, "decoupled_weight_decay": True, "maximize": True}),
    ("RAdam", {}),
    ("RAdam", {"betas": (0.8, 0.99), "eps": 1e-5, "weight_decay": 0.1}),
    ("RAdam", {"lr": 0.02, "weight_decay": 0.1, "decoupled_weight_decay": True, "maximize": True}),
]
NAMES = sorted({name for name, _ in SETTINGS})
SHAPES = [(3, 4), (17,), (), (0, 2), (2, 3, 5)]


def arrays(dtype: Any, seed: int) -> list[np.ndarray[Any, Any]]:
    r = np.random.default_rng(seed)
    return [np.asarray(r.standard_normal(s), dtype) for s in SHAPES]


@pytest.fixture
def double_scalars() -> Iterator[None]:
    """torch keeps step-dependent scalars (NAdam's product) in its default dtype."""
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


def set_gradients(mine: list[pf.Tensor], theirs: list[Any], dtype: Any, step: int) -> None:
    for p, q, g in zip(mine, theirs, arrays(dtype, step + 1), strict=True):
        if step % 7 == 3 and g.ndim == 1:  # sometimes a parameter has no gradient
            p.grad = q.grad = None
        else:
            p.grad, q.grad = pf.Tensor(g), torch.from_numpy(g.copy())


def assert_equal(mine: list[pf.Tensor], theirs: list[Any], tolerance: float) -> None:
    for p, q in zip(mine, theirs, strict=True):
        want = q.detach().numpy()
        scale = max(1.0, float(np.abs(want).max())) if want.size else 1.0
        np.testing.assert_allclose(p.numpy(), want, rtol=0, atol=tolerance * scale)


@pytest.mark.usefixtures("double_scalars")
@pytest.mark.parametrize(("dtype", "tolerance"), [(np.float32, 1e-6), (np.float64, 1e-12)])
@pytest.mark.parametrize(("name", "settings"), SETTINGS)
def test_two_hundred_steps_equal_torchs(
    name: str, settings: dict[str, Any], dtype: Any, tolerance: float
) -> None:
    mine = [pf.Tensor(a, requires_grad=True) for a in arrays(dtype, 0)]
    theirs = [torch.from_numpy(a).requires_grad_() for a in arrays(dtype, 0)]
    a = getattr(pf.optim, name)(mine, **settings)
    b = getattr(torch.optim, name)(theirs, **settings)
    for step in range(200):
        set_gradients(mine, theirs, dtype, step)
        a.step()
        b.step()
    assert_equal(mine, theirs, tolerance)


@pytest.mark.usefixtures("double_scalars")
@pytest.mark.parametrize(("name", "settings"), SETTINGS)
def test_goes_on_from_torchs_state(name: str, settings: dict[str, Any]) -> None:
    theirs = [torch.from_numpy(a).requires_grad_() for a in arrays(np.float64, 0)]
    b = getattr(torch.optim, name)(theirs, **settings)
    idle = [pf.Tensor(a, requires_grad=True) for a in arrays(np.float64, 0)]
    for step in range(5):
        set_gradients(idle, theirs, np.float64, step)
        b.step()
    mine = [pf.Tensor(q.detach().numpy().copy(), requires_grad=True) for q in theirs]
    a = getattr(pf.optim, name)(mine)
    a.load_state_dict(b.state_dict())
    for step in range(5, 12):
        set_gradients(mine, theirs, np.float64, step)
        a.step()
        b.step()
    assert_equal(mine, theirs, 1e-12)


def test_defaults_are_torchs() -> None:
    for name in NAMES:
        mine = getattr(pf.optim, name)([parameter()]).defaults
        theirs = getattr(torch.optim, name)([torch.ones(2, requires_grad=True)]).defaults
        assert mine == {k: theirs[k] for k in mine}, name


def test_one_call_moves_all_groups(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[int] = []

    def counted(params: list[Any], *args: Any) -> None:
        calls.append(len(params))

    monkeypatch.setattr(pf.optim.Adam, "_kernel", staticmethod(counted))
    params = [parameter() for _ in range(3)]
    for p in params:
        p.grad = pf.Tensor(np.ones(2))
    pf.optim.Adam([{"params": params[:1]}, {"params": params[1:], "lr": 1.0}]).step()
    assert calls == [3]


def test_groups_have_their_own_settings() -> None:
    p, q = (pf.Tensor(np.ones(2), requires_grad=True) for _ in range(2))
    optimizer = pf.optim.SGD([{"params": [p], "lr": 0.1}, {"params": q}], lr=0.2)
    p.grad = q.grad = pf.Tensor(np.ones(2))
    optimizer.step()
    np.testing.assert_allclose([p.numpy()[0], q.numpy()[0]], [0.9, 0.8])
    optimizer.param_groups[1]["lr"] = 0.0
    optimizer.step()
    np.testing.assert_allclose([p.numpy()[0], q.numpy()[0]], [0.8, 0.8])


@pytest.mark.parametrize(("name", "settings"), SETTINGS)
def test_state_dict_goes_on_bit_for_bit(name: str, settings: dict[str, Any]) -> None:
    def steps(optimizer: Any, params: list[pf.Tensor], seeds: range) -> None:
        for seed in seeds:
            for p, g in zip(params, arrays(np.float32, seed), strict=True):
                p.grad = pf.Tensor(g)
            optimizer.step()

    whole = [pf.Tensor(a, requires_grad=True) for a in arrays(np.float32, 0)]
    optimizer = getattr(pf.optim, name)(whole, **settings)
    steps(optimizer, whole, range(1, 4))
    half = [pf.Tensor(p.numpy().copy(), requires_grad=True) for p in whole]
    resumed = getattr(pf.optim, name)(half)
    resumed.load_state_dict(optimizer.state_dict())
    steps(optimizer, whole, range(4, 8))
    steps(resumed, half, range(4, 8))
    for p, q in zip(whole, half, strict=True):
        assert p.numpy().tobytes() == q.numpy().tobytes()


def test_closure_and_zero_grad() -> None:
    p = pf.Tensor(np.array([3.0]), requires_grad=True)
    optimizer = pf.optim.SGD([p], lr=0.25)

    def closure() -> Any:
        optimizer.zero_grad()
        loss = (p**2).sum()
        loss.backward()
        return loss

    assert optimizer.step(closure).item() == 9.0
    assert p.item() == 1.5
    optimizer.zero_grad(set_to_none=False)
    assert p.grad is not None
    assert p.grad.numpy()[0] == 0.0
    optimizer.zero_grad()
    assert p.grad is None


def parameter() -> pf.Tensor:
    return pf.Tensor(np.ones(2), requires_grad=True)


SHARED = parameter()


@pytest.mark.parametrize(
    ("params", "settings", "error", "match"),
    [
        ([parameter()], {"lr": 0.0}, ValueError, "lr must be positive and finite, got 0.0"),
        ([], {}, ValueError, "params must not be empty"),
        (parameter(), {}, TypeError, "iterable of Tensors"),
        ([np.ones(2)], {}, TypeError, "params must hold Tensors, got ndarray"),
        ([SHARED, SHARED], {}, ValueError, "more than once"),
        ([{"params": [SHARED]}, {"params": [SHARED]}], {}, ValueError, "more than once"),
        ([parameter() * 2], {}, ValueError, "params must be leaves"),
        ([parameter()], {"lr": -0.1}, ValueError, "lr must be positive and finite, got -0.1"),
        ([parameter()], {"lr": float("nan")}, ValueError, "lr must be positive and finite"),
        ([parameter()], {"lr": float("inf")}, ValueError, "lr must be positive and finite"),
        ([parameter()], {"lr": "0.1"}, ValueError, "lr must be positive and finite, got '0.1'"),
        ([parameter()], {"weight_decay": -1}, ValueError, "weight_decay must be finite and not"),
        ([parameter()], {"weight_decay": None}, ValueError, "weight_decay .* got None"),
        (None, {}, TypeError, "params must be an iterable of Tensors, got None"),
        ([{"params": [parameter()], "speed": 1}], {}, ValueError, "unknown setting 'speed'"),
        ([{"lr": 1}], {}, TypeError, "a group must be a dict with 'params'"),
    ],
)
@pytest.mark.parametrize("name", NAMES)
def test_bad_settings(name: str, params: Any, settings: Any, error: Any, match: str) -> None:
    with pytest.raises(error, match=f"{name}: .*{match}"):
        getattr(pf.optim, name)(params, **settings)


def test_bad_settings_of_one_kind() -> None:
    with pytest.raises(ValueError, match="nesterov needs a momentum"):
        pf.optim.SGD([parameter()], nesterov=True)
    with pytest.raises(ValueError, match=r"betas must be two numbers in \[0, 1\)"):
        pf.optim.Adam([parameter()], betas=(0.9, 1.0))
    for betas in (0.9, None, (0.9, "x"), (0.9,)):
        with pytest.raises(ValueError, match="betas must be two numbers in"):
            pf.optim.Adam([parameter()], betas=betas)
    with pytest.raises(ValueError, match=r"rho must be in \[0, 1\], got 1\.5"):
        pf.optim.Adadelta([parameter()], rho=1.5)
    with pytest.raises(ValueError, match=r"alpha must be in \[0, 1\], got 1\.5"):
        pf.optim.RMSprop([parameter()], alpha=1.5)


@pytest.mark.parametrize("lr", [-0.1, float("nan"), float("inf")])
def test_a_rate_that_was_spoilt_later_moves_nothing(lr: float) -> None:
    p = parameter()
    optimizer = pf.optim.SGD([p], lr=0.1)
    (p * p).sum().backward()
    optimizer.param_groups[0]["lr"] = lr
    with pytest.raises(ValueError, match="sgd_step: lr must be finite and not negative, got"):
        optimizer.step()
    assert (p.numpy() == 1).all()
    optimizer.param_groups[0]["lr"] = 0.0  # as schedules may end
    optimizer.step()
    assert (p.numpy() == 1).all()


def test_a_gradient_of_another_shape_moves_nothing() -> None:
    p = parameter()
    optimizer = pf.optim.SGD([p], lr=1.0)
    p.grad = pf.Tensor(np.ones(2))
    other = pf.optim.Adam([pf.Tensor(np.ones(3), requires_grad=True)])
    with pytest.raises(ValueError, match="belongs to a parameter of shape"):
        other.load_state_dict(
            {
                "state": {0: {"step": 1, "exp_avg": np.ones(2), "exp_avg_sq": np.ones(2)}},
                "param_groups": other.state_dict()["param_groups"],
            }
        )
    with pytest.raises(ValueError, match="groups of"):
        optimizer.load_state_dict({"state": {}, "param_groups": []})
    np.testing.assert_array_equal(p.numpy(), 1)


def test_lbfgs_finds_the_minimum_of_rosenbrocks_function() -> None:
    p = pf.Tensor(np.array([-1.2, 1.0]), requires_grad=True)
    optimizer = pf.optim.LBFGS([p], max_iter=100)

    def closure() -> Any:
        optimizer.zero_grad()
        loss = (1 - p[0]) ** 2 + 100 * (p[1] - p[0] ** 2) ** 2
        loss.backward()
        return loss

    assert optimizer.step(closure).item() == pytest.approx(24.2)
    np.testing.assert_allclose(p.numpy(), 1, atol=1e-5)


def test_lbfgs_refuses() -> None:
    with pytest.raises(ValueError, match="LBFGS: max_iter must be positive"):
        pf.optim.LBFGS([parameter()], max_iter=0)
    with pytest.raises(ValueError, match="LBFGS: needs one group, got 2"):
        pf.optim.LBFGS([{"params": parameter()}, {"params": parameter()}])
    with pytest.raises(ValueError, match="LBFGS: step needs a closure"):
        pf.optim.LBFGS([parameter()]).step()
