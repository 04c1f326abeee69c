"""How far float32 results lie from float64's, beside PyTorch's own, over kinds of numbers.

``python tests/precision.py`` (in a checkout with PYTHONPATH=.) draws every record of tests/cases,
and some larger calls, from every kind of numbers, and prints where pyfast's error is the larger
one. test_precision.py keeps a thin slice of it.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from cases import OpCase, Sample, all_cases
from oracle import run_pyfast, run_torch, torch_threads

from pyfast import _core

Array = np.ndarray[Any, Any]
Draw = Callable[[np.random.Generator, tuple[int, ...]], Array]


def outlier(r: np.random.Generator, shape: tuple[int, ...]) -> Array:
    x = r.standard_normal(shape)
    x.flat[r.integers(0, max(x.size, 1))] = 1e4
    return x


KINDS: dict[str, Draw] = {
    "normal": lambda r, s: r.standard_normal(s),
    "non-negative": lambda r, s: np.abs(r.standard_normal(s)),
    "a twentieth": lambda r, s: r.standard_normal(s) * (r.random(s) < 0.05),
    "outlier": lambda r, s: outlier(r, s) if np.prod(s) else r.standard_normal(s),
    "heavy tails": lambda r, s: r.standard_t(2, s),
    "1000 and noise": lambda r, s: 1000 + r.standard_normal(s),
    "tens": lambda r, s: 10 * r.standard_normal(s),
    "tiny": lambda r, s: 1e-30 * r.standard_normal(s),
    "huge": lambda r, s: 1e30 * r.standard_normal(s),
    "all magnitudes": lambda r, s: r.standard_normal(s) * 10 ** r.uniform(-15, 15, s),
}

# What is drawn anew: the first argument, of these ops others, too.
OPERANDS = {
    **dict.fromkeys(["linear", "matmul", "conv1d", "conv2d"], (0, 1)),
    **dict.fromkeys(["conv_transpose1d", "conv_transpose2d"], (0, 1)),
    **dict.fromkeys(["scaled_dot_product_attention", "varlen_attn"], (0, 1, 2)),
    **dict.fromkeys(["mse_loss", "l1_loss", "smooth_l1_loss", "huber_loss"], (0, 1)),
    "embedding": (1,),
}
PROBABILITIES = {"binary_cross_entropy"}


def normal(*shape: int) -> Array:
    return np.random.default_rng(sum(shape)).standard_normal(shape)


def affine(n: int) -> tuple[Array, Array]:
    return normal(n) + 1, normal(n)


# Larger than the records' own: long sums, and shapes that real layers have.
LARGER: dict[str, Callable[[], list[Sample]]] = {
    "softmax": lambda: [Sample((normal(4, 50000), -1)), Sample((normal(3000, 9), -1))],
    "log_softmax": lambda: [Sample((normal(4, 50000), -1)), Sample((normal(3000, 9), -1))],
    "cross_entropy": lambda: [
        Sample((normal(16, 20000), np.arange(16))),
        Sample((normal(4000, 10), np.arange(4000) % 10)),
        Sample((normal(4000, 10), np.arange(4000) % 10), {"reduction": "none"}),
    ],
    "layer_norm": lambda: [
        Sample((normal(64, 768), (768,), *affine(768))),
        Sample((normal(4000, 16), (16,), *affine(16))),
    ],
    "rms_norm": lambda: [Sample((normal(64, 768), (768,), affine(768)[0]))],
    "group_norm": lambda: [Sample((normal(8, 64, 14, 14), 32, *affine(64)))],
    "instance_norm": lambda: [Sample((normal(8, 16, 40, 40), None, None, *affine(16)))],
    "batch_norm": lambda: [
        Sample((normal(64, 16, 14, 14), None, None, *affine(16), True)),
        Sample((normal(400, 64), None, None, *affine(64), True)),
    ],
    "linear": lambda: [
        Sample((normal(64, 4096), normal(100, 4096))),
        Sample((normal(1, 1024), normal(1024, 1024), normal(1024))),
        Sample((normal(200, 1200), normal(200, 1200))),
        Sample((normal(1200, 64), normal(64, 64), normal(64))),
    ],
    "matmul": lambda: [
        Sample((normal(200, 1200), normal(1200, 200))),
        Sample((normal(200, 64), normal(64, 200))),
        Sample((normal(1, 2000), normal(2000, 300))),
        Sample((normal(300, 2000), normal(2000))),
        Sample((normal(17, 9), normal(9, 300))),
    ],
    "conv2d": lambda: [
        Sample((normal(3, 64, 20, 20), normal(64, 64, 1, 1))),
        Sample((normal(2, 64, 28, 28), normal(64, 64, 3, 3), None, 1, 1)),
        Sample((normal(2, 256, 14, 14), normal(64, 256, 1, 1))),
        Sample((normal(2, 32, 28, 28), normal(32, 1, 3, 3), None, 1, 1, 1, 32)),
        Sample((normal(2, 3, 64, 64), normal(32, 3, 3, 3), None, 2, 1)),
        Sample((normal(8, 1, 28, 28), normal(16, 1, 5, 5))),
    ],
    "scaled_dot_product_attention": lambda: [
        Sample((normal(2, 4, 128, 64), normal(2, 4, 128, 64), normal(2, 4, 128, 64))),
        Sample(
            (normal(2, 4, 128, 64), normal(2, 4, 128, 64), normal(2, 4, 128, 64)),
            {"is_causal": True},
        ),
        *(
            Sample((normal(16, 4, n, 32), normal(16, 4, n, 32), normal(16, 4, n, 32)))
            for n in (1, 2, 4, 8)
        ),
        Sample((normal(8, 4, 1, 64), normal(8, 4, 500, 64), normal(8, 4, 500, 64))),
    ],
    "embedding": lambda: [Sample((np.arange(20000) % 7, normal(7, 64)))],
    "adaptive_avg_pool2d": lambda: [Sample((normal(4, 64, 50, 50), 1))],
    "prelu": lambda: [Sample((normal(8, 16, 50, 50), normal(16)))],
    "mse_loss": lambda: [Sample((normal(1000, 1000), normal(999, 1000)[:1].repeat(1000, 0)))],
}


def calls(case: OpCase) -> list[Sample]:
    return [*case.samples(), *case.large(), *LARGER.get(case.name, list)()]


def drawn(case: OpCase, sample: Sample, kind: str, seed: int, first_only: bool) -> Sample:
    """The sample with operands of that kind."""
    r = np.random.default_rng(seed)
    args = list(sample.args)
    operands = OPERANDS.get(case.name, (0,))
    for i in operands[:1] if first_only else operands:
        if i < len(args) and isinstance(args[i], np.ndarray) and args[i].dtype.kind == "f":
            x = np.asarray(KINDS[kind](r, args[i].shape))
            args[i] = (
                np.asarray(1 / (1 + np.exp(-x.clip(-12, 12)))) if case.name in PROBABILITIES else x
            )
    return Sample(tuple(args), sample.kwargs)


@dataclass(frozen=True)
class Error:
    """Root mean square errors of one output or gradient, of `size` numbers."""

    what: str
    size: int
    ours: float
    theirs: float

    @property
    def ratio(self) -> float:
        return self.ours / self.theirs


def rms(x: Array) -> float:
    return float(np.sqrt(np.mean(np.square(x))))


def within_range(x: Array) -> Array:
    limits = np.finfo(np.float32)
    return (x == 0) | (np.abs(x) >= limits.tiny) & (np.abs(x) < limits.max / 2)


def error(
    what: str, ours: Array, theirs: list[Array], exact: Array, counts: Array | bool = True
) -> Error | None:
    """None where nothing is finite. What is as near as rounding once is not told apart."""
    if exact.dtype.kind != "f" or exact.size == 0:
        return None
    usual = within_range(exact) & counts
    e = exact[usual]
    if not e.any():
        return None
    # Of a large number its own size counts, so that one of them does not decide, of the others
    # that of most.
    size = np.abs(e[e != 0])
    scale = np.maximum(np.abs(e), max(np.median(size), 0.01 * np.quantile(size, 0.99)))
    floor = max(rms((e.astype(np.float32) - e) / scale), 2.0**-26)

    def of(x: Array) -> float:
        return max(rms((x[usual].astype(np.float64) - e) / scale), floor)

    peers = [of(x) for x in theirs]
    finite = [p for p in peers if np.isfinite(p)]
    return Error(what, e.size, of(ours), min(finite)) if finite else None


def on_threads(case: OpCase, sample: Sample, count: int) -> tuple[list[Array], list[Array]]:
    with torch_threads(count):
        return run_torch(case, sample)


def representable(case: OpCase, sample: Sample) -> Array | bool:
    """Which outputs are activations of float32 numbers.

    Of a sum beyond them relu6 makes a finite number, whose sign is that of whatever overflowed
    first: of PyTorch's 41 % are wrong where products are 1e60.
    """
    if not sample.kwargs.get("activation"):
        return True
    plain = Sample(sample.args, {**sample.kwargs, "activation": None})
    return within_range(run_torch(case, plain)[0][0])


def errors(case: OpCase, sample: Sample) -> Iterator[Error]:
    """Of outputs and gradients, beside PyTorch's better one on one and two threads."""
    narrow = sample.cast(np.float32)
    exact = run_torch(case, narrow.cast(np.float64))
    ours = run_pyfast(case, narrow)
    large = max(np.size(a) for a in narrow.args) > 1000
    theirs = [on_threads(case, narrow, n) for n in ([1, 2] if large else [1])]
    counts = representable(case, narrow.cast(np.float64))
    for part, name in enumerate(["output", "gradient"]):
        for i, e in enumerate(exact[part]):
            which = counts if name == "output" and i == 0 else True
            found = error(f"{name} {i}", ours[part][i], [t[part][i] for t in theirs], e, which)
            if found:
                yield found


