"""The speech model: padding, cache, bad input, learning; and the Vision Transformer's own door."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
from plain_cache import PlainCache

import pyfast as pf
from pyfast.models import (
    Bert,
    BertConfig,
    SpeechConfig,
    SpeechTransformer,
    VisionTransformer,
    ViTConfig,
)

SIZES: dict[str, Any] = {
    "target_vocab_size": 30,
    "n_mels": 8,
    "hidden_size": 16,
    "num_encoder_layers": 2,
    "num_decoder_layers": 2,
    "num_attention_heads": 4,
    "max_position_embeddings": 12,
    "max_frames": 60,
}
RNG = np.random.default_rng(0)
SOURCE = RNG.standard_normal((2, 41, 8)).astype(np.float32)
TARGET = RNG.integers(0, 30, (2, 7))


def model_of(**changes: Any) -> SpeechTransformer:
    pf.manual_seed(3)
    return SpeechTransformer(SpeechConfig(**{**SIZES, **changes})).eval()


def close(got: Any, want: Any) -> None:
    np.testing.assert_allclose(np.asarray(got), np.asarray(want), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("frames", [1, 30, 31, 32, 33])
@pytest.mark.parametrize("changes", [{}, {"position": "learned"}, {"cross_attention": "matching"}])
def test_padding_changes_nothing(frames: int, changes: dict[str, Any]) -> None:
    model = model_of(**changes)
    mask = np.arange(41) < np.array([[frames], [41]])
    want = model(SOURCE[:1, :frames], TARGET[:1])
    assert model.memory_mask(mask).shape == (2, 11)
    assert model.memory_mask(mask)[0].sum() == model.encode(SOURCE[:1, :frames]).shape[-2]
    junk = np.where(mask[..., None], SOURCE, np.float32(np.nan))
    close(model(junk, TARGET, mask)[:1], want)


@pytest.mark.parametrize("own", [False, True], ids=["plain cache", "new_cache"])
@pytest.mark.parametrize("pieces", [(1,) * 7, (4, 2, 1)], ids=str)
def test_logits_with_cache_are_those_without(pieces: tuple[int, ...], own: bool) -> None:
    model = model_of()
    mask = np.arange(41) < np.array([[30], [41]])
    want = model(SOURCE, TARGET, mask).numpy()
    memory = model.encode(SOURCE, mask)
    cache = model.new_cache(2) if own else PlainCache(2)
    for start, n in zip(itertools.accumulate(pieces, initial=0), pieces, strict=False):
        step = TARGET[:, start : start + n]
        got = model.decode(step, memory, model.memory_mask(mask), cache)
        close(got, want[:, start : start + n])


def test_it_learns_which_band_sounded() -> None:
    """Three tones in turn are written as three tokens."""
    pf.manual_seed(0)
    model = SpeechTransformer(SpeechConfig(**SIZES, dropout=0.0))
    optimizer = pf.optim.AdamW(model.parameters(), lr=3e-3)
    tones = np.random.default_rng(1).integers(0, 8, (16, 3))
    source = np.repeat(np.eye(8, dtype=np.float32)[tones], 8, axis=1)
    target = np.concatenate([np.ones((16, 1), int), tones + 4], 1)
    losses = []
    for _ in range(100):
        logits = model(source, target[:, :-1])
        loss = pf.ops.cross_entropy(logits.reshape(-1, 30), target[:, 1:].ravel())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.3 < 2 < losses[0]


MODEL = model_of()
BERT = Bert(BertConfig(30, 16, 1, 4, 24, 12))
VIT = VisionTransformer(ViTConfig(8, 2, 1, 16, 1, 4, 24))


@pytest.mark.parametrize(
    ("call", "error", "match"),
    [
        (
            lambda: MODEL.encode(SOURCE[..., :5]),
            ValueError,
            r"source must have shape .* got \(2, 4",
        ),
        (lambda: MODEL.encode(SOURCE[:, :0]), ValueError, "not empty"),
        (lambda: MODEL.encode(np.zeros((1, 61, 8), "f")), ValueError, "max_frames = 60 .* got 61"),
        (lambda: MODEL.encode(SOURCE, np.ones((2, 40), bool)), ValueError, "source_mask must have"),
        (lambda: MODEL.encode(SOURCE.astype(float)), TypeError, "float64"),
        (lambda: model_of(position="rotary"), ValueError, r"SpeechConfig: position .*'rotary'"),
        (lambda: BERT([[30]]), IndexError, r"input_ids must be in \[0, 30\), got 30"),
        (lambda: BERT(np.zeros((1, 13), int)), ValueError, "max_positions = 12, got 13"),
        (lambda: BERT([[1.0]]), TypeError, "input_ids must be integers"),
        (lambda: BERT([[1, 2]], [[1]]), ValueError, "attention_mask must have shape"),
        (lambda: BERT([[1, 2]], None, [[0]]), ValueError, "token_type_ids must have shape"),
        (lambda: BERT([[1, 2]], None, [[0, 2]]), IndexError, r"token_type_ids must be in \[0, 2\)"),
        (
            lambda: VIT(np.zeros((1, 1, 8, 9), "f")),
            ValueError,
            r"\(batch, 1, 8, 8\), got \(1, 1, 8",
        ),
        (lambda: VIT(np.zeros((1, 1, 8, 8))), TypeError, "float64"),
        (lambda: ViTConfig(9, 2), ValueError, r"patch_size must divide .* got \(2, 2\)"),
        (lambda: VIT.pool(np.zeros((1, 2, 16))), ValueError, "pooler must be True"),
    ],
)
def test_bad_input_is_refused(call: Any, error: type[Exception], match: str) -> None:
    with pytest.raises(error, match=match):
        call()
