"""Throws arbitrary calls at one op; run by test_fuzz.py in a process of its own.

    python tests/fuzz_worker.py OP EXAMPLES LOG

A call starts from one of the op's samples, of which hypothesis replaces any arguments by arbitrary
ones. ValueError, TypeError, IndexError and MemoryError are answers; other exceptions fail, and a
signal is seen by the parent. LOG always holds the call that is running.
"""

from __future__ import annotations

import inspect
import sys
import warnings
from pathlib import Path
from typing import Any

import numpy as np
from cases import OpCase, all_cases
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from memory_limit import limit_memory
from oracle import floating

import pyfast as pf

ANSWERS = (ValueError, TypeError, IndexError, MemoryError)

INTEGERS = st.sampled_from(
    [-(2**63), -(2**31), -100, -2, -1, 0, 1, 2, 3, 4, 7, 2**31, 2**40, 2**62, 2**63 - 1, 2**70]
)
SMALL = st.integers(-2, 5)
SCALARS = st.one_of(
    SMALL,
    INTEGERS,
    st.floats(allow_nan=True, allow_infinity=True),
    st.booleans(),
    st.none(),
    st.sampled_from(["same", "valid", "mean", "none", "relu", "gelu", "reflect", "", "xyz"]),
)
TUPLES = st.lists(st.one_of(SMALL, INTEGERS), max_size=5).map(tuple)
DTYPES = st.sampled_from(["f4", "f8", "f2", "i8", "i4", "u1", "?", "c8", ">f4"])


@st.composite
def arrays(draw: Any, shape: tuple[int, ...] | None = None) -> Any:
    """Any dtype, any small shape (zeros included), any strides, values with nan and inf."""
    if shape is None:
        shape = tuple(draw(st.lists(st.integers(0, 6), max_size=5)))
    dtype = np.dtype(draw(DTYPES))
    r = np.random.default_rng(draw(st.integers(0, 99)))
    a = np.asarray(3 * r.standard_normal(shape))
    if draw(st.booleans()) and a.size:
        a.reshape(-1)[r.integers(a.size)] = r.choice([np.nan, np.inf, -np.inf, 1e38, 1e-40])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        a = a.astype(dtype)
    layout = draw(st.sampled_from(["c", "fortran", "reversed", "broadcast", "stepped"]))
    if layout == "fortran":
        return np.asfortranarray(a)
    if layout == "reversed":
        return a[(slice(None, None, -1),) * a.ndim]
    if layout == "broadcast" and a.ndim:
        return np.broadcast_to(a[:1], a.shape) if len(a) else a
    if layout == "stepped" and a.ndim:
        return np.repeat(a, 2, axis=-1)[..., ::2]
    return a


def replacement(value: Any) -> Any:
    """A strategy for what may stand in an argument's place."""
    choices = [SCALARS, TUPLES, arrays()]
    if isinstance(value, np.ndarray):
        choices += [arrays(value.shape), arrays(value.shape)]
        if value.ndim:
            choices.append(arrays(value.shape[1:]))
            choices.append(arrays((1, *value.shape[1:])))
    return st.one_of(choices)


@st.composite
def calls(draw: Any, case: OpCase) -> Any:
    sample = draw(st.sampled_from(list(case.samples()))).cast(draw(st.sampled_from(["f4", "f8"])))
    names = list(inspect.signature(getattr(pf.ops, case.name)).parameters)
    arguments = dict(zip(names, sample.args, strict=False)) | sample.kwargs
    for name in draw(st.lists(st.sampled_from(names), min_size=0, max_size=3, unique=True)):
        arguments[name] = draw(replacement(arguments.get(name)))
    return arguments


def attempt(case: OpCase, arguments: dict[str, Any], log: Path) -> None:
    """One call on arrays and one through the tape, backward included."""
    log.write_text(f"{case.name}({arguments!r})")
    function = getattr(pf.ops, case.name)
    kept = {k: v.copy() if isinstance(v, np.ndarray) else v for k, v in arguments.items()}
    try:
        function(**kept)
        taped = {
            k: pf.Tensor(v, requires_grad=True)
            if isinstance(v, np.ndarray) and v.dtype in (np.float32, np.float64)
            else v
            for k, v in arguments.items()
        }
        first = floating(function(**taped))[0]
        if isinstance(first, pf.Tensor) and first.requires_grad:
            first.backward(np.ones(first.shape, first.dtype))
    except ANSWERS:
        pass


def main(name: str, examples: int, log: Path) -> None:
    limit_memory()
    warnings.simplefilter("ignore")
    case = next(c for c in all_cases() if c.name == name)

    @settings(
        max_examples=examples,
        deadline=None,
        derandomize=True,
        database=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(calls(case))
    def run(arguments: dict[str, Any]) -> None:
        attempt(case, arguments, log)

    run()


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), Path(sys.argv[3]))
