"""A run that is killed and goes on ends with the bits of the run that was not.

``python tests/test_resume.py 50`` kills fifty times and prints what came of it.
"""

from __future__ import annotations

import os
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest

import pyfast as pf

WORKER = Path(__file__).with_name("training_worker.py")


def start(folder: Path, epochs: int, every: int) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, str(WORKER), str(folder), str(epochs), str(every)],
        stdout=subprocess.PIPE,
        text=True,
        cwd=tempfile.gettempdir(),
        env={**os.environ, "PYTHONPATH": str(Path(pf.__file__).parents[1])},
    )


def finish(folder: Path, epochs: int, every: int) -> bytes:
    with start(folder, epochs, every) as process:
        process.communicate(timeout=300)
        assert process.returncode == 0
    return (folder / "model.safetensors").read_bytes()


def kill_once(folder: Path, epochs: int, every: int, delay: float) -> bool:
    """Kill a run `delay` seconds after training began; False if it had ended by then."""
    with start(folder, epochs, every) as process:
        assert process.stdout is not None
        process.stdout.readline()  # "training"
        time.sleep(delay)
        process.kill()
        process.wait(timeout=60)
        return process.returncode == -9


def check_whole(folder: Path) -> None:
    """Every file with a final name is a whole one."""
    for path in folder.glob("*.safetensors"):
        pf.load(path)
    table = folder / "history.csv"
    if table.exists():
        lines = table.read_text().splitlines()
        assert len({line.count(",") for line in lines}) == 1


def interrupted(folder: Path, kills: int, epochs: int, every: int, longest: float) -> int:
    """Kill runs at random moments until `kills` were hit under way; how many were started."""
    r = random.Random(0)
    started = hits = 0
    while hits < kills and started < 3 * kills:
        hits += kill_once(folder, epochs, every, r.uniform(0.0, longest))
        started += 1
        check_whole(folder)
    assert hits == kills
    return started


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs SIGKILL")
def test_killed_runs_end_with_the_same_bits(tmp_path: Path) -> None:
    epochs, every = 60, 2
    whole = finish(tmp_path / "whole", epochs, every)
    interrupted(tmp_path / "killed", 5, epochs, every, 0.12)
    assert finish(tmp_path / "killed", epochs, every) == whole
    assert not list((tmp_path / "killed").glob(".*"))  # what kills left behind is gone
    rows = [
        [line.rsplit(",", 1)[0] for line in (tmp_path / run / "history.csv").read_text().split()]
        for run in ("whole", "killed")
    ]
    assert rows[0] == rows[1]  # all but the seconds


def marathon(kills: int) -> None:
    """Many kills over one long run, and its final weights against an uninterrupted run's."""
    epochs, every = 30 * kills, 2
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        begin = time.perf_counter()
        whole = finish(folder / "whole", epochs, every)
        seconds = time.perf_counter() - begin
        started = interrupted(folder / "killed", kills, epochs, every, seconds / kills)
        same = finish(folder / "killed", epochs, every) == whole
        print(f"{kills} kills of a run under way ({started} started); no torn file; ", end="")
        print(f"final weights {'equal bit for bit' if same else 'DIFFER'}")
        raise SystemExit(not same)


if __name__ == "__main__":
    marathon(int(sys.argv[1]) if len(sys.argv) > 1 else 50)
