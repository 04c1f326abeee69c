"""Fair timings: calls in turn, many rounds, medians."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping
from typing import Any


def settle(pause: float = 0.002, at_most: float = 0.5) -> None:
    """Wait until no thread of this process computes any more.

    Many a thread pool still spins after its last call, in case another follows: OpenBLAS for 0.1 s
    and ONNX Runtime for 20 ms on the machine of docs/performance.md. The library timed next would
    have a core less than it was given.
    """
    end = time.perf_counter() + at_most
    while time.perf_counter() < end:
        start, computed = time.perf_counter(), time.process_time()
        time.sleep(pause)
        if time.process_time() - computed < 0.2 * (time.perf_counter() - start):
            return


def repeats(call: Callable[[], Any], at_least: float) -> int:
    """How often to call in one sample so that a sample lasts `at_least` seconds."""
    settle()
    call()
    start = time.perf_counter()
    call()
    once = max(time.perf_counter() - start, 1e-7)
    return max(1, int(at_least / once))


def in_turn(
    calls: Mapping[str, Callable[[], Any]],
    rounds: int = 9,
    sample_seconds: float = 0.02,
    warm: int = 1,
) -> dict[str, float]:
    """Median seconds per call of each, sampled in turn (A B C A B C), after `warm` calls or more.

    Drift of the machine's speed then meets everybody alike, and nobody's threads another's sample.
    """
    counts = {name: repeats(call, sample_seconds) for name, call in calls.items()}
    samples: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(rounds):
        for name, call in calls.items():
            settle()
            # Its data back into the caches, its own threads awake. Where one call moves 25 MB it
            # takes three; after a single one whoever came first seemed up to 30 % slower.
            for _ in range(max(warm, min(3, counts[name]) + counts[name] // 4)):
                call()
            start = time.perf_counter()
            for _ in range(counts[name]):
                call()
            samples[name].append((time.perf_counter() - start) / counts[name])
    return {name: statistics.median(values) for name, values in samples.items()}
