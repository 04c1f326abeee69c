"""Calls a family's kernels with operands that don't fit; run by test_backward_operands.py.

    python tests/operand_worker.py CALLS FAMILY LOG

CALLS is a pickle of valid calls of `pyfast._core`, as the ops made them: every argument of each is
changed in turn. What the kernel refuses must be ValueError, TypeError, IndexError or MemoryError;
what it accepts must be what its reference computes. LOG holds the call that is running, so that
the parent can name the one a signal ended. Findings are printed, one a line.
"""

from __future__ import annotations

import pickle
import re
import sys
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from memory_limit import limit_memory

from pyfast import _core

Array = np.ndarray[Any, Any]
ANSWERS = (ValueError, TypeError, IndexError, MemoryError)

# Changes a kernel rightly takes: the operand has nothing to agree with there, or it broadcasts.
# What it computes then is held against its reference.
ALONE = {"grad dtype"}
FREE = {
    "adaptive_avg_pool1d_backward": ALONE,
    "adaptive_avg_pool2d_backward": ALONE,
    "avg_pool1d_backward": ALONE,
    "avg_pool2d_backward": ALONE,
    "conv1d_backward": {"input axis 2", "weight axis 2"},
    "conv2d_backward": {"input axis", "weight axis"},
    "conv_transpose1d_backward": {"weight axis 2"},
    "conv_transpose2d_backward": {"weight axis"},
    "dropout_backward": {"grad"},
    "embedding_backward": {"grad"},
    "matmul_backward": {"input an axis", "other an axis"},
    "max_pool1d_backward": ALONE,
    "max_pool2d_backward": ALONE,
    "max_pool1d_taps_backward": ALONE,
    "max_pool2d_taps_backward": ALONE,
    "pad_backward": ALONE,
    "heads_attention": {"attn_mask a"},
    "heads_attention_backward": {"attn_mask a"},
    "scaled_dot_product_attention_backward": {"attn_mask a", "query a", "key a", "value a"},
}


@dataclass(frozen=True)
class Call:
    """A valid call, arguments by name."""

    family: str
    function: str
    args: dict[str, Any]


@dataclass(frozen=True)
class Change:
    """One argument replaced; `wanted` says what has to come of it."""

    what: str
    value: Any
    # "error", "index" (an IndexError), "same" (the answer to the call unchanged), "reference" (an
    # error, or the reference's answer), "any" (an error or an answer)
    wanted: str


def kernels() -> list[str]:
    named = {n: getattr(_core, n) for n in dir(_core) if not n.startswith("_")}
    return [n for n, f in named.items() if callable(f) and not isinstance(f, type)]


def parameters(function: str) -> list[str]:
    signature = getattr(_core, function).__doc__.splitlines()[0]
    return re.findall(r"(\w+): ", signature)


def is_array(value: Any) -> bool:
    return isinstance(value, np.ndarray)


def longer(a: Array, axis: int) -> Array:
    return np.concatenate([a, a.take([0], axis)], axis) if a.shape[axis] else np.repeat(a, 0, axis)


def misshapen(a: Array) -> Iterator[Change]:
    """Every axis too long, too short or empty; one axis too many or too few; far too many."""
    for axis in range(a.ndim):
        rest = (slice(None),) * axis
        if a.shape[axis]:
            yield Change(f"axis {axis} one longer", longer(a, axis), "error")
            yield Change(f"axis {axis} one shorter", a[(*rest, slice(1, None))].copy(), "error")
        if a.shape[axis] > 1:
            yield Change(f"axis {axis} empty", a[(*rest, slice(0))].copy(), "error")
    if a.ndim and a.shape[0]:
        yield Change("an axis fewer", a[0].copy(), "error")
    yield Change("an axis more", a[None].copy(), "error")
    yield Change("17 axes", np.zeros((1,) * 17, a.dtype), "error")
    if a.size:
        huge = np.broadcast_to(a[..., :1], (*a.shape[:-1], 2**40)) if a.ndim else a[None]
        yield Change("2 ** 40 elements", huge, "huge")
    if a.ndim > 1:
        yield Change("0 * 2 ** 40 elements", np.zeros((0, *a.shape[1:-1], 2**40), a.dtype), "any")


