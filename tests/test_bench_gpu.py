"""bench/gpu.py and bench/gpu_session.sh without a GPU: on CPU tensors and made-up times."""

from __future__ import annotations

import importlib
import json
import os
import subprocess
import types
from pathlib import Path
from typing import Any

import pytest
import torch
from fake_cupy import HostTorch

import pyfast as pf
from pyfast.extras import load_bench

if load_bench("cli") is None:
    pytest.skip("bench is neither installed nor beside the tests", allow_module_level=True)

PACKAGE = load_bench("cli").__name__.rpartition(".")[0]  # type: ignore[union-attr]
gpu: Any = importlib.import_module(f"{PACKAGE}.gpu")
ROOT = Path(__file__).parent.parent
SESSION = ROOT / "bench" / "gpu_session.sh"


class Event:
    """Every call takes 2 ms."""

    def __init__(self, enable_timing: bool) -> None: ...

    def record(self) -> None: ...

    def elapsed_time(self, end: Any) -> float:
        return 2.0


class CpuTorch:
    """PyTorch whose CUDA tensors lie on the CPU."""

    cuda = types.SimpleNamespace(Event=Event, synchronize=lambda: None)

    def __getattr__(self, name: str) -> Any:
        given = getattr(torch, name)
        if name not in ("randn", "rand", "randint", "arange", "tensor", "zeros", "ones", "empty"):
            return given

        def made(*sizes: Any, device: str, **options: Any) -> Any:
            assert device == "cuda"
            return given(*sizes, **options)

        return made


@pytest.fixture
def on_cpu(monkeypatch: pytest.MonkeyPatch) -> Any:
    from pyfast.cuda import frameworks
    from pyfast.ops import _dispatch

    where = _dispatch.backend_for
    monkeypatch.setattr(
        _dispatch,
        "backend_for",
        lambda a, op: "cuda" if isinstance(a, torch.Tensor) else where(a, op),
    )
    monkeypatch.setattr(frameworks, "kernels_of", lambda value, op: HostTorch())
    monkeypatch.setattr(torch.backends.cudnn, "benchmark", False)
    return CpuTorch()


LAYERS = [(3, 4, 9, 3, 2), (4, 6, 5, 1, 1), (2, 3, 8, 7, 2)]


def small_works(on_cpu: Any) -> Any:
    return gpu.convolutions(on_cpu, pf, layers=LAYERS, dtypes=("float32",), batch=2)


def listed(result: Any) -> Any:
    return result if isinstance(result, tuple) else (result,)


def test_both_sides_of_a_convolution_compute_the_same(on_cpu: Any) -> None:
    works = list(small_works(on_cpu))
    assert len(works) == 3 * len(LAYERS)
    for work in works:
        ours, theirs = listed(work.pyfast()), listed(work.peers["cudnn"]())
        assert [a.shape for a in ours] == [b.shape for b in theirs]
        if "backward" not in work.row.op:  # whose incoming gradients are drawn
            torch.testing.assert_close(ours[0], theirs[0], rtol=1e-4, atol=1e-4)
    first = works[0].row
    assert first.flops == 2 * (2 * 5 * 5) * 4 * (3 * 3 * 3)
    assert first.moved == 4 * (2 * 3 * 9 * 9 + 4 * 3 * 3 * 3 + 2 * 4 * 5 * 5)


def outcome(call: Any) -> Any:
    """What a call gives; its message where PyTorch's backends are a GPU's."""
    try:
        return listed(call())
    except (RuntimeError, NotImplementedError) as problem:
        return str(problem)


def small_everything(on_cpu: Any) -> Any:
    yield from gpu.attention(on_cpu, pf, 256)
    yield from gpu.memory_bound(on_cpu, pf, [(6, 40)], [(2, 8, 9)], [7, 100])
    lie = {"layout": "contiguous_format"}
    yield from gpu.convolutions(on_cpu, pf, LAYERS[:1], ("float32",), batch=2, **lie)


@pytest.mark.filterwarnings("ignore")  # PyTorch's, of backends that a CPU lacks
def test_every_work_runs_and_both_sides_agree(on_cpu: Any) -> None:
    """On float32, small: a call that is written wrongly must not wait for a GPU to be found."""
    on_cpu.bfloat16 = torch.float32
    names, compared = [], 0
    for work in small_everything(on_cpu):
        ours = outcome(work.pyfast)
        assert not isinstance(ours, str), (work.row, ours)
        names.append(work.row.op)
        for peer in work.peers.values():
            theirs = outcome(peer)
            if isinstance(theirs, str) or "backward" in work.row.op or "step" in work.row.op:
                continue
            torch.testing.assert_close(ours[0], theirs[0], rtol=1e-4, atol=1e-4)
            compared += 1
        assert set(work.late) <= {"compile"}
    assert compared > 20
    assert {"attention backward", "rms_norm", "max_pool2d 3/2 channels last backward"} <= {*names}
    assert {"AdamW step", "conv2d, channels first backward"} <= {*names}


