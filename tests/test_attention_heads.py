"""Attention on one array of projected heads: the bits of split, attend and merge, without them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from oracle import reference_mode, threads

import pyfast as pf
from pyfast import _core, ops
from pyfast.nn.attend import attend_heads
from pyfast.ops.heads import merge_heads, split_heads

RNG = np.random.default_rng(0)


def apart(
    x: Any, groups: tuple[int, int], batch_first: bool, mask: Any = None, **options: Any
) -> Any:
    """What :func:`attend_heads` stands for."""
    parts = split_heads(x, (groups[0], groups[1], groups[1]), batch_first)
    grouped = groups[0] != groups[1]
    output = ops.scaled_dot_product_attention(*parts, mask, enable_gqa=grouped, **options)
    return merge_heads(output, batch_first)


def gradients(attention: Any, x: Any, mask: Any, grad: Any) -> list[Any]:
    """The output, and the gradients of x and of the mask, if it is floating."""
    pf.manual_seed(0)
    x = pf.Tensor(x, requires_grad=True)
    wanted = mask is not None and mask.dtype.kind == "f"
    mask = pf.Tensor(mask, requires_grad=True) if wanted else mask
    output = attention(x, mask)
    output.backward(grad)
    return [output.numpy(), x.grad.numpy(), *([mask.grad.numpy()] if wanted else [])]


# batch, length, heads, groups, width of a head
SHAPES = [(2, 5, 4, 4, 3), (1, 128, 2, 2, 64), (3, 130, 4, 2, 33), (2, 9, 6, 1, 8),
          (1, 1300, 2, 1, 16), (2, 1, 2, 2, 4), (0, 3, 2, 2, 4), (2, 0, 2, 2, 4)]  # fmt: skip


@pytest.mark.parametrize("batch_first", [True, False])
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("kind", ["none", "causal", "window", "bool", "float", "dropout"])
def test_the_bits_of_heads_that_are_split_and_merged(
    shape: tuple[int, ...], batch_first: bool, kind: str
) -> None:
    batch, length, heads, groups, width = shape
    rows = (batch, length) if batch_first else (length, batch)
    x = RNG.standard_normal((*rows, (heads + 2 * groups) * width)).astype(np.float32)
    grad = RNG.standard_normal((*rows, heads * width)).astype(np.float32)
    mask: Any = None
    if kind == "bool":
        mask = RNG.random((length, length)) < 0.7
    if kind == "float":
        mask = RNG.standard_normal((length, length)).astype(np.float32)
    options: dict[str, Any] = {}
    if kind in ("causal", "window"):
        options = {"is_causal": True} if kind == "causal" else {"window_size": (2, 3)}
    if kind == "dropout":
        options = {"dropout_p": 0.3}

    def joined(x: Any, mask: Any) -> Any:
        keep, bias = (mask, None) if kind == "bool" else (None, mask)
        return attend_heads(x, (heads, groups), batch_first, keep, bias, **options)

    def split(x: Any, mask: Any) -> Any:
        return apart(x, (heads, groups), batch_first, mask, **options)

    for found, expected in zip(
        gradients(joined, x, mask, grad), gradients(split, x, mask, grad), strict=True
    ):
        np.testing.assert_array_equal(found, expected)
        assert found.flags.c_contiguous


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_against_the_reference(dtype: Any) -> None:
    x = RNG.standard_normal((2, 70, 3 * 2 * 32)).astype(dtype)
    grad = RNG.standard_normal((2, 70, 2 * 32)).astype(dtype)
    found = gradients(lambda x, m: attend_heads(x, (2, 2), True), x, None, grad)
    with reference_mode():
        expected = gradients(lambda x, m: attend_heads(x, (2, 2), True), x, None, grad)
    tolerance = 2e-6 if dtype == np.float32 else 1e-14
    for a, b in zip(found, expected, strict=True):
        np.testing.assert_allclose(a, b, rtol=0, atol=tolerance * abs(b).max())


def test_threads_change_nothing() -> None:
    x = RNG.standard_normal((3, 130, 4 * 3 * 16)).astype(np.float32)
    grad = RNG.standard_normal((3, 130, 4 * 16)).astype(np.float32)
    runs = []
    for n in (1, 2, 3):
        with threads(n):
            runs.append(gradients(lambda x, m: attend_heads(x, (4, 4), True), x, None, grad))
    for run in runs[1:]:
        for a, b in zip(run, runs[0], strict=True):
            np.testing.assert_array_equal(a, b)


def test_any_strides() -> None:
    wide = RNG.standard_normal((6, 4, 2 * 9)).astype(np.float32)
    x = wide[::2, :, ::-2].transpose(1, 0, 2)
    grad = RNG.standard_normal((3, 3, 4)).astype(np.float32).transpose(2, 0, 1)
    attend = lambda x, m: attend_heads(x, (3, 3), True)  # noqa: E731
    plain = gradients(attend, x.copy(), None, grad.copy())
    for a, b in zip(gradients(attend, x, None, grad), plain, strict=True):
        np.testing.assert_array_equal(a, b)


def test_errors() -> None:
    x = np.ones((2, 3, 12), np.float32)
    for bad, heads, groups, message in (
        (x[0], 2, 2, "heads_attention: projection must have 3 dimensions"),
        (x, 2, 3, "projection must have a width that 8 heads divide"),
        (x, 0, 2, "heads and groups must be between 1 and 1048576, got 0 and 2"),
        (x, 2, 1 << 62, f"between 1 and 1048576, got 2 and {1 << 62}"),
        (x, 3, 2, "projection must have a width that 7 heads divide"),
    ):
        with pytest.raises(ValueError, match=message):
            _core.heads_attention(bad, heads, groups, True)
    with pytest.raises(TypeError, match="projection must be a float32 or float64 array"):
        _core.heads_attention(x.astype(np.int64), 2, 2, True)
    with pytest.raises(ValueError, match="must divide query heads"):
        _core.heads_attention(np.ones((2, 3, 7), np.float32), 3, 2, True)
