"""Operands that don't fit, at every function of `pyfast._core`.

The kernels' backward functions trust nothing they are handed: saved statistics, indices and
gradients are held against forward's shapes. Valid calls are recorded from the ops' records, then
operand_worker.py changes each of their arguments, a process per family.
"""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from cases import all_cases
from operand_worker import Call, parameters
from oracle import run_pyfast

import pyfast as pf
from pyfast import _core

# Functions without operands: asked about below, or about the machine.
WITHOUT_OPERANDS = {
    "cpu_info",
    "fma_peak",
    "isa",
    "isa_env_problem",
    "num_threads",
    "philox4x32",
    "pool_clear",
    "pool_set_cache_limit",
    "pool_statistics",
    "set_num_threads",
    "simd_selftest",
    "use_reference",
}
VARIANTS = 3  # recorded calls of one function, which differ in which arguments are given
FAMILIES = sorted({case.samples.__module__ for case in all_cases()} | {"optim", "simd"})


def kernels() -> list[str]:
    return [n for n in dir(_core) if callable(getattr(_core, n)) and not n.startswith("_")]


def alike(call: Call) -> tuple[Any, ...]:
    """The same for two calls that give the same kinds of arguments."""
    return tuple(
        (a.ndim, a.dtype.kind) if isinstance(a, np.ndarray) else type(a) for a in call.args.values()
    )


def private(value: Any) -> Any:
    if isinstance(value, list):
        return [private(v) for v in value]
    return value.copy() if isinstance(value, np.ndarray) else value


def elements(call: Call) -> int:
    arrays = (a[0] if isinstance(a, list) and a else a for a in call.args.values())
    return sum(a.size for a in arrays if isinstance(a, np.ndarray))


@contextmanager
def recording(family: str, calls: dict[Any, Call]) -> Iterator[None]:
    """Keep the calls of `_core` made meanwhile: the smallest of those that are alike."""

    def recorder(name: str, kernel: Callable[..., Any]) -> Callable[..., Any]:
        names = parameters(name)

        def call(*args: Any, **more: Any) -> Any:
            given = dict(zip(names, args, strict=False)) | more
            made = Call(family, name, {k: private(v) for k, v in given.items()})
            key = (name, alike(made))
            if elements(made) and (key not in calls or elements(made) < elements(calls[key])):
                calls[key] = made
            return kernel(*args, **more)

        return call

    with pytest.MonkeyPatch.context() as patch:
        for name in kernels():
            patch.setattr(_core, name, recorder(name, getattr(_core, name)))
        yield


def optimize(**options: Any) -> None:
    """Two steps of every optimizer."""
    for make in (pf.optim.SGD, pf.optim.Adam, pf.optim.AdamW):
        w = pf.nn.Parameter(np.arange(6.0, dtype=np.float32).reshape(2, 3))
        chosen = {k: v for k, v in options.items() if (k == "momentum") == (make is pf.optim.SGD)}
        optimizer = make([w], lr=0.1, **chosen)
        for _ in range(2):
            w.grad = pf.Tensor(np.ones((2, 3), np.float32))
            optimizer.step()


def valid_calls() -> list[Call]:
    """A few real calls of every kernel with operands."""
    calls: dict[Any, Call] = {}
    for case in all_cases():
        with recording(case.samples.__module__, calls):
            for sample in case.samples():
                run_pyfast(case, sample.cast(np.float32))
    with recording("optim", calls):
        optimize()
        optimize(momentum=0.9, amsgrad=True)
    with recording("simd", calls):
        _core.simd_evaluate("exp", np.ones((2, 3), np.float32))
    kept: dict[str, list[Call]] = {}
    for call in sorted(calls.values(), key=elements):
        kept.setdefault(call.function, []).append(call)
    return [call for group in kept.values() for call in most_given(group)]


def most_given(group: list[Call]) -> list[Call]:
    """The calls that leave fewest arguments None."""
    return sorted(group, key=lambda c: sum(a is None for a in c.args.values()))[:VARIANTS]


@pytest.fixture(scope="module")
def calls(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("operands") / "calls.pickle"
    path.write_bytes(pickle.dumps(valid_calls()))
    return path


def test_every_kernel_was_called(calls: Path) -> None:
    called = {call.function for call in pickle.loads(calls.read_bytes())}
    assert called == set(kernels()) - WITHOUT_OPERANDS


@pytest.mark.parametrize("family", FAMILIES)
def test_operands_that_do_not_fit(family: str, calls: Path, tmp_path: Path) -> None:
    log = tmp_path / "call.txt"
    worker = Path(__file__).with_name("operand_worker.py")
    done = subprocess.run(
        [sys.executable, str(worker), str(calls), family, str(log)],
        capture_output=True,
        text=True,
        timeout=120,
        env={**os.environ, "PYTHONPATH": str(Path(pf.__file__).parents[1])},
        check=False,
    )
    call = log.read_text().splitlines()[0] if log.exists() else "no call was made"
    assert done.returncode == 0, f"status {done.returncode} in {call}\n{done.stderr[-3000:]}"
    assert not done.stdout, done.stdout[:6000]
