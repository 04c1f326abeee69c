"""The runtime under everything: threads, fork, Ctrl-C, the allocator, what the machine is."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import pyfast as pf
from pyfast import _core

Array = np.ndarray[Any, Any]
ROOT = Path(pf.__file__).parents[1]  # where a child process finds the pyfast under test

PRELUDE = """
import os, signal, sys, threading, time
import numpy as np
import numpy.testing
import pyfast as pf
from pyfast import _core, ops  # at once: lazy imports must not meet a fork or a signal

x = np.random.default_rng(0).standard_normal((2000, 257))  # enough for many chunks
right = np.exp(x - x.max(1, keepdims=True))
right /= right.sum(1, keepdims=True)

def check():
    np.testing.assert_allclose(pf.ops.softmax(x, 1), right, rtol=1e-12)
"""


def child(code: str, timeout: float = 120, **env: str) -> str:
    """Run code in a process of its own; of our settings only PYFAST_ISA is passed on."""
    ours = ("PYFAST_NUM_THREADS", "PYFAST_CACHE_BYTES", "OMP_NUM_THREADS")
    clean = {k: v for k, v in os.environ.items() if k not in ours}
    done = subprocess.run(
        [sys.executable, "-W", "ignore::DeprecationWarning", "-c", PRELUDE + code],
        cwd=ROOT,
        env=clean | env,
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@pytest.fixture
def threads() -> Iterator[None]:
    before = pf.get_num_threads()
    yield
    pf.set_num_threads(before)


@pytest.fixture
def cache() -> Iterator[None]:
    before = _core.pool_statistics()["cache_limit"]
    _core.pool_clear()
    yield
    _core.pool_set_cache_limit(before)


# Threads


@pytest.mark.parametrize(
    ("env", "count"),
    [
        ({"PYFAST_NUM_THREADS": "3"}, 3),
        ({"OMP_NUM_THREADS": "5"}, 5),
        ({"OMP_NUM_THREADS": "4,2"}, 4),
        ({"PYFAST_NUM_THREADS": "2", "OMP_NUM_THREADS": "6"}, 2),
        ({"PYFAST_NUM_THREADS": "zero", "OMP_NUM_THREADS": "6"}, 6),
        ({"PYFAST_NUM_THREADS": "0", "OMP_NUM_THREADS": "6"}, 6),
        ({"PYFAST_NUM_THREADS": "-1", "OMP_NUM_THREADS": "6"}, 6),
        ({"PYFAST_NUM_THREADS": "99999999999", "OMP_NUM_THREADS": "6"}, 6),
        ({"PYFAST_NUM_THREADS": "2x", "OMP_NUM_THREADS": "6"}, 6),
    ],
)
def test_the_environment_sets_the_threads(env: dict[str, str], count: int) -> None:
    assert child("check(); print(pf.get_num_threads())", **env) == str(count)


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="no affinity on this system")
def test_affinity_bounds_the_threads() -> None:
    code = f"""
import subprocess
os.sched_setaffinity(0, [min(os.sched_getaffinity(0))])
print(subprocess.run([sys.executable, "-c", "import pyfast as pf; print(pf.get_num_threads())"],
                     cwd={str(ROOT)!r}, capture_output=True, text=True, check=True).stdout)
"""
    assert child(code) == "1"


@pytest.mark.usefixtures("threads")
def test_set_num_threads() -> None:
    for n in (1, 7, 1024, np.int64(2)):
        pf.set_num_threads(n)
        assert pf.get_num_threads() == n


@pytest.mark.parametrize("n", [0, -1, 1025, 2**40])
def test_set_num_threads_out_of_range(n: int) -> None:
    with pytest.raises(ValueError, match=rf"set_num_threads: n must be in \[1, 1024\], got {n}"):
        pf.set_num_threads(n)


@pytest.mark.parametrize("n", [2.0, "2", None, [2]])
def test_set_num_threads_of_another_type(n: Any) -> None:
    with pytest.raises(TypeError, match="set_num_threads: n must be an int"):
        pf.set_num_threads(n)


def cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else 0


HELPERS = """
allowed = os.sched_getaffinity(0)
first, second = sorted(allowed)[:2]
pf.set_num_threads(2)
ours = {int(task) for task in os.listdir("/proc/self/task")}
check()
(helper,) = {int(task) for task in os.listdir("/proc/self/task")} - ours

