"""Positions: their formulas, offsets, gradients, and the ends of their tables."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import pyfast as pf
from pyfast import nn

X = np.random.default_rng(0).standard_normal((2, 3, 5, 8))  # batch, heads, length, features


def angle(position: int, pair: int, width: int = 8, base: float = 10000.0) -> float:
    return float(position / base ** (2 * pair / width))


def test_sinusoids_follow_the_paper() -> None:
    layer = nn.SinusoidalPositionalEncoding(8, 20, dtype=np.float64)
    assert layer.state_dict() == {}
    added = layer(np.zeros((1, 20, 8))).numpy()[0]
    for t in range(20):
        for i in range(4):
            assert np.isclose(added[t, 2 * i], np.sin(angle(t, i)), atol=1e-12)
            assert np.isclose(added[t, 2 * i + 1], np.cos(angle(t, i)), atol=1e-12)


@pytest.mark.parametrize(
    "layer",
    [
        nn.SinusoidalPositionalEncoding(8, 20, dtype=np.float64),
        nn.LearnedPositionalEncoding(8, 20, dtype=np.float64),
        nn.RotaryPositionalEmbedding(8, 20, dtype=np.float64),
    ],
    ids=lambda layer: type(layer).__name__,
)
def test_offsets_and_positions_choose_rows(layer: Any) -> None:
    x = X if isinstance(layer, nn.RotaryPositionalEmbedding) else X[:, 0]
    wide = np.concatenate([x, x], axis=-2)
    second = layer(wide).numpy()[..., 5:, :]
    np.testing.assert_allclose(layer(x, 5), second, rtol=1e-12)
    np.testing.assert_allclose(layer(x, np.arange(5, 10)), second, rtol=1e-12)
    rows = np.stack([np.arange(5, 10), np.arange(5)])
    got = layer(x, rows).numpy()
    np.testing.assert_allclose(got[0], second[0], rtol=1e-12)
    np.testing.assert_allclose(got[1], layer(x).numpy()[1], rtol=1e-12)


@pytest.mark.parametrize("interleaved", [False, True])
def test_rotation_of_pairs(interleaved: bool) -> None:
    layer = nn.RotaryPositionalEmbedding(8, 20, interleaved=interleaved, dtype=np.float64)
    turned = layer(X).numpy()
    for i in range(4):
        a, b = (2 * i, 2 * i + 1) if interleaved else (i, i + 4)
        pair = (X[..., a] + 1j * X[..., b]) * np.exp(1j * np.array([angle(t, i) for t in range(5)]))
        np.testing.assert_allclose(turned[..., a], pair.real, rtol=1e-10)
        np.testing.assert_allclose(turned[..., b], pair.imag, rtol=1e-10)


def test_rotated_products_depend_on_distance() -> None:
    layer = nn.RotaryPositionalEmbedding(8, 50, dtype=np.float64)
    q, k = X[:1, :1, :1], X[:1, 1:2, :1]
    near = [(layer(q, t).numpy() * layer(k, t + 3).numpy()).sum() for t in (0, 7, 40)]
    np.testing.assert_allclose(near, near[0], rtol=1e-10)


@pytest.mark.parametrize("interleaved", [False, True])
def test_gradient_of_a_rotation(interleaved: bool) -> None:
    layer = nn.RotaryPositionalEmbedding(8, 20, interleaved=interleaved, dtype=np.float64)
    x, seed = pf.Tensor(X, requires_grad=True), np.random.default_rng(1).standard_normal(X.shape)
    layer(x, 3).backward(seed)
    step = np.random.default_rng(2).standard_normal(X.shape)  # linear: one difference is exact
    difference = ((layer(X + step, 3).numpy() - layer(X, 3).numpy()) * seed).sum()
    np.testing.assert_allclose((np.asarray(x.grad) * step).sum(), difference, rtol=1e-9)


def test_gradient_of_learned_positions() -> None:
    layer = nn.LearnedPositionalEncoding(8, 6, dtype=np.float64)
    layer(X[:, 0]).sum().backward()
    np.testing.assert_array_equal(np.asarray(layer.weight.grad)[:, 0], [2, 2, 2, 2, 2, 0])
    layer.zero_grad()
    layer(X[:, 0], np.array([[0, 0, 0, 1, 5], [0, 1, 2, 3, 4]])).sum().backward()
    np.testing.assert_array_equal(np.asarray(layer.weight.grad)[:, 0], [4, 2, 1, 1, 1, 1])


LAYERS = [
    nn.SinusoidalPositionalEncoding(8, 6),
    nn.LearnedPositionalEncoding(8, 6),
    nn.RotaryPositionalEmbedding(8, 6),
]
Y = X.astype(np.float32)


@pytest.mark.parametrize("layer", LAYERS, ids=lambda layer: type(layer).__name__)
@pytest.mark.parametrize(
    ("positions", "error", "match"),
    [
        (2, ValueError, r"positions must be in \[0, 6\), got 6"),
        (-1, ValueError, r"positions must be in \[0, 6\), got -1"),
        (np.array([0, 1, 2, 3, 6]), ValueError, "got 6"),
        (np.arange(4), ValueError, r"positions must have shape \(5,\) or \(batch, 5\), got \(4,\)"),
        (np.zeros(5), TypeError, "positions must be integers, got float64"),
    ],
)
def test_positions_beyond_the_table(
    layer: Any, positions: Any, error: type[Exception], match: str
) -> None:
    with pytest.raises(error, match=match):
        layer(Y, positions)


@pytest.mark.parametrize(
    ("call", "match"),
    [
        (lambda: nn.SinusoidalPositionalEncoding(7), "embedding_dim must be positive and even"),
        (lambda: nn.RotaryPositionalEmbedding(0), "head_dim must be positive and even, got 0"),
        (lambda: nn.LearnedPositionalEncoding(0), "embedding_dim must be positive, got 0"),
        (lambda: nn.LearnedPositionalEncoding(7, 0), "max_positions must be positive, got 0"),
        (lambda: nn.SinusoidalPositionalEncoding(8, -1), "max_positions must be positive, got -1"),
        (lambda: LAYERS[2](Y[..., :4]), "input must end in 8, got shape"),
    ],
)
def test_bad_settings_are_refused(call: Any, match: str) -> None:
    with pytest.raises(ValueError, match=match):
        call()
