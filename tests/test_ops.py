"""Every invariant over every op's record (tests/cases).

A failure names op and sample; to run one op: ``pytest tests/test_ops.py -k "softmax"``.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from cases import Bad, OpCase, Sample, all_cases
from oracle import (
    assert_close,
    floating,
    function,
    gradient_positions,
    map_sample,
    numerical_gradient,
    reference_mode,
    run_pyfast,
    run_torch,
    threads,
)

import pyfast as pf

CASES = all_cases()
DTYPES = [np.float32, np.float64]


def each_op(**options: bool) -> Any:
    chosen = [c for c in CASES if all(getattr(c, k) == v for k, v in options.items())]
    return pytest.mark.parametrize("case", chosen, ids=lambda c: c.name)


def tolerance(case: OpCase, dtype: Any) -> tuple[float, float]:
    return (case.rtol, case.atol) if dtype == np.float32 else (case.rtol64, case.rtol64)


def strided(a: np.ndarray[Any, Any], how: str) -> np.ndarray[Any, Any]:
    """The same values behind other strides."""
    if a.ndim == 0:
        return a
    if how == "fortran":
        return np.asfortranarray(a)
    if how == "channels_last":
        return np.moveaxis(np.ascontiguousarray(np.moveaxis(a, 1, -1)), -1, 1) if a.ndim > 2 else a
    if how == "reversed":
        flip = (slice(None, None, -1),) * a.ndim
        return np.ascontiguousarray(a[flip])[flip]
    wide = np.zeros(tuple(2 * n + 1 for n in a.shape), a.dtype)
    view = wide[tuple(slice(1, None, 2) for _ in a.shape)]
    view[...] = a
    return view


def test_every_op_has_a_record() -> None:
    names = [c.name for c in CASES]
    assert len(names) == len(set(names))
    assert set(names) == set(pf.ops.__all__)


@each_op()
def test_records_are_complete(case: OpCase) -> None:
    assert len(case.samples()) >= 30
    assert len(case.bad()) >= 10
    assert len(case.large()) >= 1


@pytest.mark.parametrize("dtype", DTYPES)
@each_op(oracle=True)
def test_matches_torch(case: OpCase, dtype: Any) -> None:
    rtol, atol = tolerance(case, dtype)
    for sample in [*case.samples(), *case.large()]:
        cast = sample.cast(dtype)
        outputs, gradients = run_pyfast(case, cast)
        wanted, wanted_gradients = run_torch(case, cast)
        assert len(outputs) == len(wanted)
        for got, want in zip(outputs, wanted, strict=True):
            assert_close(got, want, rtol, atol, f"{case.name}({cast})")
        positions = gradient_positions(case, cast)
        for i, got, want in zip(positions, gradients, wanted_gradients, strict=True):
            assert_close(got, want, rtol, atol, f"gradient {i} of {case.name}({cast})")


@pytest.mark.parametrize("dtype", DTYPES)
@each_op()
def test_matches_reference(case: OpCase, dtype: Any) -> None:
    rtol, atol = tolerance(case, dtype)
    for sample in [*case.samples(), *case.large()]:
        cast = sample.cast(dtype)
        outputs, gradients = run_pyfast(case, cast)
        with reference_mode():
            wanted, wanted_gradients = run_pyfast(case, cast)
        for got, want in zip([*outputs, *gradients], [*wanted, *wanted_gradients], strict=True):
            assert_close(got, want, rtol, atol, f"{case.name}({cast}) against the reference")


@each_op()
def test_gradients_match_finite_differences(case: OpCase) -> None:
    checked: list[int] = []
    for sample in filter(case.derivative, case.samples()):
        cast = sample.cast(np.float64)
        positions = gradient_positions(case, cast)
        outputs, gradients = run_pyfast(case, cast)
        if not all(np.isfinite(a).all() for a in floating(outputs)):
            continue  # infinities have no differences; their gradients are held against torch's
        for i, gradient in zip(positions, gradients, strict=True):
            if gradient.size == 0 or not np.isfinite(cast.args[i]).all():
                continue
            direction = np.asarray(np.random.default_rng(i).standard_normal(gradient.shape))
            got = float(np.sum(gradient * direction))
            want = numerical_gradient(case, cast, i, direction)
            norm = float(np.sqrt(np.sum(gradient**2) * np.sum(direction**2))) + 1e-3
            assert abs(got - want) <= 1e-6 * norm, f"gradient {i} of {case.name}({cast})"
            checked.append(i)
    assert set(checked) == set(case.differentiable)
    assert len(checked) >= 10 or not case.differentiable


@pytest.mark.parametrize("how", ["fortran", "channels_last", "reversed", "stepped"])
@each_op()
def test_strides_do_not_matter(case: OpCase, how: str) -> None:
    rtol, atol = tolerance(case, np.float32)
    for sample in case.samples():
        cast = sample.cast(np.float32)
        outputs, gradients = run_pyfast(case, cast)
        moved = map_sample(cast, lambda a: strided(a, how))
        got_outputs, got_gradients = run_pyfast(case, moved)
        for got, want in zip([*got_outputs, *got_gradients], [*outputs, *gradients], strict=True):
            assert_close(got, want, rtol, atol, f"{case.name}({cast}), {how}")


@each_op()
def test_any_number_of_threads_gives_the_same_bits(case: OpCase) -> None:
    for sample in [*case.large(), *case.samples()[:8]]:
        cast = sample.cast(np.float32)
        with threads(1):
            outputs, gradients = run_pyfast(case, cast)
        for n in (2, 3, 7):
            with threads(n):
                got_outputs, got_gradients = run_pyfast(case, cast)
            for got, want in zip(
                [*got_outputs, *got_gradients], [*outputs, *gradients], strict=True
            ):
                assert got.tobytes() == want.tobytes(), f"{case.name}({cast}), {n} threads"


@each_op()
def test_kinds_in_and_out(case: OpCase) -> None:
    sample = case.samples()[0].cast(np.float32)
    f = function(case)

    def call(s: Sample) -> list[Any]:
        pf.manual_seed(0)
        outputs = f(*s.args, **s.kwargs)
        return list(outputs) if isinstance(outputs, tuple | list) else [outputs]

    plain = call(sample)
    for kind, make, back in [
        (pf.Tensor, pf.Tensor, lambda t: t.numpy()),
        (torch.Tensor, torch.from_numpy, lambda t: t.numpy()),
    ]:
        outputs = call(map_sample(sample, make))
        for got, want in zip(outputs, plain, strict=True):
            assert type(want) is np.ndarray
            assert isinstance(got, kind)
            np.testing.assert_array_equal(back(got), want)


@each_op()
def test_inputs_are_left_alone(case: OpCase) -> None:
    for sample in case.samples()[:5]:
        cast = sample.cast(np.float32)
        copy = map_sample(cast, np.copy)
        run_pyfast(case, cast)
        for before, after in zip(copy.args, cast.args, strict=True):
            if isinstance(before, np.ndarray):
                np.testing.assert_array_equal(before, after)


def bad_calls() -> list[Any]:
    return [
        pytest.param(case, bad, id=f"{case.name}-{i}")
        for case in CASES
        for i, bad in enumerate(case.bad())
    ]


@pytest.mark.parametrize(("case", "bad"), bad_calls())
def test_bad_input_raises_one_clear_error(case: OpCase, bad: Bad) -> None:
    with pytest.raises(bad.error, match=bad.match) as caught:
        function(case)(*bad.args, **bad.kwargs)
    assert case.name in str(caught.value), f"the message does not name the op: {caught.value}"
