"""The record an op is tested by: samples, bad inputs, the PyTorch oracle, tolerances."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]


@dataclass(frozen=True)
class Sample:
    """One call: floating arrays are cast to the dtype under test, all else is passed as it is."""

    args: tuple[Any, ...]
    kwargs: dict[str, Any] = field(default_factory=dict)

    def cast(self, dtype: Any) -> Sample:
        return Sample(
            tuple(cast(a, dtype) for a in self.args),
            {k: cast(v, dtype) for k, v in self.kwargs.items()},
        )

    def __str__(self) -> str:
        parts = [describe(a) for a in self.args]
        parts += [f"{k}={describe(v)}" for k, v in self.kwargs.items()]
        return ", ".join(parts)


@dataclass(frozen=True)
class Bad:
    """A call that must raise `error` with a message that matches `match` (a regular expression)."""

    args: tuple[Any, ...]
    error: type[Exception] | tuple[type[Exception], ...]
    match: str
    kwargs: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class OpCase:
    """Everything tests/test_ops.py needs to know about ``pf.ops.<name>``.

    Attributes
    ----------
    samples : at least 30 calls, small; edge shapes and every parameter among them.
    large : one or two calls big enough for several chunks and blocks.
    bad : at least ten calls and what they raise.
    torch : the oracle, called with torch tensors in place of arrays; default
        ``torch.nn.functional.<name>``.
    differentiable : positions of arguments that get a gradient (None arguments are passed over).
    rtol, atol : float32 tolerance, relative to the largest magnitude of the result.
    oracle : False for random ops, which have tests of their own beside these.
    """

    name: str
    samples: Callable[[], Sequence[Sample]]
    large: Callable[[], Sequence[Sample]]
    bad: Callable[[], Sequence[Bad]]
    torch: Callable[..., Any] | None = None
    differentiable: tuple[int, ...] = (0,)
    rtol: float = 2e-5
    atol: float = 1e-6
    rtol64: float = 1e-11
    oracle: bool = True
    # False: the gradient is by definition not the derivative (embedding with a padding row).
    derivative: Callable[[Sample], bool] = lambda sample: True
    # Set it when perturbing an input by 1e-5 may cross a kink on purpose-made data: never to skip.
    gradcheck_step: float = 1e-4


def cast(value: Any, dtype: Any) -> Any:
    if isinstance(value, np.ndarray) and value.dtype.kind == "f":
        return value.astype(dtype)
    if isinstance(value, tuple | list) and any(isinstance(v, np.ndarray) for v in value):
        return type(value)(cast(v, dtype) for v in value)
    return value


def describe(value: Any) -> str:
    return f"{value.dtype}{list(value.shape)}" if isinstance(value, np.ndarray) else repr(value)


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)
