"""Writes down real calls of every kernel; run by test_backward_operands.py.

    python tests/operand_recorder.py CALLS

The kernels are wrapped before the ops are imported, in a process of its own: an op may keep the
kernel it found. Then every op runs the samples of its record, forward and backward.
"""

from __future__ import annotations

import pickle
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from operand_worker import Call, kernels, parameters

from pyfast import _core

VARIANTS = 3  # calls of one function, which differ in what is given


def alike(call: Call) -> tuple[Any, ...]:
    """The same for two calls that give the same kinds of arguments."""
    kinds = tuple(
        (a.ndim, a.dtype.kind) if isinstance(a, np.ndarray) else type(a) for a in call.args.values()
    )
    return call.function, *kinds


def elements(call: Call) -> int:
    arrays = (a[0] if isinstance(a, list) and a else a for a in call.args.values())
    return sum(a.size for a in arrays if isinstance(a, np.ndarray))


def private(value: Any) -> Any:
    if isinstance(value, list):
        return [private(v) for v in value]
    return value.copy() if isinstance(value, np.ndarray) else value


class Recorder:
    """Keeps the smallest of the calls that are alike, under the family that made the first."""

    def __init__(self) -> None:
        self.family = ""
        self.calls: dict[Any, Call] = {}
        for name in kernels():
            setattr(_core, name, self.wrapped(name, getattr(_core, name)))

    def wrapped(self, name: str, kernel: Callable[..., Any]) -> Callable[..., Any]:
        names = parameters(name)

        def call(*args: Any, **more: Any) -> Any:
            given = dict(zip(names, args, strict=False)) | more
            made = Call(self.family, name, {k: private(v) for k, v in given.items()})
            kept = self.calls.setdefault(alike(made), made)
            if elements(made) < elements(kept) or not elements(kept):
                self.calls[alike(made)] = made
            return kernel(*args, **more)

        return call

    def chosen(self) -> list[Call]:
        """A few calls of every kernel: those that leave fewest arguments None, small ones first."""
        groups: dict[str, list[Call]] = {}
        for call in sorted(filter(elements, self.calls.values()), key=elements):
            groups.setdefault(call.function, []).append(call)
        for group in groups.values():
            group.sort(key=lambda c: sum(a is None for a in c.args.values()))
        return [call for group in groups.values() for call in group[:VARIANTS]]


def run_ops(recorder: Recorder) -> None:
    from cases import all_cases
    from oracle import run_pyfast

    for case in all_cases():
        recorder.family = case.samples.__module__
        for sample in case.samples():
            run_pyfast(case, sample.cast(np.float32))


def run_optimizers(recorder: Recorder) -> None:
    from pyfast import Tensor, nn, optim

    recorder.family = "optim"
    for make in (
        lambda p: optim.SGD(p, lr=0.1),
        lambda p: optim.SGD(p, lr=0.1, momentum=0.9),
        lambda p: optim.Adam(p, lr=0.1),
        lambda p: optim.AdamW(p, lr=0.1, amsgrad=True),
        lambda p: optim.Adagrad(p, lr=0.1),
        lambda p: optim.RMSprop(p, lr=0.1, momentum=0.9, centered=True),
        lambda p: optim.Adadelta(p, lr=0.1),
        lambda p: optim.Adamax(p, lr=0.1),
        lambda p: optim.NAdam(p, lr=0.1),
        lambda p: optim.RAdam(p, lr=0.1),
    ):
        w = nn.Parameter(np.arange(6, dtype=np.float32).reshape(2, 3))
        optimizer = make([w])
        for _ in range(2):
            w.grad = Tensor(np.ones((2, 3), np.float32))
            optimizer.step()
            nn.utils.clip_grad_norm_([w], 0.5)
            nn.utils.clip_grad_value_([w], 0.5)


def run_core(recorder: Recorder) -> None:
    recorder.family = "core"
    a = np.ones((2, 3), np.float32)
    two, three = a[:, 0].copy(), a[0].copy()
    _core.simd_evaluate("exp", a)
    _core.binary("divide", a, three)
    _core.elementary("log1p", a)
    _core.gemm(a, a.T, row_scale=two, row_bias=two, col_bias=two, residual=a[:, :2].copy())
    heads, mask = np.ones((1, 3, 6), np.float32), np.zeros((3, 3), np.float32)
    output, *rows = _core.heads_attention(heads, 1, 1, True, mask)
    how = (1, 1, True, 0.0, False, 0, 0, None, True)
    _core.heads_attention_backward(output, heads, mask, output, *rows, *how)
    _core.gemm(a.T, a, alpha=0.5, row_bias=three, activation="gelu", column_major=True)


if __name__ == "__main__":
    recorder = Recorder()
    for run in (run_ops, run_optimizers, run_core):
        run(recorder)
    Path(sys.argv[1]).write_bytes(pickle.dumps(recorder.chosen()))
