"""Attention maps, positional encodings and decoding trees: what is drawn, and bad input."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import pytest

matplotlib = pytest.importorskip("matplotlib")
matplotlib.use("Agg")

from matplotlib import pyplot as plt  # noqa: E402

from pyfast import nn  # noqa: E402
from pyfast.generation import record_attention  # noqa: E402
from pyfast.plot.attention import (  # noqa: E402
    attention_heads,
    attention_map,
    positional_encoding,
)
from pyfast.plot.decoding import decoding_tree  # noqa: E402


@pytest.fixture(autouse=True)
def close() -> Iterator[None]:
    yield
    plt.close("all")


def test_recorded_weights_are_those_of_a_call() -> None:
    layer = nn.TransformerDecoderLayer(8, 2, dim_feedforward=16, batch_first=True).eval()
    rng = np.random.default_rng(0)
    target, memory = (rng.standard_normal((2, n, 8)).astype(np.float32) for n in (3, 5))
    before = np.asarray(layer(target, memory))
    with record_attention(layer) as maps:
        output = layer(target, memory)
    np.testing.assert_allclose(output, before, atol=1e-6)
    assert {name: [w.shape for w in ws] for name, ws in maps.items()} == {
        "self_attn": [(2, 2, 3, 3)],
        "multihead_attn": [(2, 2, 3, 5)],
    }
    np.testing.assert_allclose(maps["multihead_attn"][0].sum(-1), 1, rtol=1e-5)
    layer(target, memory)
    assert len(maps["self_attn"]) == 1


def test_map_shows_the_weights() -> None:
    weights = np.array([[0.9, 0.1, 0.0], [0.2, 0.3, 0.5]])
    _figure, given = plt.subplots()
    ax = attention_map(weights, queries=["x", "y"], keys=["a", "b", "c"], ax=given)
    assert ax is given
    np.testing.assert_array_equal(ax.images[0].get_array(), weights)
    assert [t.get_text() for t in ax.get_yticklabels()] == ["x", "y"]


def test_a_map_for_each_head() -> None:
    weights = np.random.default_rng(0).random((3, 2, 4))
    axes = attention_heads(weights)
    for ax, head in zip(axes, weights, strict=True):
        np.testing.assert_array_equal(ax.images[0].get_array(), head)


def test_positions_are_shown_about_zero() -> None:
    table = nn.SinusoidalPositionalEncoding(16, 32).table.data
    image = positional_encoding(table).images[0]
    np.testing.assert_array_equal(image.get_array(), table)
    assert image.get_clim() == (-1.0, 1.0)


def test_tree_greys_what_died() -> None:
    parents = [[0, 0], [0, 0]]  # both second beams come from the first
    ax = decoding_tree(parents, [[1, 2], [3, 4]], [[-1.0, -2.0], [-1.5, -1.7]], labels="abcde")
    colors = [line.get_color() for line in ax.lines]
    assert colors[1] == "0.75"
    assert len({colors[0], colors[2], colors[3]}) == 1
    assert "-1.70" in [t.get_text() for t in ax.texts]


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: attention_map(np.ones(3)), r"matrix, not empty, got shape \(3,\)"),
        (lambda: attention_map(np.ones((2, 3)), keys=["a"]), "keys must be 3 tokens, got 1"),
        (lambda: attention_heads(np.ones((2, 3))), r"heads, queries, keys\), got \(2, 3\)"),
        (lambda: positional_encoding(np.ones((0, 3))), "not empty"),
        (lambda: decoding_tree([[0, 0]], [[1]]), "one shape"),
        (lambda: decoding_tree([[0, 2]], [[1, 1]]), r"\[0, 2\), got 0 ... 2"),
    ],
)
def test_bad_input(call: Callable[[], object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        call()