def test_goals_name_what_was_reached_and_what_was_not_timed() -> None:
    found = {"copy_bytes_per_s": 1e9, "bf16_flops": 1e15}
    rows = [
        gpu.Row("softmax", "1", "float32", moved=900, times={"pyfast": 1e-6, "eager": 2e-6}),
        gpu.Row("layer_norm backward", "1", "float32", 800, times={"pyfast": 1e-6, "eager": 1e-6}),
        gpu.Row("attention", "4x16x4096", "bfloat16", flops=6 * 10**8, times={"pyfast": 1e-6}),
        gpu.Row("attention", "4x16x4096 causal", "bfloat16", flops=10**8, times={"pyfast": 1e-6}),
        gpu.Row("attention", "packed, 9 at most", "bfloat16", flops=3 * 10**8,
                times={"pyfast": 1e-6}),
        gpu.Row("conv2d", "1", "float16", 1, 1, times={"pyfast": 1e-6, "cudnn": 0.5e-6}),
        gpu.Row("conv2d", "2", "float16", 1, 1, times={"pyfast": 1e-6, "cudnn": 2e-6}),
        gpu.Row("conv2d", "3", "float16", 1, 1, times={"portable": 1e-6, "cudnn": 2e-6}),
    ]  # fmt: skip
    lines = {goal.what: goal.line() for goal in gpu.goals(rows, found)}
    assert len(lines) == 10
    assert "0.80 (goal 0.85) NOT met" in lines["memory-bound: share of copy bandwidth"]
    assert "1.00 (goal 1.3) NOT met" in lines["layer norm backward: times PyTorch's best"]
    assert "600.00 (goal 500) met" in lines["attention, full: TFLOP/s"]
    assert "100.00 (goal 430) NOT met" in lines["attention, causal: TFLOP/s"]
    assert "0.50 (goal 0.8) NOT" in lines["packed sequences: share of full attention's rate"]
    assert "1.00 (goal 0.8) met; worst 0.50" in lines["conv2d: times cuDNN"]
    assert "not timed (goal 1.1)" in lines["conv2d + bias + relu: times cuDNN"]


def test_peers_that_compile_are_timed_last(on_cpu: Any) -> None:
    seen: list[str] = []
    peers = {"eager": lambda: seen.append("eager")}

    def work(name: str) -> Any:
        late = {"compile": lambda: seen.append("compile")}
        return gpu.Work(
            gpu.Row(name, "1", "float32", 1), lambda: seen.append(name), peers, late=late
        )

    rows, complete = gpu.run(on_cpu, iter([work("a"), work("b")]), torch.zeros(1))
    assert complete
    assert [row.times.keys() for row in rows] == [{"pyfast", "eager", "compile"}] * 2
    assert "compile" not in seen[: seen.index("b")]
    assert seen[-1] == "compile"


def test_rows_tables_and_reports(on_cpu: Any) -> None:
    flush = torch.zeros(1)
    works = [*small_works(on_cpu)]

    def broken() -> Any:
        raise RuntimeError("no kernel for this")

    works.append(gpu.Work(gpu.Row("broken", "3", "float32", 12), broken, {"eager": lambda: None}))
    rows, complete = gpu.run(on_cpu, iter(works), flush)
    assert complete
    assert [r.times.get("pyfast") for r in rows] == [0.002] * (len(works) - 1) + [None]
    assert rows[-1].failed == {"pyfast": "RuntimeError: no kernel for this"}
    found = {"copy_bytes_per_s": 4e12, "bf16_flops": 8e14}
    lines = gpu.table(rows, found).splitlines()
    assert lines[0].index("x best") + 6 == lines[1].index(" TFLOP/s") - 7
    assert lines[len(works)].endswith("RuntimeError: no kernel for this")
    assert "conv2d + bias + relu" in lines[3]
    report = json.loads(gpu.report(rows, found, {"name": "none"}, "2"))
    assert report["limits"] == found
    assert [r["op"] for r in report["rows"]] == [r.op for r in rows]