def mistyped(a: Array) -> Iterator[Change]:
    other = {"float32": "f8", "float64": "f4"}.get(a.dtype.name, "f4")
    wanted = "error" if a.dtype.kind in "fi" else "reference"
    for dtype in [other, "f2", "c8", "O", "S1", "M8[s]"]:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield Change(f"dtype {dtype}", np.zeros(a.shape, dtype), wanted)
    if a.dtype.kind == "f":
        yield Change("integers", np.zeros(a.shape, "i8"), "error")
        yield Change("booleans", np.zeros(a.shape, "?"), "reference")
    for value in [3, 2.5, "x", a.tolist(), object()]:
        yield Change(type(value).__name__, value, "error")
    yield Change("None", None, "reference")


def laid_out(a: Array) -> Iterator[Change]:
    """The same values in other places."""
    flip = (slice(None, None, -1),) * a.ndim
    yield Change("fortran", a.copy(order="F"), "same")
    yield Change("reversed", np.ascontiguousarray(a[flip])[flip].reshape(a.shape), "same")
    wide = np.zeros(tuple(2 * n + 1 for n in a.shape), a.dtype)
    view = wide[(..., *(slice(1, None, 2),) * a.ndim)]
    view[...] = a
    yield Change("stepped", view, "same")
    crooked = np.zeros(a.nbytes + 1, "u1")[1:].view(a.dtype).reshape(a.shape)
    crooked[...] = a
    yield Change("misaligned", crooked, "same")
    yield Change("byte-swapped", a.astype(a.dtype.newbyteorder()), "same")


def filled(a: Array) -> Iterator[Change]:
    """Contents no forward pass would have saved."""
    if a.dtype.kind == "f":
        values = [np.nan, np.inf, -np.inf, np.finfo(a.dtype).max, 5e-324, 2.0**62]
        kinds = ["any"] * len(values)
    elif a.dtype.kind == "i":
        values = [-1, 2**31, 2**62, -(2**63)]
        kinds = ["index"] * len(values)
    else:
        yield Change("booleans of 255", np.full(a.shape, 255, "u1").view("?"), "reference")
        return
    for value, wanted in zip(values, kinds, strict=True):
        if a.size:
            one = a.copy()
            one.reshape(-1)[-1] = value
            yield Change(f"one {value}", one, wanted)
            yield Change(f"all {value}", np.full_like(a, value), wanted)


class Shifty:
    """A sequence that is longer each time it is asked."""

    def __init__(self) -> None:
        self.asked = 0

    def __len__(self) -> int:
        self.asked += 1
        return 2 if self.asked == 1 else 1000

    def __getitem__(self, i: int) -> int:
        return 1


SETTINGS = [None, -1, 0, 1, 3, 1000, 2**31, 2**62, 2**63 - 1, -(2**63), 2**70]
SETTINGS += [0.5, -1.0, np.nan, np.inf, True, "", "x", "mean", "gelu", "\ud800", b"x"]
SETTINGS += [(), (1,), (0, 0), (-1, 2), (2**62, 2**62), (1,) * 17, ("x", "y"), (None,), [1, 1]]
SETTINGS += [(0, -3, 5), (0, 2**40, 2**40), (1, 2, 0, -3), (2**31,) * 4, {}, object(), np.zeros(2)]


def changes(value: Any) -> Iterator[Change]:
    if is_array(value):
        for kind in (misshapen, mistyped, laid_out, filled):
            yield from kind(value)
    elif isinstance(value, list) and value and is_array(value[0]):
        for change in changes(value[0]):
            yield Change(f"[0] {change.what}", [change.value, *value[1:]], change.wanted)
        yield Change("empty list", [], "any")
        yield Change("one entry more", [*value, value[0]], "error")
    else:
        for setting in SETTINGS:
            edge = type(setting) is int and setting == 0 and isinstance(value, float)  # eps = 0
            yield Change(f"set to {setting!r}", setting, "any" if edge else "reference")
        yield Change("set to 1e308", 1e308, "any")
        yield Change("set to a shifty sequence", Shifty(), "any")
        if isinstance(value, tuple):
            yield Change("an entry more", (*value, 1), "reference")
            for last in ((), (1,), (2**62,)):
                yield Change(f"{last} at the end", (*value[:-1], *last), "reference")


