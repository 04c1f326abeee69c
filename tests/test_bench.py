"""The benchmarks: every shape can be prepared and agrees with its peers; reports are whole."""

from __future__ import annotations

import importlib
import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pyfast.extras import load_bench

if load_bench("cli") is None:
    pytest.skip("bench is neither installed nor beside the tests", allow_module_level=True)

PACKAGE = load_bench("cli").__name__.rpartition(".")[0]  # type: ignore[union-attr]


def bench(module: str) -> Any:
    return importlib.import_module(f"{PACKAGE}.{module}")


FAMILIES = bench("families").FAMILIES


@pytest.mark.parametrize("family", FAMILIES, ids=lambda f: f.name)
@pytest.mark.parametrize("peer", ["pyfast packed", "numpy", "torch", "torch-channels-last"])
def test_peers_compute_the_same(family: Any, peer: str) -> None:
    shape = min(family.shapes, key=lambda s: s.work)
    arrays = shape.arrays()
    call = bench("peers").prepare(peer, family, arrays, shape.params, threads=1)
    expected = family.pyfast(arrays, shape.params)()
    if call is not None:
        assert bench("cli").disagreement(np, call(), expected, family.rtol) == ""


@pytest.mark.parametrize("family", FAMILIES, ids=lambda f: f.name)
def test_builders_stand_where_they_belong(family: Any) -> None:
    """Given by position, they once moved by one: peers were left out in silence."""
    for field, word in [("jax", "onnx"), ("onnx", "jax"), ("torch_compile", "jax")]:
        builder = getattr(family, field)
        assert builder is None or word not in builder.__name__
    if family.name.startswith("model "):
        return
    assert family.torch_compile is None
    if family.name in ("conv2d", "linear", "softmax", "max_pool2d", "layer_norm", "attention"):
        assert family.onnx is not None


def test_disagreement_is_noticed() -> None:
    disagreement = bench("cli").disagreement
    assert disagreement(np, np.ones(3), np.ones(3), 1e-3) == ""
    assert "differs" in disagreement(np, np.ones(3) * 1.1, np.ones(3), 1e-3)
    assert "differs" in disagreement(np, np.full(3, np.nan), np.ones(3), 1e-3)


def test_table_json_and_picture(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    report = bench("report")
    results = [
        report.Result("conv2d", "a", 2e9, "flop", {"pyfast": 0.01, "numpy": 0.04, "torch": 0.02}),
        report.Result("conv2d", "b", 1e9, "flop", {"pyfast": 0.02, "torch": 0.01}),
        report.Result("softmax", "c", 1e6, "byte", {"pyfast": 0.01}, {"jax": "ValueError: no"}),
    ]
    text = report.table(results, ["numpy", "torch"])
    assert "200.0 Gflop/s" in text
    assert "conv2d: geometric mean 1.00, worst 0.50" in text
    assert "softmax c: jax left out: ValueError: no" in text
    report.write_json(tmp_path / "r.json", results, {"isa": "x"})
    rows = json.loads((tmp_path / "r.json").read_text())["results"]
    assert [r["ratio"] for r in rows] == [2.0, 0.5, None]
    report.write_png(tmp_path / "r.png", results)
    assert (tmp_path / "r.png").read_bytes()[:4] == b"\x89PNG"
    assert math.isclose(report.geometric_mean([4.0, 1.0]), 2.0)


def test_prepared_weights_stand_beside_the_plain_call() -> None:
    report = bench("report")
    times = {"pyfast": 0.04, "pyfast packed": 0.01, "torch": 0.02}
    results = [
        report.Result("linear", "a", 1e9, "flop", times),
        report.Result("softmax", "b", 1e9, "byte", {"pyfast": 0.01, "torch": 0.02}),
    ]
    assert results[0].fastest_peer == "torch"  # prepared pyfast is no peer
    assert (results[0].ratio, results[0].packed_ratio) == (0.5, 2.0)
    text = report.table(results, ["torch"])
    assert "linear, packed: geometric mean 2.00, worst 2.00" in text
    assert "softmax, packed" not in text
    assert "packed ratio" not in report.table(results[1:], ["torch"])


def test_medians_are_taken_in_turn() -> None:
    order: list[str] = []
    calls = {name: lambda name=name: order.append(name) for name in "ab"}
    seconds = bench("timing").in_turn(calls, rounds=3, sample_seconds=0.0)
    assert set(seconds) == {"a", "b"}
    assert "".join(order[4:]) == "aabb" * 3  # after calibration: a call to warm up, one timed


def test_isa_is_handed_over_once() -> None:
    without = bench("cli").without_isa
    assert without(["--isa", "avx2", "--threads", "2"]) == ["--threads", "2"]
    assert without(["--filter=x", "--isa=avx2"]) == ["--filter=x"]


def test_saved_runs_become_a_page(tmp_path: Path) -> None:
    report = bench("report")
    machine = {"isa": "avx2", "threads": 2, "rounds": 5, "peers": ["torch", "jax"], "filter": "x y",
               "limits": {"ATEN_CPU_CAPABILITY": "avx2"}}  # fmt: skip
    times = {"pyfast": 0.04, "pyfast packed": 0.01, "torch": 0.02}
    results = [
        report.Result("conv2d", "8x3", 1e9, "flop", times),
        report.Result("conv2d", "8x4", 1e9, "flop", {"pyfast": 0.01, "jax": 0.03}),
        report.Result("softmax", "c", 1e6, "byte", {"pyfast": 0.01}, {"jax": "ValueError: no"}),
    ]
    report.write_json(tmp_path / "r.json", results, machine)
    arguments = [str(tmp_path / "r.json"), "--output", str(tmp_path / "page.md")]
    assert bench("markdown").main(arguments) == 0
    lines = (tmp_path / "page.md").read_text().splitlines()
    command = "ATEN_CPU_CAPABILITY=avx2 python -m bench --isa avx2 --threads 2 --rounds 5"
    assert f"- avx2, 2 threads: `{command} --peers torch,jax --filter 'x y'`" in lines
    assert "| family | avx2, 2 threads |" in lines
    assert "| conv2d, batch 8 | 1.22; 0.50; 1 of 2 |" in lines
    assert "| conv2d, batch 8, packed | 2.00; 2.00; 0 of 1 |" in lines
    assert "| 8x3 | 40000 | 10000 | 20000 |  | 25.0 Gflop/s | 0.50 | 2.00 |" in lines
    assert "Left out: jax on c: ValueError: no" in lines
    assert not any(line.startswith("| softmax") for line in lines)  # nobody to compare with