def sweep(case: OpCase, kind: str, first_only: bool) -> Iterator[tuple[Sample, Error]]:
    for seed, sample in enumerate(calls(case)):
        call = drawn(case, sample, kind, seed, first_only)
        for e in errors(case, call):
            yield call, e


SINGLE = 256  # numbers from which on one sample's error is not chance
LIMIT = 1.1


def worst(case: OpCase, kind: str) -> float:
    """The largest ratio that is not chance: of a large sample, or the mean of small ones."""
    found = [e for _, e in sweep(case, kind, first_only=False)]
    ratios = [e.ratio for e in found if e.size >= SINGLE]
    for what in {e.what for e in found}:
        few = [np.log(e.ratio) for e in found if e.what == what and e.size < SINGLE]
        if len(few) >= 20:
            ratios.append(float(np.exp(np.mean(few))))
    assert ratios, f"{case.name}: nothing was large enough to be compared"
    return max(ratios)


def typical(case: OpCase, kind: str, seeds: int) -> float:
    """The largest ratio, of any large sample's output or gradient, in the mean over draws."""
    largest = 0.0
    for call in calls(case):
        ratios: dict[str, list[float]] = {}
        for seed in range(seeds):
            for e in errors(case, drawn(case, call, kind, seed, first_only=False)):
                if e.size >= SINGLE:
                    ratios.setdefault(e.what, []).append(np.log(e.ratio))
        largest = max([largest, *(float(np.exp(np.mean(r))) for r in ratios.values())])
    assert largest, f"{case.name}: nothing was large enough to be compared"
    return largest


def report(case: OpCase, kind: str, first_only: bool) -> None:
    found = list(sweep(case, kind, first_only))
    for what in sorted({e.what for _, e in found}):
        few = [e.ratio for _, e in found if e.what == what and e.size < SINGLE]
        mean = float(np.exp(np.mean(np.log(few)))) if few else 0.0
        label = f"{_core.isa():7}{case.name:30} {kind + (', first' if first_only else ''):24}{what}"
        if not mean <= LIMIT:
            print(f"{label}  {mean:.2f}  mean of {len(few)} small samples", flush=True)
        for call, e in found:
            if e.what == what and e.size >= SINGLE and not e.ratio <= LIMIT:
                print(f"{label}  {e.ratio:.2f}  {call}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--op", help="part of the names of ops")
    parser.add_argument("--kind", choices=KINDS)
    options = parser.parse_args()
    np.seterr(all="ignore")
    for case in all_cases():
        if case.oracle and case.differentiable and (options.op or "") in case.name:
            for kind in [options.kind] if options.kind else KINDS:
                for first_only in [False, True] if case.name in OPERANDS else [False]:
                    report(case, kind, first_only)


if __name__ == "__main__":
    main()