def after_a_call_from(core):
    os.sched_setaffinity(0, {core})
    time.sleep(0.01)
    check()
    return os.sched_getaffinity(helper)
"""


@pytest.mark.skipif(cores() < 2, reason="needs two cores, and affinity")
def test_helpers_keep_off_their_callers_core() -> None:
    code = """
for core in (first, second, first):
    assert after_a_call_from(core) == allowed - {core}
"""
    child(HELPERS + code)


@pytest.mark.skipif(cores() < 2, reason="needs two cores, and affinity")
def test_helpers_stay_on_the_cores_that_they_are_given() -> None:
    code = """
for pinned in (first, second):
    after_a_call_from(pinned)
    os.sched_setaffinity(helper, {pinned})
    for core in (first, second, first):
        assert after_a_call_from(core) == {pinned}
"""
    child(HELPERS + code)


def softmax_rows(x: Array) -> Array:
    e = np.exp(x - x.max(1, keepdims=True))
    return e / e.sum(1, keepdims=True)


@pytest.mark.usefixtures("threads")
def test_eight_callers_at_once_while_the_thread_count_changes() -> None:
    inputs = [np.random.default_rng(i).standard_normal((500 + 97 * i, 129)) for i in range(8)]
    wanted = [pf.ops.softmax(x, 1) for x in inputs]
    np.testing.assert_allclose(wanted[7], softmax_rows(inputs[7]), rtol=1e-12)
    wrong: list[int] = []

    def call(i: int) -> None:
        for _ in range(40):
            if not np.array_equal(pf.ops.softmax(inputs[i], 1), wanted[i]):
                wrong.append(i)

    callers = [threading.Thread(target=call, args=(i,)) for i in range(8)]
    for caller in callers:
        caller.start()
    for n in range(60):
        pf.set_num_threads(1 + n % 5)
    for caller in callers:
        caller.join()
    assert wrong == []


def test_the_process_ends_while_a_thread_computes() -> None:
    code = """
def forever():
    while True:
        pf.ops.softmax(x, 1)
threading.Thread(target=forever, daemon=True).start()
time.sleep(0.05)
print("over")
"""
    assert child(code, PYFAST_NUM_THREADS="3") == "over"


# Fork


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")
def test_fork_fifty_times_after_parallel_use() -> None:
    code = """
check()
for _ in range(50):
    pid = os.fork()
    if pid == 0:
        signal.alarm(30)
        check()
        os._exit(0 if pf.get_num_threads() == 4 else 1)
    assert os.waitpid(pid, 0)[1] == 0
check()
print("ok")
"""
    assert child(code, PYFAST_NUM_THREADS="4") == "ok"


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")
def test_fork_while_other_threads_compute() -> None:
    code = """
stop = False
def keep_busy():
    while not stop:
        pf.ops.softmax(x, 1)
workers = [threading.Thread(target=keep_busy) for _ in range(3)]
for worker in workers:
    worker.start()
statuses = []
for _ in range(20):
    pid = os.fork()
    if pid == 0:
        signal.alarm(30)
        check()
        os._exit(0)
    statuses.append(os.waitpid(pid, 0)[1])
stop = True
for worker in workers:
    worker.join()
print(set(statuses))
"""
    assert child(code, PYFAST_NUM_THREADS="4") == "{0}"


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")
def test_multiprocessing_with_fork() -> None:
    code = """
import multiprocessing
def work(i):
    check()
    return i
check()
with multiprocessing.get_context("fork").Pool(3) as pool:
    print(sum(pool.map(work, range(10))))
"""
    assert child(code, PYFAST_NUM_THREADS="3") == "45"


# Ctrl-C

INTERRUPT = """
signal.signal(signal.SIGINT, signal.default_int_handler)  # ignored where pytest runs behind an &
one = np.float32(1)  # seen as large arrays: no memory, but half a minute of work
image, weight = np.broadcast_to(one, (1, 512, 256, 256)), np.broadcast_to(one, (512, 512, 15, 15))
def press():
    global pressed
    time.sleep(0.3)
    pressed = time.perf_counter()
    os.kill(os.getpid(), signal.SIGINT)
