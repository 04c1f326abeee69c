"""The figures pyfast promises, one line each: ``python -m bench.limits``.

Share of the FMA peak, overhead of a tiny call, import time, peak memory, threads at once. One core,
pinned where the system allows; run it on a machine that does nothing else.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import threading
import time
import timeit
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

import pyfast as pf
from pyfast import _core

from .peers import limit_threads


def fastest(call: Callable[[], Any], rounds: int = 15) -> float:
    """Least seconds of one call: what the code can do, the neighbours' noise left out."""
    call()
    return min(timeit.repeat(call, number=1, repeat=rounds))


def share_of_peak() -> None:
    """A 3×3 convolution and a matrix product, as shares of the measured FMA peak."""
    rng = np.random.default_rng(0)
    x = rng.standard_normal((8, 128, 28, 28), np.float32)
    w = rng.standard_normal((128, 128, 3, 3), np.float32)
    a, b = rng.standard_normal((2, 2048, 2048), np.float32)
    work = {
        "conv2d 8x128x28x28, 128 filters 3x3": (2 * 8 * 128 * 128 * 9 * 784, lambda: pf.ops.conv2d(
            x, w, padding=1)),
        "matmul 2048 x 2048 x 2048": (2 * 2048**3, lambda: pf.ops.matmul(a, b)),
    }  # fmt: skip
    for name, (flops, call) in work.items():
        peak = _core.fma_peak("float32", 0.5) / 1e9
        rate = flops / fastest(call) / 1e9
        print(f"{name}: {rate:.0f} of {peak:.0f} GFLOP/s, {rate / peak:.0%} of the peak")


def tiny_call() -> None:
    """conv2d on 1×8×8×8 with eight 3×3 filters, microseconds per call."""
    rng = np.random.default_rng(0)
    x = rng.standard_normal((1, 8, 8, 8), np.float32)
    w = rng.standard_normal((8, 8, 3, 3), np.float32)
    for padding in (0, 1):
        runs = timeit.repeat(
            lambda padding=padding: pf.ops.conv2d(x, w, padding=padding), number=2000, repeat=9
        )
        micros = sorted(runs)[4] / 2000 * 1e6
        print(f"conv2d 1x8x8x8, 8 filters 3x3, padding {padding}: {micros:.2f} us a call (median)")


def child(script: str) -> str:
    """What a fresh interpreter prints that runs `script` with this pyfast."""
    environment = {**os.environ, "PYTHONPATH": str(Path(pf.__file__).parents[1])}
    command = [sys.executable, "-c", script]
    neutral = tempfile.gettempdir()  # the checkout's own pyfast/ must not come first
    done = subprocess.run(
        command, capture_output=True, text=True, check=True, env=environment, cwd=neutral
    )
    return done.stdout.strip()


def import_time() -> None:
    """Seconds that `import pyfast` takes after `import numpy`, median of nine."""
    script = (
        "import numpy, time; start = time.perf_counter(); import pyfast;"
        "print(time.perf_counter() - start)"
    )
    seconds = sorted(float(child(script)) for _ in range(9))[4]
    print(f"import pyfast: {1e3 * seconds:.1f} ms beyond import numpy (median of 9)")


# VmHWM belongs to the process image; ru_maxrss would begin at the parent's peak.
PEAK = """
import re
import numpy as np
import pyfast as pf
pf.set_num_threads({threads})
def peak():
    return int(re.search(r"VmHWM:\\s+(\\d+)", open("/proc/self/status").read())[1]) / 1024
"""

CONV = """
r = np.random.default_rng(0)
x = r.standard_normal((8, 64, 224, 224), np.float32)
w = r.standard_normal((64, 64, 3, 3), np.float32)
before = peak()
y = pf.ops.conv2d(x, w, padding=1)
print(peak() - before - y.nbytes / 2**20)
"""

ATTENTION = """
before = peak()
q, k, v = np.ones((3, 1, 8, 16384, 64), "f")
y = pf.ops.scaled_dot_product_attention(q, k, v)
print(peak() - before)
"""


def memory() -> None:
    """Peak resident memory, each in a process of its own."""
    for threads in (1, 2):
        extra = float(child(PEAK.format(threads=threads) + CONV))
        print(f"conv2d 8x64x224x224, {threads} thread(s): {extra:.1f} MiB beyond input and output")
        total = float(child(PEAK.format(threads=threads) + ATTENTION))
        print(
            f"attention 16,384 x 8 x 64, {threads} thread(s): {total:.0f} MiB, "
            "queries, keys, values and output (128 MiB) included"
        )


def eight_threads() -> None:
    """Eight Python threads with a convolution each, against one after the other."""
    rng = np.random.default_rng(0)
    images = rng.standard_normal((8, 4, 64, 56, 56), np.float32)
    w = rng.standard_normal((64, 64, 3, 3), np.float32)
    expected = [pf.ops.conv2d(x, w) for x in images]
    results: list[Any] = [None] * 8

    def work(i: int) -> None:
        for _ in range(5):
            results[i] = pf.ops.conv2d(images[i], w)

    start = time.perf_counter()
    for i in range(8):
        work(i)
    serial = time.perf_counter() - start
    workers = [threading.Thread(target=work, args=(i,)) for i in range(8)]
    start = time.perf_counter()
    for t in workers:
        t.start()
    for t in workers:
        t.join()
    together = time.perf_counter() - start
    same = all(np.array_equal(a, b) for a, b in zip(results, expected, strict=True))
    print(
        f"eight Python threads at once: {together:.2f} s, one after the other {serial:.2f} s, "
        f"results {'equal' if same else 'DIFFER'}"
    )


def main() -> None:
    """Print every line."""
    pf.set_num_threads(1)
    eight_threads()
    limit_threads(1)
    share_of_peak()
    tiny_call()
    import_time()
    memory()


if __name__ == "__main__":
    main()