def copied(value: Any) -> Any:
    """The same with arrays of its own, strides and alignment kept (kernels may write)."""
    if isinstance(value, list):
        return [copied(v) for v in value]
    if not is_array(value) or not value.flags.c_contiguous or not value.flags.aligned:
        return value
    return value.copy()


def outputs(function: str, given: dict[str, Any], reference: bool) -> list[Array]:
    """Whatever the call returns and leaves in its arrays."""
    args = {name: copied(value) for name, value in given.items()}
    _core.use_reference(reference)
    try:
        result = getattr(_core, function)(**args)
    finally:
        _core.use_reference(False)
    flat = [*result] if isinstance(result, tuple) else [result]
    for arg in args.values():
        flat += arg if isinstance(arg, list) else [arg]
    return [a for a in flat if is_array(a) and a.dtype.kind in "fib" and a.size < 2**20]


def difference(got: list[Array], want: list[Array], noise: float = 1e-6) -> str:
    """How far apart two answers are; empty when they are the same to rounding."""
    for a, b in zip(got, want, strict=True):
        if a.shape != b.shape or a.dtype.name != b.dtype.name:
            return f"{a.dtype}{a.shape} for {b.dtype}{b.shape}"
        if a.tobytes() == b.tobytes():
            continue
        finite = np.abs(b[np.isfinite(b)]).astype("f8")
        scale = float(finite.max()) if finite.size else 0.0
        if not np.allclose(a, b, 1e-4, 1e-4 * scale + noise, equal_nan=True):
            return f"{a.reshape(-1)[:8]} for {b.reshape(-1)[:8]}"
    return ""


def is_free(function: str, title: str) -> bool:
    kinds = FREE.get(function, ())
    return not function.endswith(("_backward", "_step")) or title.startswith(tuple(kinds))


def finding(call: Call, name: str, change: Change) -> str:
    """What is wrong with the kernel's answer to a changed call; empty when nothing is."""
    args = {**call.args, name: change.value}
    try:
        got = outputs(call.function, args, False)
    except ANSWERS as error:
        if change.wanted == "index" and not isinstance(error, IndexError):
            return f"{type(error).__name__} for IndexError: {error}"
        written = "writable" in str(error) or "C-contiguous" in str(error)
        return f"refused: {error}" if change.wanted == "same" and not written else ""
    except Exception as error:
        return f"{type(error).__name__}: {error}"
    if change.wanted == "any" or (call.function.endswith("_step") and "set to" in change.what):
        return ""
    free = is_free(call.function, f"{name} {change.what}")
    if change.wanted == "index" or (change.wanted in ("error", "huge") and not free):
        return "accepted"
    if change.wanted == "same":
        return difference(got, outputs(call.function, call.args, False))
    want = outputs(call.function, args, True)
    noise = 1e-6
    if call.function.startswith("scaled_dot_product_attention") and name == "scale":
        # What rounds a softmax that is all but one-hot is multiplied by it; never infinite or NaN.
        noise = max(noise, 2.0**-22 * abs(change.value or 0))
    return difference(got, want, noise) if all(np.isfinite(a).all() for a in want) else ""


def findings(call: Call, log: Callable[[str], Any]) -> Iterator[str]:
    for name, value in call.args.items():
        for change in changes(value):
            if change.wanted == "huge" and not call.function.endswith("_backward"):
                continue  # forward would rightly take its time
            title = f"{call.function}: {name} {change.what}"
            log(title)
            found = finding(call, name, change)
            if found:
                yield f"{title}: {found}"


def main(calls: Path, family: str, log: Path) -> None:
    limit_memory()
    warnings.simplefilter("ignore")
    np.set_printoptions(threshold=4)  # messages show the arguments
    with log.open("w") as running:

        def note(title: str) -> None:
            running.seek(0)
            running.write(title.ljust(120))
            running.flush()

        for call in pickle.loads(calls.read_bytes()):
            if call.family == family:
                for found in findings(call, note):
                    print(found, flush=True)


if __name__ == "__main__":
    sys.modules["operand_worker"] = sys.modules["__main__"]  # where the pickle looks for Call
    main(Path(sys.argv[1]), sys.argv[2], Path(sys.argv[3]))
