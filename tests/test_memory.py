"""Peak memory, measured as the operating system sees it, in a process of its own."""

from __future__ import annotations

import sys

import pytest
from interpreter import python

# VmHWM belongs to the process image; ru_maxrss would begin at the peak of pytest's process.
PROLOGUE = """
import re
import numpy as np
import pyfast as pf

def peak():
    return int(re.search(r"VmHWM:\\s+(\\d+)", open("/proc/self/status").read())[1]) * 1024

pf.set_num_threads({threads})
def extra(call, *sizes):
    "Peak beyond what inputs and outputs take, in MiB; the pages of inputs are touched already."
    before = peak()
    out = call()
    print((peak() - before - out.nbytes) / 2**20)
"""

CONV = """
r = np.random.default_rng(0)
pf.ops.conv2d(np.ones((1, 3, 8, 8), "f"), np.ones((3, 3, 3, 3), "f"))
x = r.standard_normal((8, 64, 224, 224), np.float32)
w = r.standard_normal((64, 64, 3, 3), np.float32)
extra(lambda: pf.ops.conv2d(x, w, padding=1))
"""

ATTENTION = """
q, k, v = np.ones((3, 1, 8, 16384, 64), "f")
extra(lambda: pf.ops.scaled_dot_product_attention(q[:, :, :64], k[:, :, :64], v[:, :, :64]))
extra(lambda: pf.ops.scaled_dot_product_attention(q, k, v, is_causal=True))
print(peak() / 2**20)
"""


def run(script: str, threads: int) -> list[float]:
    if not sys.platform.startswith("linux"):
        pytest.skip("/proc/self/status is Linux's")
    done = python("-c", PROLOGUE.format(threads=threads) + script)
    return [float(line) for line in done.stdout.split()]


@pytest.mark.parametrize("threads", [1, 2])
def test_convolution_makes_no_im2col_buffer(threads: int) -> None:
    (extra,) = run(CONV, threads)
    assert extra < 16 * threads


@pytest.mark.parametrize("threads", [1, 2])
def test_attention_over_16384_keys_stays_small(threads: int) -> None:
    extra = run(ATTENTION, threads)[1]
    # q, k, v and the output are 4 × 32 MiB; all of it together must stay under 200 MiB
    assert 128 + extra < 200
