"""The console script, as a user starts it."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from interpreter import python

import pyfast as pf


def pyfast(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return python("-m", "pyfast.cli", *arguments, check=False, **environment)


def test_info(tmp_path: Path) -> None:
    file = tmp_path / "info.json"
    done = pyfast("info", "--json", str(file), PYFAST_ISA="scalar", PYFAST_NUM_THREADS="3")
    assert done.returncode == 0, done.stderr
    figures = json.loads(file.read_text())
    assert figures["version"] == pf.__version__
    assert figures["isa"] == "scalar"
    assert figures["threads"] == 3
    assert figures["peak_gflops"]["float32"] > 0
    assert figures["cuda"]["available"] is False
    for word in ("ISA", "scalar", "threads", "3 of", "caches", "FMA peak", "CUDA"):
        assert word in done.stdout


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any], str]:
    folder = tmp_path_factory.mktemp("demo")
    file = folder / "demo.json"
    done = pyfast("demo", "--epochs", "3", "--output", str(folder / "out"), "--json", str(file))
    assert done.returncode == 0, done.stderr
    return folder / "out", json.loads(file.read_text()), done.stdout


def test_demo_learns_and_says_so(demo: tuple[Path, dict[str, Any], str]) -> None:
    _, figures, text = demo
    assert figures["accuracy"] > 0.95
    assert f"{figures['accuracy']:.2%}" in text
    assert np.sum(figures["confusion"]) == 450
    assert np.trace(figures["confusion"]) == round(450 * figures["accuracy"])
    assert [h["epoch"] for h in figures["history"]] == [1, 2, 3]


def test_demo_saves_weights_that_give_the_same_accuracy(
    demo: tuple[Path, dict[str, Any], str],
) -> None:
    from pyfast import demo as module

    folder, figures, _ = demo
    model = module.build_model()
    model.load_state_dict(pf.load(folder / "digits.safetensors"))
    held_out = module.load_digits()[1]
    predictions = module.evaluate(model, held_out)[1]
    assert np.mean(predictions == held_out[1]) == figures["accuracy"]
    assert (folder / "digits.png").stat().st_size > 20_000


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("demo", "--epochs", "0"), "--epochs must be at least 1, got 0"),
        (("nonsense",), "invalid choice"),
        ((), "COMMAND"),
        (("bench", "--peers", "abacus"), "unknown peer 'abacus'"),
        (("bench", "--threads", "0"), "at least 1"),
    ],
)
def test_bad_usage(arguments: tuple[str, ...], message: str) -> None:
    done = pyfast(*arguments)
    assert done.returncode == 2
    assert message in done.stderr
    assert "Traceback" not in done.stderr


def test_a_missing_extra_gets_one_line() -> None:
    script = (
        "import importlib.util as u, sys\n"
        "find = u.find_spec\n"
        "u.find_spec = lambda n, *a: None if n == 'sklearn' else find(n, *a)\n"
        "from pyfast.cli import main\n"
        "sys.exit(main(['demo']))\n"
    )
    done = python("-c", script, check=False)
    assert done.returncode == 2
    assert done.stderr.splitlines() == [
        "pyfast demo: sklearn is not installed: pip install 'pyfast-nn[demo]'"
    ]
