"""Arbitrary arguments at every op, each in its own process: exceptions are fine, signals never."""

from __future__ import annotations

from pathlib import Path

import pytest
from cases import OpCase, all_cases
from interpreter import python

EXAMPLES = 60


@pytest.mark.parametrize("case", all_cases(), ids=lambda c: c.name)
def test_no_call_ends_the_process(case: OpCase, tmp_path: Path) -> None:
    log = tmp_path / "call.txt"
    worker = Path(__file__).with_name("fuzz_worker.py")
    done = python(str(worker), case.name, str(EXAMPLES), str(log), check=False)
    call = log.read_text() if log.exists() else "no call was made"
    assert done.returncode == 0, f"status {done.returncode} in {call[:2000]}\n{done.stderr[-3000:]}"
