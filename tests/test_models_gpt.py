"""The decoder-only model: cached and uncached logits, padding, bad input, learning."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
from plain_cache import PlainCache

import pyfast as pf
from pyfast.models import GPT, GPTConfig

SIZES: dict[str, Any] = {
    "vocab_size": 30,
    "hidden_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "max_position_embeddings": 12,
}
LAYOUTS: dict[str, dict[str, Any]] = {
    "gpt2": {},
    "sinusoidal": {"position": "sinusoidal"},
    "rotary": {"position": "rotary", "bias": False},
    "llama": {**vars(GPTConfig.llama(**SIZES)), "num_key_value_heads": 2},
    "window": {"window_size": 3},
    "llama window": {
        **vars(GPTConfig.llama(**SIZES)),
        "num_key_value_heads": 1,
        "head_dim": 8,
        "window_size": 2,
    },
}


def model_of(layout: str) -> GPT:
    model = GPT(GPTConfig(**{**SIZES, **LAYOUTS[layout]})).eval()
    for i, parameter in enumerate(model.parameters()):  # far from the small initial weights
        start = 0.3 * np.random.default_rng(i).standard_normal(parameter.shape)
        parameter.data = (start + (parameter.ndim == 1)).astype(np.float32)
    return model


def ids(batch: int = 2, length: int = 7, seed: int = 0) -> Any:
    return np.random.default_rng(seed).integers(0, 30, (batch, length))


PADDINGS: dict[str, Any] = {
    "none": None,
    "left": np.array([[0, 0, 0, 1, 1, 1, 1], [1, 1, 1, 1, 1, 1, 1]]),
    "right": np.array([[1, 1, 1, 1, 1, 0, 0], [1, 1, 1, 1, 1, 1, 1]]),
}


@pytest.mark.parametrize("own", [False, True], ids=["plain cache", "new_cache"])
@pytest.mark.parametrize("pieces", [(1,) * 7, (4, 2, 1), (7,)], ids=str)
@pytest.mark.parametrize("padding", PADDINGS)
@pytest.mark.parametrize("layout", LAYOUTS)
def test_logits_with_cache_are_those_without(
    layout: str, padding: str, pieces: tuple[int, ...], own: bool
) -> None:
    model, tokens, mask = model_of(layout), ids(), PADDINGS[padding]
    want = model(tokens, attention_mask=mask).numpy()
    assert np.abs(want).max() > 0.5
    cache = model.new_cache(2) if own else PlainCache(2)
    for start, n in zip(itertools.accumulate(pieces, initial=0), pieces, strict=False):
        so_far = None if mask is None else mask[:, : start + n]
        got = model(tokens[:, start : start + n], cache, so_far)
        assert not got.requires_grad
        np.testing.assert_allclose(
            got.numpy(), want[:, start : start + n], rtol=1e-5, atol=1e-5 * np.abs(want).max()
        )
    assert cache.length == 7


@pytest.mark.parametrize("layout", LAYOUTS)
def test_padding_on_the_left_changes_nothing(layout: str) -> None:
    model, tokens = model_of(layout), ids(1, 4)
    want = model(tokens).numpy()
    padded = np.concatenate([np.full((1, 3), 29), tokens], 1)
    mask = np.arange(7)[None] >= 3
    got = model(padded, attention_mask=mask).numpy()
    np.testing.assert_allclose(got[:, 3:], want, rtol=1e-5, atol=1e-5 * np.abs(want).max())


@pytest.mark.parametrize("layout", LAYOUTS)
def test_the_future_is_hidden(layout: str) -> None:
    model, tokens = model_of(layout), ids()
    before = model(tokens).numpy()
    tokens[:, 5] = (tokens[:, 5] + 1) % 30
    after = model(tokens).numpy()
    np.testing.assert_array_equal(before[:, :5], after[:, :5])
    assert (before[:, 5:] != after[:, 5:]).any()


def test_a_window_forgets() -> None:
    """Two layers that see 3 tokens each: token 0 reaches position 4, not 5."""
    model, tokens = model_of("window"), ids()
    before = model(tokens).numpy()
    tokens[:, 0] = (tokens[:, 0] + 1) % 30
    after = model(tokens).numpy()
    assert (before[:, 4] != after[:, 4]).any()
    np.testing.assert_array_equal(before[:, 5:], after[:, 5:])


def test_it_learns_to_copy_what_it_saw() -> None:
    pf.manual_seed(0)
    model = GPT(GPTConfig.llama(**SIZES))
    optimizer = pf.optim.AdamW(model.parameters(), lr=1e-2)
    tokens = np.array([[1, 5, 9, 2, 7, 3, 8, 4]])
    losses = []
    for _ in range(60):
        logits = model(tokens[:, :-1])
        loss = pf.ops.cross_entropy(logits.reshape(-1, 30), tokens[0, 1:])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.1 < 2 < losses[0]


def test_initial_weights_give_even_odds() -> None:
    pf.manual_seed(0)
    for config in (GPTConfig(**SIZES), GPTConfig.llama(**SIZES)):
        logits = GPT(config)(ids())
        loss = pf.ops.cross_entropy(logits.reshape(-1, 30), ids(seed=1).ravel())
        assert abs(loss.item() - np.log(30)) < 0.1


def test_tied_and_untied_output() -> None:
    tied, untied = GPT(GPTConfig(**SIZES)), GPT(GPTConfig(**SIZES, tie_word_embeddings=False))
    assert "lm_head.weight" not in tied.state_dict()
    assert untied.state_dict()["lm_head.weight"].shape == (30, 16)


MODEL = model_of("gpt2")
ROTARY = model_of("llama")


@pytest.mark.parametrize("model", [MODEL, ROTARY])
@pytest.mark.parametrize(
    ("arguments", "error", "match"),
    [
        ((np.zeros((2, 0), int),), ValueError, r"input_ids must have .*not empty, got \(2, 0\)"),
        ((np.zeros(3, int),), ValueError, r"input_ids must have shape \(batch, length\)"),
        ((np.zeros((1, 3)),), TypeError, "input_ids must be integers, got float64"),
        ((np.full((1, 3), 30),), IndexError, r"input_ids must be in \[0, 30\), got 30"),
        ((np.full((1, 3), -1),), IndexError, r"got -1"),
        ((np.zeros((1, 13), int),), ValueError, "max_positions = 12, got 13 tokens"),
        (
            (np.zeros((2, 3), int), None, np.ones((2, 4), bool)),
            ValueError,
            r"attention_mask must have shape \(2, 3\), got \(2, 4\)",
        ),
        (
            (np.zeros((2, 3), int), None, np.ones((2, 3))),
            TypeError,
            "attention_mask must be bool, or 0 and 1, got float64",
        ),
        ((np.zeros((2, 3), int), None, np.full((2, 3), 2)), ValueError, "0 and 1, got 2"),
        ((np.zeros((2, 3), int), PlainCache(3)), ValueError, "batch size 2, got 3"),
        ((np.zeros((2, 3), int), {}), TypeError, "cache must be a KVCache, got dict"),
        (([[1, 2], [3]],), ValueError, "GPT: input_ids must have rows of one length"),
        ((np.zeros((2, 3), int), None, None, 4), ValueError, r"logits_to_keep .*\[0, 3\], got 4"),
        ((np.zeros((2, 3), int), None, None, 1.0), TypeError, "logits_to_keep must be an int"),
    ],
)
def test_bad_input_is_refused(
    model: GPT, arguments: tuple[Any, ...], error: type[Exception], match: str
) -> None:
    with pytest.raises(error, match=match):
        model(*arguments)


def test_a_full_cache_is_refused() -> None:
    cache = PlainCache(1)
    MODEL(np.zeros((1, 12), int), cache)
    with pytest.raises(ValueError, match="max_positions = 12, got 13"):
        MODEL(np.zeros((1, 1), int), cache)


@pytest.mark.parametrize("cached", [False, True])
def test_logits_of_the_last_positions_only(cached: bool) -> None:
    cache = MODEL.new_cache(2) if cached else None
    expected = MODEL(ids())[:, -2:].numpy()
    got = MODEL(ids(), cache, logits_to_keep=2)
    np.testing.assert_allclose(got.numpy(), expected, rtol=1e-5, atol=1e-5)


def test_a_cache_without_room_is_refused() -> None:
    with pytest.raises(ValueError, match="max_length must be positive, got 0"):
        MODEL.new_cache(1, 0)


@pytest.mark.parametrize("changes", [{"position": "none"}, {"norm": "batch"}])
def test_bad_configs_are_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="must be one of"):
        GPTConfig(**changes)
