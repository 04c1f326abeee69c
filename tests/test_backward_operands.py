"""Operands that don't fit, at every function of `pyfast._core`.

The kernels' backward functions trust nothing they are handed: saved statistics, indices and
gradients are held against forward's shapes. operand_recorder.py writes down valid calls as the ops
make them, operand_worker.py changes each of their arguments, in a process per family.
"""

from __future__ import annotations

import pickle
from pathlib import Path

import pytest
from cases import all_cases
from interpreter import python
from operand_worker import kernels

# Functions without operands, which have tests of their own.
WITHOUT_OPERANDS = {
    "conv_packed",
    "cpu_info",
    "float32_matmul_precision",
    "fma_peak",
    "gemm_digits",
    "gemm_plan",
    "isa",
    "isa_env_problem",
    "linear_packed",
    "num_threads",
    "philox4x32",
    "pool_clear",
    "pool_set_cache_limit",
    "pool_statistics",
    "set_float32_matmul_precision",
    "set_num_threads",
    "simd_selftest",
    "use_reference",
}
FAMILIES = sorted({case.samples.__module__ for case in all_cases()} | {"core", "optim"})


@pytest.fixture(scope="module")
def calls(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("operands") / "calls.pickle"
    python(str(Path(__file__).with_name("operand_recorder.py")), str(path))
    return path


def test_every_kernel_is_called_by_every_family(calls: Path) -> None:
    called = pickle.loads(calls.read_bytes())
    assert {call.function for call in called} == set(kernels()) - WITHOUT_OPERANDS
    assert {call.family for call in called} == set(FAMILIES)


@pytest.mark.parametrize("family", FAMILIES)
def test_operands_that_do_not_fit(family: str, calls: Path, tmp_path: Path) -> None:
    log = tmp_path / "call.txt"
    worker = Path(__file__).with_name("operand_worker.py")
    done = python(str(worker), str(calls), family, str(log), check=False, timeout=120)
    call = log.read_text() if log.exists() else "no call was made"
    assert done.returncode == 0, f"status {done.returncode} in {call}\n{done.stderr[-3000:]}"
    assert not done.stdout, done.stdout[:6000]
