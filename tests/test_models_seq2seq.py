"""Sequence to sequence: cached and uncached logits, padding, bad input, learning."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
from plain_cache import PlainCache

import pyfast as pf
from pyfast.models import Seq2SeqConfig, Seq2SeqTransformer

SIZES: dict[str, Any] = {
    "source_vocab_size": 20,
    "target_vocab_size": 30,
    "hidden_size": 16,
    "num_encoder_layers": 2,
    "num_decoder_layers": 2,
    "num_attention_heads": 4,
    "max_position_embeddings": 12,
}
LAYOUTS: dict[str, dict[str, Any]] = {
    "pre-norm": {},
    "post-norm": {"norm_first": False, "activation": "gelu"},
    "learned": {"position": "learned"},
    "matching": {"cross_attention": "matching"},
    "tied": {"tie_word_embeddings": True},
}


def model_of(layout: str) -> Seq2SeqTransformer:
    pf.manual_seed(3)
    return Seq2SeqTransformer(Seq2SeqConfig(**{**SIZES, **LAYOUTS[layout]})).eval()


RNG = np.random.default_rng(0)
SOURCE, TARGET = RNG.integers(0, 20, (2, 9)), RNG.integers(0, 30, (2, 7))
SOURCE_MASK = np.arange(9) < np.array([[6], [9]])
TARGET_MASK = np.arange(7) >= np.array([[2], [0]])


def close(got: Any, want: Any) -> None:
    np.testing.assert_allclose(np.asarray(got), np.asarray(want), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("own", [False, True], ids=["plain cache", "new_cache"])
@pytest.mark.parametrize("pieces", [(1,) * 7, (4, 2, 1)], ids=str)
@pytest.mark.parametrize("source_mask", [None, SOURCE_MASK], ids=["", "source mask"])
@pytest.mark.parametrize("target_mask", [None, TARGET_MASK], ids=["", "target mask"])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_logits_with_cache_are_those_without(
    layout: str, target_mask: Any, source_mask: Any, pieces: tuple[int, ...], own: bool
) -> None:
    model = model_of(layout)
    want = model(SOURCE, TARGET, source_mask, target_mask).numpy()
    memory = model.encode(SOURCE, source_mask)
    cache = model.new_cache(2) if own else PlainCache(2)
    for start, n in zip(itertools.accumulate(pieces, initial=0), pieces, strict=False):
        so_far = None if target_mask is None else target_mask[:, : start + n]
        step = TARGET[:, start : start + n]
        got = model.decode(step, memory, source_mask, cache, target_mask=so_far)
        close(got, want[:, start : start + n])
    assert cache.length == 7


@pytest.mark.parametrize("layout", LAYOUTS)
def test_padding_of_the_source_changes_nothing(layout: str) -> None:
    model = model_of(layout)
    want = model(SOURCE[:1, :6], TARGET[:1])
    close(model(SOURCE, TARGET, SOURCE_MASK)[:1], want)
    changed = np.where(SOURCE_MASK, SOURCE, 3)
    close(model(changed, TARGET, SOURCE_MASK)[:1], want)


def test_the_target_is_causal_unless_told_otherwise() -> None:
    model = model_of("pre-norm")
    memory = model.encode(SOURCE)
    changed = TARGET.copy()
    changed[:, 6] = (changed[:, 6] + 1) % 30
    before, after = (model.decode(t, memory).numpy() for t in (TARGET, changed))
    np.testing.assert_array_equal(before[:, :6], after[:, :6])
    before, after = (model.decode(t, memory, is_causal=False).numpy() for t in (TARGET, changed))
    assert (before[:, :6] != after[:, :6]).any()


def test_memory_has_the_batch_first() -> None:
    assert model_of("pre-norm").encode(SOURCE).shape == (2, 9, 16)
    assert model_of("matching").encode(SOURCE).shape == (2, 2, 9, 16)


def test_it_learns_to_reverse() -> None:
    pf.manual_seed(0)
    model = Seq2SeqTransformer(Seq2SeqConfig(**SIZES, dropout=0.0))
    optimizer = pf.optim.AdamW(model.parameters(), lr=3e-3)
    source = np.random.default_rng(1).integers(2, 20, (16, 5))
    target = np.concatenate([np.ones((16, 1), int), source[:, ::-1]], 1)
    losses = []
    for _ in range(80):
        logits = model(source, target[:, :-1])
        loss = pf.ops.cross_entropy(logits.reshape(-1, 30), target[:, 1:].ravel())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.3 < 2 < losses[0]


MODEL = model_of("pre-norm")
MEMORY = MODEL.encode(SOURCE)


@pytest.mark.parametrize(
    ("call", "error", "match"),
    [
        (lambda: MODEL.encode(SOURCE * 1.0), TypeError, "source must be integers, got float64"),
        (lambda: MODEL.encode(SOURCE + 15), IndexError, r"source must be in \[0, 20\)"),
        (lambda: MODEL.encode(np.zeros((1, 13), int)), ValueError, "max_positions = 12, got 13"),
        (lambda: MODEL.encode(SOURCE, TARGET_MASK), ValueError, "source_mask must have shape"),
        (lambda: MODEL.decode(TARGET + 25, MEMORY), IndexError, r"target_ids must be in \[0, 30"),
        (lambda: MODEL.decode(TARGET[:1], MEMORY), ValueError, "memory must have batch 1"),
        (lambda: MODEL.decode(TARGET, MEMORY, TARGET_MASK), ValueError, "memory_mask must have"),
        (lambda: MODEL.decode(TARGET, MEMORY, None, PlainCache(1)), ValueError, "batch size 2"),
        (lambda: MODEL.decode(np.zeros((2, 13), int), MEMORY), ValueError, "got 13 tokens"),
        (lambda: MODEL(SOURCE, TARGET, None, SOURCE_MASK), ValueError, "target_mask must have"),
        (
            lambda: Seq2SeqTransformer(Seq2SeqConfig(**SIZES, position="rotary")),
            ValueError,
            "position must be one of .* got 'rotary'",
        ),
    ],
)
def test_bad_input_is_refused(call: Any, error: type[Exception], match: str) -> None:
    with pytest.raises(error, match=match):
        call()
