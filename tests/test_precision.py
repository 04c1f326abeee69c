"""float32 results are no further from float64's than PyTorch's own, on the same inputs.

``python tests/test_precision.py`` prints the ratio of every op.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from cases import OpCase, all_cases
from oracle import run_pyfast, run_torch, torch_threads
from precision import KINDS, LIMIT, Sample, drawn, error, errors, normal, typical, worst

import pyfast as pf
from pyfast import _core

Array = np.ndarray[Any, Any]

# A root mean square below this, a quarter of half an ulp, is that of exact results but for a last
# rounding here and there; two of them are equals.
FLOOR = 2.0**-26
# Errors of a few rounded numbers scatter: means over the samples of an op this close are equal.
NOISE = 1.1

CASES = [case for case in all_cases() if case.oracle]


def relative(actual: Array, exact: Array) -> float | None:
    """Root mean square error in units of the largest magnitude; None where nothing is finite."""
    if exact.dtype.kind != "f" or exact.size == 0:
        return None
    finite = np.isfinite(exact) & (np.abs(exact) < np.finfo(np.float32).max)
    scale = float(np.abs(exact[finite]).max(initial=0.0))
    if scale == 0.0:
        return None
    error = (actual[finite].astype(np.float64) - exact[finite]) / scale
    return float(np.sqrt(np.mean(error**2)))


def ratio(case: OpCase) -> float:
    """pyfast's error over PyTorch's: geometric mean over outputs and gradients of all samples."""
    logarithms: list[float] = []
    for sample in [*case.samples(), *case.large()]:
        narrow = sample.cast(np.float32)
        exact = run_torch(case, narrow.cast(np.float64))
        ours, theirs = run_pyfast(case, narrow), run_torch(case, narrow)
        for part in range(2):  # outputs, gradients
            for a, b, e in zip(ours[part], theirs[part], exact[part], strict=True):
                pair = relative(a, e), relative(b, e)
                if pair[0] is not None and pair[1] is not None and np.isfinite(pair[1]):
                    logarithms.append(np.log(max(pair[0], FLOOR) / max(pair[1], FLOOR)))
    return float(np.exp(np.mean(logarithms))) if logarithms else 1.0


# The baseline adds in vectors of four without FMA, PyTorch in wider ones with it.
@pytest.mark.skipif(_core.isa() == "scalar", reason="the scalar baseline has no FMA, PyTorch has")
@pytest.mark.parametrize("case", CASES, ids=lambda c: c.name)
def test_error_is_no_larger_than_torchs(case: OpCase) -> None:
    assert ratio(case) <= NOISE


@pytest.mark.skipif(_core.isa() == "scalar", reason="as above")
@pytest.mark.parametrize("depth", [512, 2048])
@pytest.mark.parametrize("rows", [2, 8, 40, 300])
@pytest.mark.parametrize("non_negative", [False, True])
def test_deep_products(non_negative: bool, rows: int, depth: int) -> None:
    """The samples above are small: sums over a long depth are where blocks must add up."""
    r = np.random.default_rng(rows)
    a = r.standard_normal((rows, depth), np.float32)
    w = r.standard_normal((256, depth), np.float32)
    if non_negative:
        a, w = np.abs(a), np.abs(w)
    exact = a.astype(np.float64) @ w.astype(np.float64).T
    wide = np.ascontiguousarray(w.T)
    linear = torch.nn.functional.linear(torch.tensor(a), torch.tensor(w))
    product = torch.matmul(torch.tensor(a), torch.tensor(wide))
    for ours, theirs in ((pf.ops.linear(a, w), linear), (pf.ops.matmul(a, wide), product)):
        pair = relative(ours, exact), relative(theirs.numpy(), exact)
        assert pair[0] is not None
        assert pair[1] is not None
        assert pair[0] <= NOISE * pair[1]


def by_pytorch(product: Callable[[Array], torch.Tensor], calls: list[Array]) -> list[Array]:
    """Of one thread and of two, which share out the depth."""
    found = []
    for count in (1, 2):
        with torch_threads(count):
            found.append(np.stack([product(a).numpy() for a in calls]))
    return found


@pytest.mark.skipif(_core.isa() == "scalar", reason="as above")
@pytest.mark.parametrize("depth", [64, 200, 1000, 2000, 8192])
@pytest.mark.parametrize("kind", ["normal", "non-negative"])
def test_products_of_few_rows(kind: str, depth: int) -> None:
    """Read, not packed: one chain a sum had 2.7 times PyTorch's error, 4 on packed weights."""
    r = np.random.default_rng(depth)
    a, w = (KINDS[kind](r, (rows, depth)).astype(np.float32) for rows in (24, 100))
    wide, packed = np.ascontiguousarray(w.T), _core.PackedWeight(w)
    weight = torch.from_numpy(w)
    for rows in (1, 2, 8):
        calls = list(a.reshape(-1, rows, depth))
        exact = a.astype(np.float64).reshape(-1, rows, depth) @ w.T.astype(np.float64)
        products = by_pytorch(lambda x: torch.from_numpy(x) @ torch.from_numpy(wide), calls)
        linear = by_pytorch(lambda x: torch.from_numpy(x) @ weight.T, calls)
        for what, ours, theirs in (
            ("matmul", lambda x: pf.ops.matmul(x, wide), products),
            ("linear", lambda x: pf.ops.linear(x, w), linear),
            ("packed", lambda x: _core.linear_packed(x, packed, None, None), linear),
        ):
            found = error(f"{what} of {rows}", np.stack([ours(x) for x in calls]), theirs, exact)
            assert found is not None
            assert found.ratio <= LIMIT, found