threading.Thread(target=press).start()
start = time.perf_counter()
try:
    pf.ops.conv2d(image, weight)
    print("finished after", time.perf_counter() - start)
except KeyboardInterrupt:
    print(time.perf_counter() - pressed)
check()
"""


@pytest.mark.skipif(os.name == "nt", reason="os.kill ends the process there")
@pytest.mark.parametrize("count", ["1", "3"])
def test_ctrl_c_ends_a_long_call(count: str) -> None:
    delays = [float(child(INTERRUPT, PYFAST_NUM_THREADS=count)) for _ in range(2)]
    assert min(delays) < 0.2  # the machine may be busy with something else once


@pytest.mark.skipif(os.name == "nt", reason="no setitimer there")
def test_a_signal_handler_may_call_back() -> None:
    code = """
calls = []
def handler(signum, frame):
    check()
    calls.append(signum)
    signal.setitimer(signal.ITIMER_REAL, 0.05)  # never a second one before this has returned
signal.signal(signal.SIGALRM, handler)
signal.setitimer(signal.ITIMER_REAL, 0.05)
end = time.perf_counter() + 0.5
while time.perf_counter() < end:
    check()
signal.setitimer(signal.ITIMER_REAL, 0)
print(len(calls) > 1)
"""
    assert child(code, PYFAST_NUM_THREADS="3") == "True"


# The allocator

LARGE = (1 << 20, 3)  # 12 MiB of float32


def address(x: Array) -> int:
    return int(x.__array_interface__["data"][0])


@pytest.mark.usefixtures("cache")
def test_outputs_are_aligned_and_their_memory_is_used_again() -> None:
    _core.pool_set_cache_limit(64 << 20)
    x = np.zeros(LARGE, np.float32)
    first = pf.ops.softmax(x, 1)
    where = address(first)
    assert where % (2 << 20) == 0
    view = first[5:]
    del first
    assert address(pf.ops.softmax(x, 1)) != where  # the view keeps the block
    del view
    _core.pool_clear()
    second = pf.ops.softmax(x, 1)
    where = address(second)
    del second
    assert address(pf.ops.softmax(x, 1)) == where


@pytest.mark.usefixtures("cache")
def test_the_cache_is_bounded() -> None:
    used = _core.pool_statistics()["used_bytes"]
    x = np.zeros(LARGE, np.float32)
    for limit in (0, 1 << 20, 30 << 20):
        _core.pool_set_cache_limit(limit)
        kept = [pf.ops.softmax(x[: len(x) // n], 1) for n in (1, 2, 3, 1, 5, 1)]
        assert _core.pool_statistics()["used_bytes"] > used + x.nbytes
        del kept
        assert _core.pool_statistics()["cached_bytes"] <= limit
    assert _core.pool_statistics()["cached_bytes"] > 10 << 20
    _core.pool_clear()
    assert _core.pool_statistics()["cached_bytes"] == 0
    assert _core.pool_statistics()["used_bytes"] == used


@pytest.mark.parametrize(("text", "limit"), [("0", 0), ("12345678", 12345678)])
def test_the_environment_bounds_the_cache(text: str, limit: int) -> None:
    code = """
for _ in range(3):
    check()
