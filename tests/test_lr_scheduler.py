"""Schedules against torch.optim.lr_scheduler, step by step, and through a saved state."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

import pyfast as pf
from pyfast.optim import lr_scheduler as mine

theirs = torch.optim.lr_scheduler
pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")  # torch wants optimizer.step first


def down(step: int) -> float:
    return 0.97**step


def up(step: int) -> float:
    return 1 + 0.1 * math.sin(step)


SCHEDULES: list[tuple[str, dict[str, Any]]] = [
    ("StepLR", {"step_size": 7}),
    ("StepLR", {"step_size": 3, "gamma": 0.9}),
    ("MultiStepLR", {"milestones": [30, 80, 80, 5]}),
    ("MultiStepLR", {"milestones": [0, 50], "gamma": 0.5}),
    ("ExponentialLR", {"gamma": 0.97}),
    ("ConstantLR", {}),
    ("ConstantLR", {"factor": 0.5, "total_iters": 40}),
    ("LinearLR", {}),
    ("LinearLR", {"start_factor": 0.1, "end_factor": 0.6, "total_iters": 50}),
    ("LinearLR", {"start_factor": 1.0, "end_factor": 0.0, "total_iters": 50}),
    ("PolynomialLR", {}),
    ("PolynomialLR", {"total_iters": 120, "power": 2.5}),
    ("CosineAnnealingLR", {"T_max": 200}),
    ("CosineAnnealingLR", {"T_max": 17, "eta_min": 0.002}),
    ("CosineAnnealingWarmRestarts", {"T_0": 10}),
    ("CosineAnnealingWarmRestarts", {"T_0": 5, "T_mult": 2, "eta_min": 0.001}),
    ("CyclicLR", {"base_lr": 0.01, "max_lr": 0.1, "step_size_up": 20}),
    ("CyclicLR", {"base_lr": [0.01, 0.02], "max_lr": [0.1, 0.3], "step_size_up": 7,
                  "step_size_down": 13, "mode": "triangular2", "base_momentum": 0.5}),
    ("CyclicLR", {"base_lr": 0.01, "max_lr": 0.1, "step_size_up": 11, "mode": "exp_range",
                  "gamma": 0.98, "cycle_momentum": False}),
    ("CyclicLR", {"base_lr": 0.01, "max_lr": 0.1, "step_size_up": 9, "scale_fn": down,
                  "scale_mode": "iterations"}),
    ("OneCycleLR", {"max_lr": 0.3, "total_steps": 200}),
    ("OneCycleLR", {"max_lr": [0.3, 0.1], "epochs": 20, "steps_per_epoch": 10, "pct_start": 0.4,
                    "anneal_strategy": "linear", "div_factor": 10.0, "final_div_factor": 100.0}),
    ("OneCycleLR", {"max_lr": 0.3, "total_steps": 200, "three_phase": True,
                    "base_momentum": 0.7, "max_momentum": 0.9}),
    ("OneCycleLR", {"max_lr": 0.3, "total_steps": 201, "cycle_momentum": False}),
    ("LambdaLR", {"lr_lambda": down}),
    ("LambdaLR", {"lr_lambda": [down, up]}),
    ("MultiplicativeLR", {"lr_lambda": up}),
]  # fmt: skip


def warm_then_cosine(module: Any, optimizer: Any) -> Any:
    first = module.LinearLR(optimizer, 0.1, total_iters=20)
    then = module.CosineAnnealingLR(optimizer, 100)
    last = module.ConstantLR(optimizer, 0.2, total_iters=30)
    return module.SequentialLR(optimizer, [first, then, last], [20, 120])


def lambda_then_cycle(module: Any, optimizer: Any) -> Any:
    first = module.LambdaLR(optimizer, down)
    then = module.StepLR(optimizer, 10, 0.5)
    return module.SequentialLR(optimizer, [first, then], milestones=[50])


def chain(module: Any, optimizer: Any) -> Any:
    parts = [
        module.ConstantLR(optimizer, 0.1, total_iters=30),
        module.ExponentialLR(optimizer, 0.98),
        module.CosineAnnealingLR(optimizer, 60),
    ]
    return module.ChainedScheduler(parts)


def single(name: str, settings: dict[str, Any]) -> Callable[[Any, Any], Any]:
    return lambda module, optimizer: getattr(module, name)(optimizer, **settings)


MAKERS: list[Any] = [
    *(pytest.param(single(*s), id=f"{s[0]}-{i}") for i, s in enumerate(SCHEDULES)),
    warm_then_cosine,
    lambda_then_cycle,
    chain,
]


def optimizers(name: str = "SGD") -> tuple[Any, Any]:
    """One of pyfast and one of torch, two groups each."""
    settings: dict[str, Any] = {"lr": 0.1} if name == "Adam" else {"lr": 0.1, "momentum": 0.9}
    a = [pf.nn.Parameter(np.ones(2)) for _ in range(2)]
    b = [torch.nn.Parameter(torch.ones(2)) for _ in range(2)]
    groups = [[{"params": [p[0]]}, {"params": [p[1]], "lr": 0.02}] for p in (a, b)]
    return (
        getattr(pf.optim, name)(groups[0], **settings),
        getattr(torch.optim, name)(groups[1], **settings),
    )


def values(optimizer: Any) -> list[float]:
    """Learning rates and momenta."""
    groups = optimizer.param_groups
    return [g["lr"] for g in groups] + [g.get("momentum", g.get("betas", [0])) for g in groups]


def assert_same(a: Any, b: Any, step: int) -> None:
    for x, y in zip(values(a), values(b), strict=True):
        np.testing.assert_allclose(x, y, rtol=1e-12, atol=1e-16, err_msg=f"step {step}")


@pytest.mark.parametrize("name", ["SGD", "Adam"])
@pytest.mark.parametrize("make", MAKERS)
def test_two_hundred_steps_equal_torchs(make: Any, name: str) -> None:
    a, b = optimizers(name)
    ours, reference = make(mine, a), make(theirs, b)
    for step in range(200):
        assert_same(a, b, step)
        np.testing.assert_allclose(ours.get_last_lr(), reference.get_last_lr(), rtol=1e-12)
        ours.step()
        reference.step()


@pytest.mark.parametrize("make", MAKERS)
def test_a_saved_state_goes_on_bit_for_bit(make: Any) -> None:
    whole, half = optimizers()[0], optimizers()[0]
    a, b = make(mine, whole), make(mine, half)
    for _ in range(60):
        a.step()
    b.load_state_dict(json.loads(json.dumps(a.state_dict())))
    half.load_state_dict(whole.state_dict())
    for step in range(60):
        assert values(whole) == values(half), step
        a.step()
        b.step()


@pytest.mark.parametrize(
    ("name", "settings"), [s for s in SCHEDULES if s[0] not in ("CyclicLR", "OneCycleLR")]
)
def test_goes_on_from_a_given_step(name: str, settings: dict[str, Any]) -> None:
    whole, half = optimizers()[0], optimizers()[0]
    scheduler = getattr(mine, name)(whole, **settings)
    for _ in range(23):
        scheduler.step()
    half.load_state_dict(whole.state_dict())
    resumed = getattr(mine, name)(half, **settings, last_epoch=22)
    for _ in range(9):
        np.testing.assert_allclose(values(half), values(whole), rtol=1e-12)
        scheduler.step()
        resumed.step()


def test_warm_restarts_take_fractions_of_epochs() -> None:
    a, b = optimizers()
    ours = mine.CosineAnnealingWarmRestarts(a, 3, 2)
    reference = theirs.CosineAnnealingWarmRestarts(b, 3, 2)
    for step in range(100):
        ours.step(step / 7)
        reference.step(step / 7)
        np.testing.assert_allclose(values(a), values(b), rtol=1e-9)


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"mode": "max", "factor": 0.5, "patience": 3},
        {"threshold_mode": "abs", "threshold": 0.05, "cooldown": 4, "patience": 2},
        {"min_lr": [0.01, 0.001], "factor": 0.3, "patience": 1},
        {"mode": "max", "threshold_mode": "abs", "threshold": 0.01, "eps": 1e-2},
    ],
)
def test_plateau_equals_torchs(settings: dict[str, Any]) -> None:
    a, b = optimizers()
    ours = mine.ReduceLROnPlateau(a, **settings)
    reference = theirs.ReduceLROnPlateau(b, **settings)
    scores = np.random.default_rng(0).random(200) / (1 + np.arange(200) // 20)
    for step, score in enumerate(scores):
        ours.step(score)
        reference.step(score)
        assert_same(a, b, step)
        if step == 100:
            state = json.loads(json.dumps(ours.state_dict()))
            ours = mine.ReduceLROnPlateau(a)
            ours.load_state_dict(state)


def test_warm_up_equals_a_lambda() -> None:
    for decay, tail in [
        ("constant", lambda t: 1.0),
        ("linear", lambda t: 0.1 + 0.9 * max(0.0, (100 - t) / 80)),
        ("cosine", lambda t: 0.1 + 0.45 * (1 + math.cos(math.pi * min(1.0, (t - 20) / 80)))),
    ]:
        a, b = optimizers()
        total = None if decay == "constant" else 100
        ours = mine.WarmupLR(a, 20, total, decay=decay, end_factor=0.1)

        def factor(t: int, tail: Any = tail) -> float:
            return (t + 1) / 20 if t < 20 else tail(t)

        reference = theirs.LambdaLR(b, factor)
        for step in range(150):
            assert_same(a, b, step)
            ours.step()
            reference.step()


def test_inverse_square_root_is_the_papers() -> None:
    optimizer = pf.optim.Adam([pf.nn.Parameter(np.ones(1))], lr=1.0)
    schedule = mine.InverseSquareRootLR(optimizer, 40, d_model=512)
    for step in range(1, 200):
        want = 512**-0.5 * min(step**-0.5, step * 40**-1.5)
        assert schedule.get_last_lr()[0] == pytest.approx(want, rel=1e-12)
        schedule.step()


def test_sequence_of_sequences_and_chains() -> None:
    optimizer = pf.optim.SGD([pf.nn.Parameter(np.ones(1))], lr=1.0)
    first = mine.LinearLR(optimizer, 0.5, total_iters=2)
    chained = mine.ChainedScheduler(
        [mine.ExponentialLR(optimizer, 0.5), mine.ConstantLR(optimizer, 0.1, 2)]
    )
    both = mine.SequentialLR(optimizer, [first, chained], [2])
    seen = []
    for _ in range(6):
        seen.append(both.get_last_lr()[0])
        both.step()
    np.testing.assert_allclose(seen, [0.5, 0.75, 0.1, 0.05, 0.25, 0.125])


def sgd() -> Any:
    return pf.optim.SGD([pf.nn.Parameter(np.ones(1))], lr=0.1)


@pytest.mark.parametrize(
    ("make", "error", "match"),
    [
        (lambda o: mine.StepLR(o, 0), ValueError, "StepLR: step_size must be at least 1, got 0"),
        (lambda o: mine.StepLR(o, 1.5), TypeError, "StepLR: step_size must be an int, got 1.5"),
        (lambda o: mine.StepLR("x", 1), TypeError, "StepLR: optimizer must be an Optimizer"),
        (lambda o: mine.StepLR(o, 3, last_epoch=4), KeyError, "no 'initial_lr' to go on from"),
        (lambda o: mine.StepLR(o, 1, "x"), TypeError, "StepLR: gamma must be a number, got 'x'"),
        (lambda o: mine.StepLR(o, 1, -1.0), ValueError, r"StepLR: gamma must be in \[0.0, inf\]"),
        (lambda o: mine.ExponentialLR(o, math.nan), ValueError, "gamma must be in .*, got nan"),
        (lambda o: mine.MultiStepLR(o, [3], -1), ValueError, "gamma must be in .*, got -1"),
        (lambda o: mine.CyclicLR(o, 1, 2, gamma=-1), ValueError, "gamma must be in .*, got -1"),
        (lambda o: mine.MultiStepLR(o, [-1]), ValueError, "milestones must be at least 0"),
        (lambda o: mine.ConstantLR(o, 2.0), ValueError, r"factor must be in \[0, 1\], got 2.0"),
        (lambda o: mine.LinearLR(o, 0.0), ValueError, r"start_factor must be in \(0, 1\]"),
        (lambda o: mine.LinearLR(o, end_factor=3), ValueError, "end_factor must be in"),
        (lambda o: mine.PolynomialLR(o, 0), ValueError, "total_iters must be at least 1"),
        (lambda o: mine.CosineAnnealingLR(o, 0), ValueError, "T_max must be at least 1"),
        (lambda o: mine.LambdaLR(o, [down, up]), ValueError, "must have 1 functions, got 2"),
        (lambda o: mine.LambdaLR(o, 3), TypeError, "lr_lambda must be callable"),
        (lambda o: mine.OneCycleLR(o, 0.1), ValueError, "needs total_steps, or epochs and"),
        (lambda o: mine.OneCycleLR(o, 0.1, 9, pct_start=2), ValueError, "pct_start must be in"),
        (lambda o: mine.OneCycleLR(o, 0.1, 9, anneal_strategy="x"), ValueError, "anneal_strategy"),
        (lambda o: mine.CyclicLR(o, [1, 2], 3), ValueError, r"base_lr must have one value per"),
        (lambda o: mine.CyclicLR(o, 1, 2, mode="x"), ValueError, "mode must be triangular"),
        (lambda o: mine.SequentialLR(o, [], []), ValueError, "schedulers must not be empty"),
        (lambda o: mine.SequentialLR(o, [mine.StepLR(sgd(), 1)], []), ValueError, "another"),
        (lambda o: mine.SequentialLR(o, [mine.StepLR(o, 1)], [3]), ValueError, "needs 0 mile"),
        (lambda o: mine.SequentialLR(o, [mine.StepLR(o, 1)] * 3, [3, 2]), ValueError, "must rise"),
        (lambda o: mine.ChainedScheduler([mine.ReduceLROnPlateau(o)]), TypeError, "an LRSch"),
        (lambda o: mine.ReduceLROnPlateau(o, "up"), ValueError, "mode must be 'min' or 'max'"),
        (lambda o: mine.ReduceLROnPlateau(o, factor=1.0), ValueError, r"factor must be in \[0, 1"),
        (lambda o: mine.WarmupLR(o, 5, decay="linear"), ValueError, "needs total_steps"),
        (lambda o: mine.WarmupLR(o, 5, 5, "cosine"), ValueError, "total_steps must be at least 6"),
        (lambda o: mine.WarmupLR(o, 5, decay="x"), ValueError, "decay must be constant"),
        (lambda o: mine.InverseSquareRootLR(o, 0), ValueError, "warmup_steps must be at least 1"),
    ],
)
def test_bad_settings(make: Any, error: Any, match: str) -> None:
    with pytest.raises(error, match=match):
        make(sgd())


def test_one_cycle_ends() -> None:
    optimizer = sgd()
    scheduler = mine.OneCycleLR(optimizer, 0.1, total_steps=3)
    for _ in range(3):
        scheduler.step()
    with pytest.raises(ValueError, match="OneCycleLR: has 3 steps, cannot take step 4"):
        scheduler.step()


def test_no_momentum_to_move() -> None:
    optimizer = pf.optim.Adagrad([pf.nn.Parameter(np.ones(1))])
    with pytest.raises(ValueError, match="OneCycleLR: Adagrad has no momentum"):
        mine.OneCycleLR(optimizer, 0.1, 10)