@pytest.mark.skipif(_core.isa() == "scalar", reason="as above")
@pytest.mark.parametrize("depth", [200, 1000, 8192])
def test_products_of_vectors(depth: int) -> None:
    x, y = (normal(400, depth + i).astype(np.float32)[:, :depth] for i in (0, 1))
    pairs = list(np.stack([x, y], 1))
    exact = np.sum(x.astype(np.float64) * y, 1)
    theirs = by_pytorch(lambda p: torch.from_numpy(p[0]) @ torch.from_numpy(p[1]), pairs)
    found = error("dot", np.stack([pf.ops.matmul(*p) for p in pairs]), theirs, exact)
    assert found is not None
    assert found.ratio <= LIMIT, found


@pytest.mark.skipif(_core.isa() == "scalar", reason="as above")
@pytest.mark.parametrize("kind", ["normal", "non-negative", "heavy tails", "1000 and noise"])
@pytest.mark.parametrize("name", ["cross_entropy", "mse_loss", "l1_loss", "huber_loss"])
def test_losses_of_any_numbers(name: str, kind: str) -> None:
    """A row of large scores has no less exact a gradient; a mean divides once."""
    assert worst(next(c for c in CASES if c.name == name), kind) <= LIMIT


NORMS = ["batch_norm", "instance_norm", "group_norm", "layer_norm", "rms_norm"]
SPARSE = ["a twentieth", "all magnitudes", "tens", "huge"]
POINTWISE = ["silu", "mish", "tanh", "softsign", "logsigmoid", "softplus", "log_softmax"]
BCE = "binary_cross_entropy_with_logits"


@pytest.mark.skipif(_core.isa() == "scalar", reason="as above")
@pytest.mark.parametrize(
    ("name", "kind"),
    [
        *((name, kind) for name in NORMS for kind in SPARSE),
        *((name, kind) for name in POINTWISE for kind in ("normal", "non-negative", "tens")),
        *((BCE, kind) for kind in ("normal", "a twentieth", "heavy tails", "tens", "tiny")),
    ],
)
def test_memory_bound_ops_of_any_numbers(name: str, kind: str) -> None:
    """What many values share, a mean or a scale, is as exact as theirs; no rounding is spare."""
    draws = 12 if kind == "all magnitudes" else 4  # of which one number may decide a sample
    assert typical(next(c for c in CASES if c.name == name), kind, draws) <= LIMIT


@pytest.mark.skipif(_core.isa() == "scalar", reason="as above")
@pytest.mark.parametrize("keys", [1, 2, 4, 8])
def test_attention_of_few_keys(keys: int) -> None:
    """Weights near 1, and slopes near 0, are differences of what is rounded."""
    case = next(c for c in CASES if c.name == "scaled_dot_product_attention")
    call = Sample(tuple(normal(16, 4, keys, 32) for _ in range(3)))
    ratios: dict[str, list[float]] = {}
    for seed in range(4):
        for e in errors(case, drawn(case, call, "normal", seed, first_only=False)):
            ratios.setdefault(e.what, []).append(np.log(e.ratio + 1e-9))
    for several in ratios.values():
        assert np.exp(np.mean(several)) <= LIMIT


if __name__ == "__main__":
    for case in CASES:
        print(f"{case.name:35} {ratio(case):6.3f}")