def test_the_table_says_what_bounds_a_row_and_the_mean() -> None:
    memory = gpu.Row("a", "1", "float32", moved=400, times={"pyfast": 1e-6, "x": 2e-6, "y": 4e-6})
    product = gpu.Row("a", "2", "float32", 100, 4000, times={"pyfast": 4e-6, "x": 2e-6})
    alone = gpu.Row("b", "3", "float32", 100, times={"pyfast": 1e-6})
    found = {"copy_bytes_per_s": 8e8, "bf16_flops": 2e9}
    lines = gpu.table([memory, product, alone], found).splitlines()
    assert lines[1].split() == ["a", "1", "float32", "1.0", "50.0%", "2.00"]
    assert lines[2].split() == ["a", "2", "float32", "4.0", "50.0%", "0.50", "0", "TFLOP/s"]
    assert lines[3].split() == ["b", "3", "float32", "1.0", "12.5%", "-"]
    assert lines[5].split()[:6] == ["a", "geometric", "mean", "of", "2", "1.00"]
    assert len(lines) == 6


def test_the_portable_kernel_is_a_column_and_no_peer() -> None:
    """Where the device has kernels of its own; the switch is back after each call."""
    asked = []

    class Module:
        runs = True

        def hopper_kernels_run(self) -> bool:
            return self.runs

        def use_portable_kernels(self, yes: bool) -> None:
            asked.append(yes)

    row = gpu.Row("a", "1", "float16", flops=8 * 10**8)
    work = gpu.Work(row, lambda: asked.append("call"), {"x": lambda: None}, two_kernels=True)
    module = Module()
    columns = work.columns(module)
    assert list(columns) == ["pyfast", "portable", "x"]
    columns["portable"]()
    assert asked == [True, "call", False]
    module.runs = False
    assert list(work.columns(module)) == list(work.columns(None)) == ["pyfast", "x"]
    row.times.update(pyfast=2e-6, portable=1e-6, x=4e-6)
    assert gpu.against_best(row) == 2
    line = gpu.table([row], {"copy_bytes_per_s": 8e8, "bf16_flops": 8e14}).splitlines()[1]
    assert line.split()[-6:] == ["2.00", "400", "TFLOP/s", "0.50", "x", "portable"]


def test_the_budget_ends_the_run(on_cpu: Any) -> None:
    rows, complete = gpu.run(on_cpu, small_works(on_cpu), torch.zeros(1), budget=-1)
    assert (rows, complete) == ([], False)
    rows, complete = gpu.run(on_cpu, small_works(on_cpu), torch.zeros(1), only="backward")
    assert complete
    assert {row.op for row in rows} == {"conv2d backward"}


@pytest.mark.skipif(pf.cuda.is_available(), reason="what happens without a GPU")
def test_without_a_gpu_it_says_why(capsys: pytest.CaptureFixture[str]) -> None:
    assert gpu.main([]) == 1
    assert f"nothing timed: {pf.cuda.why_not()}" in capsys.readouterr().out
    assert gpu.main(["--dry-run"]) == 0


def session(tmp_path: Path, python: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """The script with a Python and a sanitizer that only write down what they are told."""
    if not SESSION.exists():
        pytest.skip("the script is not beside the tests")
    tools = tmp_path / "tools"
    tools.mkdir()
    log = tmp_path / "log"
    for name, script in (("python", python), ("compute-sanitizer", 'shift 6; exec "$@"')):
        (tools / name).write_text(f'#!/usr/bin/env bash\necho {name} "$@" >> {log}\n{script}\n')
        (tools / name).chmod(0o755)
    variables = {
        **os.environ, "PATH": f"{tools}:{os.environ['PATH']}", "PYTHON": str(tools / "python"),
        "SKIP_BUILD": "1", **environment,
    }  # fmt: skip
    return subprocess.run(
        ["bash", str(SESSION), str(tmp_path / "results")],
        env=variables, capture_output=True, text=True, timeout=60,
    )  # fmt: skip


def test_a_session_runs_every_step(tmp_path: Path) -> None:
    done = session(tmp_path, "")
    assert done.returncode == 0, done.stderr
    calls = (tmp_path / "log").read_text().splitlines()
    assert [c.split()[0] for c in calls] == ["python"] * 3 + ["compute-sanitizer", "python"] * 3
    assert f"-m bench.gpu --budget 170 --output {tmp_path}/results/gpu.json" in calls[2]
    assert [c.split()[2] for c in calls[3::2]] == ["memcheck", "racecheck", "initcheck"]
    files = {word for c in calls for word in c.split() if word.startswith("tests/")}
    assert len(files) >= 5
    assert all((ROOT / f).exists() for f in files)


def test_a_session_says_what_failed_and_what_did_not_end(tmp_path: Path) -> None:
    done = session(
        tmp_path,
        'case "$*" in *test_cuda_host*) exit 3;; *bench.gpu*) sleep 50;; esac',
        SECONDS_IN_ALL="8",
    )
    assert done.returncode == 1
    assert "unfinished: benchmark memcheck racecheck initcheck" in done.stderr
    assert "failed: tests" in done.stderr