statistics = _core.pool_statistics()
assert statistics["cached_bytes"] <= statistics["cache_limit"]
print(statistics["cache_limit"])
"""
    assert child(code, PYFAST_CACHE_BYTES=text) == str(limit)


@pytest.mark.parametrize("text", ["", "lots", "-1", "1e9", "99999999999999999999999"])
def test_an_invalid_bound_is_ignored(text: str) -> None:
    limit = int(child("print(_core.pool_statistics()['cache_limit'])", PYFAST_CACHE_BYTES=text))
    assert 0 < limit <= 1 << 30


def test_a_negative_bound_is_refused() -> None:
    with pytest.raises(ValueError, match="pool_set_cache_limit: bytes must not be negative"):
        _core.pool_set_cache_limit(-1)


@pytest.mark.parametrize("power", [42, 46, 56])
def test_absurd_sizes_raise_and_the_next_call_is_right(power: int) -> None:
    huge = np.broadcast_to(np.float32(1), (1 << power,))
    with pytest.raises(MemoryError):
        pf.ops.softmax(huge, 0)
    np.testing.assert_array_equal(pf.ops.softmax(np.zeros(4), 0), np.full(4, 0.25))


# The machine


@pytest.mark.parametrize("isa", ["scalar", "neon", "avx2", "avx512", "amx"])
def test_pyfast_isa_is_an_upper_bound(isa: str) -> None:
    detected = _core.cpu_info()["detected_isa"]
    order = ["scalar", "avx2", "avx512", "amx"] if detected != "neon" else ["scalar", "neon"]
    bound = isa
    if bound not in order:
        pytest.skip(f"{isa} is not for this processor")
    wanted = order[min(order.index(bound), order.index(detected))]
    assert child("check(); print(_core.isa())", PYFAST_ISA=isa) == wanted


@pytest.mark.parametrize("isa", ["sse9", "AVX2", "neon"])
def test_an_isa_that_cannot_be_is_ignored_with_a_warning(isa: str) -> None:
    detected = _core.cpu_info()["detected_isa"]
    if isa == detected:
        pytest.skip(f"{isa} is this processor's")
    code = """
print(_core.isa(), _core.isa_env_problem())
"""
    seen, problem = child(code, PYFAST_ISA=isa).split(" ", 1)
    assert seen == detected
    assert "is ignored" in problem
    loud = f"import warnings; warnings.simplefilter('error'); os.chdir({str(ROOT)!r})"
    code = f"""
import subprocess
done = subprocess.run([sys.executable, "-c", "import os; {loud}; import pyfast"],
                      capture_output=True, text=True)
print("RuntimeWarning" in done.stderr)
"""
    assert child(code, PYFAST_ISA=isa) == "True"


def test_cpu_info() -> None:
    info = _core.cpu_info()
    assert info["model"]
    assert 1 <= info["cores"] <= (os.cpu_count() or 1)
    assert 0 <= info["l1d"] <= info["l2"] or info["l2"] == 0
    assert all(re.fullmatch(r"[a-z0-9_]+", flag) for flag in info["flags"])


def test_the_peak_is_measured() -> None:
    single, double = (_core.fma_peak(dtype, 0.02) for dtype in ("float32", "float64"))
    assert 1e8 < double < single < 1e13


@pytest.mark.parametrize(
    ("dtype", "seconds", "message"),
    [
        ("float16", 0.1, "dtype must be float32 or float64, got float16"),
        ("float32", -1.0, r"seconds must be in \[0, 60\], got -1"),
        ("float32", float("nan"), "seconds must be"),
        ("float32", 1e9, "seconds must be"),
    ],
)
def test_the_peak_refuses(dtype: str, seconds: float, message: str) -> None:
    with pytest.raises(ValueError, match=f"fma_peak: {message}"):
        _core.fma_peak(dtype, seconds)


# Settings


def test_matmul_precision() -> None:
    assert pf.get_float32_matmul_precision() == "highest"
    with pf.set_float32_matmul_precision("medium"):
        assert pf.get_float32_matmul_precision() == "medium"
        with pytest.raises(KeyError), pf.set_float32_matmul_precision("high"):
            raise KeyError
        assert pf.get_float32_matmul_precision() == "medium"
    assert pf.get_float32_matmul_precision() == "highest"
    pf.set_float32_matmul_precision("high")
    assert pf.get_float32_matmul_precision() == "high"
    pf.set_float32_matmul_precision("highest")


@pytest.mark.parametrize("precision", ["low", "", None, 1])
def test_matmul_precision_refuses(precision: Any) -> None:
    with pytest.raises(ValueError, match="precision must be 'highest', 'high' or 'medium', got"):
        pf.set_float32_matmul_precision(precision)
    assert pf.get_float32_matmul_precision() == "highest"


def test_show_config(capsys: pytest.CaptureFixture[str]) -> None:
    config = pf.show_config("dicts")
    assert config is not None
    assert config["isa"] == _core.isa()
    assert config["threads"] == pf.get_num_threads()
    assert pf.show_config() is None
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == list(config)
    with pytest.raises(ValueError, match="mode must be 'stdout' or 'dicts', got 'json'"):
        pf.show_config("json")  # type: ignore[arg-type]
