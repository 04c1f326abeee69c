"""Non-autoregressive decoding, and what a decoder is shown in training."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import pyfast as pf
from pyfast import nn
from pyfast.generation import (
    LengthPredictor,
    generate_parallel,
    inverse_sigmoid_decay,
    mask_tokens,
    scheduled_sampling,
    teacher_forcing,
)
from pyfast.models import Seq2SeqConfig, Seq2SeqTransformer

MASK, END = 1, 2


class Speller(nn.Module):
    """Knows each target; surer of a token the more of its neighbours are there."""

    max_positions = 10

    def __init__(self, targets: list[list[int]]) -> None:
        super().__init__()
        self.targets = targets
        self.masked: list[Any] = []

    def encode(self, source: Any, source_mask: Any = None) -> Any:
        return np.zeros((len(source), 1, 1), np.float32)

    def decode(
        self,
        target_ids: Any,
        memory: Any,
        memory_mask: Any = None,
        is_causal: bool = True,
        target_mask: Any = None,
    ) -> Any:
        assert not is_causal
        self.masked.append(((target_ids == MASK) & target_mask).sum(1).tolist())
        logits = np.zeros((*target_ids.shape, 9), np.float32)
        logits[:, :, MASK] = 100  # must never be chosen
        for row, target in enumerate(self.targets):
            for at in range(target_ids.shape[1]):
                token = target[at] if at < len(target) else END
                logits[row, at, token] = 5 + at
        return logits


SOURCE = np.zeros((2, 3), int)


def test_all_at_once() -> None:
    model = Speller([[3, 4, 5], [6, 7, 8, 3]])
    found = generate_parallel(model, SOURCE, [3, 4], MASK)
    assert [f.tokens for f in found] == model.targets
    assert model.masked == [[3, 4]]
    sure = [np.exp(5.0 + at) / (np.exp(5.0 + at) + 7) for at in range(3)]
    assert found[0].score == pytest.approx(np.log(sure).sum(), rel=1e-4)


def test_output_is_cut_at_end() -> None:
    model = Speller([[3, 4, 5], [6]])
    found = generate_parallel(model, SOURCE, 8, MASK, eos_token_id=END)
    assert [(f.tokens, f.finished) for f in found] == [([3, 4, 5], True), ([6], True)]
    found = generate_parallel(model, SOURCE, 2, MASK, eos_token_id=END)
    assert [(f.tokens, f.finished) for f in found] == [([3, 4], False), ([6], True)]


def test_each_iteration_hides_fewer() -> None:
    model = Speller([[3, 4, 5, 6], [6, 7, 8, 3, 4, 5, 6, 7]])
    found = generate_parallel(model, SOURCE, [4, 8], MASK, iterations=4)
    assert model.masked == [[4, 8], [3, 6], [2, 4], [1, 2]]
    assert [f.tokens for f in found] == model.targets


def test_the_least_sure_are_guessed_again() -> None:
    class Unsure(Speller):
        def decode(self, target_ids: Any, *args: Any, **kwargs: Any) -> Any:
            logits = super().decode(target_ids, *args, **kwargs)
            if (target_ids == MASK).all():  # at first: wrong and unsure at position 1
                logits[0, 1] = 0.0
                logits[0, 1, 8] = 1.0
            return logits

    model = Unsure([[3, 4, 5]])
    assert generate_parallel(model, SOURCE[:1], 3, MASK)[0].tokens == [3, 8, 5]
    assert generate_parallel(model, SOURCE[:1], 3, MASK, iterations=3)[0].tokens == [3, 4, 5]


def test_padding_of_a_batch_changes_nothing() -> None:
    pf.manual_seed(0)
    sizes = {"hidden_size": 16, "num_encoder_layers": 1, "num_decoder_layers": 1}
    model = Seq2SeqTransformer(Seq2SeqConfig(9, 7, **sizes, max_position_embeddings=24))
    source = np.array([[1, 2, 3, 4, 5], [6, 7, 0, 0, 0]])
    mask = source > 0
    found = generate_parallel(model, source, [6, 3], 1, source_mask=mask, iterations=3)
    alone = generate_parallel(model, source[1:, :2], 3, 1, iterations=3)
    assert found[1].tokens == alone[0].tokens
    assert found[1].score == pytest.approx(alone[0].score, rel=1e-4)
    assert model.training


def test_lengths_can_be_learnt() -> None:
    """Of sources whose mean says how long the target is; padding must not count."""
    pf.manual_seed(0)
    rng = np.random.default_rng(0)
    predictor = LengthPredictor(8, 6)
    optimizer = pf.optim.AdamW(predictor.parameters(), lr=0.05)
    table = rng.standard_normal((7, 8)).astype(np.float32)
    for _ in range(120):
        lengths = rng.integers(1, 7, 32)
        memory = np.repeat(table[lengths][:, None], 4, 1)
        memory[:, 2:] = 9.0
        mask = np.arange(4) < np.full((32, 1), 2)
        loss = pf.ops.cross_entropy(predictor(pf.Tensor(memory), mask), lengths)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert (predictor.predict(memory, mask) == lengths).all()


def test_mask_tokens() -> None:
    rng = np.random.default_rng(0)
    targets = rng.integers(3, 9, (400, 5))
    real = np.arange(5) < rng.integers(1, 6, 400)[:, None]
    inputs, labels = mask_tokens(targets, real, MASK, pf.Generator(0))
    hidden = inputs == MASK
    assert (hidden <= real).all()
    assert hidden.any(1).all()
    np.testing.assert_array_equal(inputs[~hidden], targets[~hidden])
    np.testing.assert_array_equal(labels, np.where(hidden, targets, -100))
    full = hidden.sum(1)[real.all(1)]
    assert set(full) == {1, 2, 3, 4, 5}
    again = mask_tokens(targets, real, MASK, pf.Generator(0))
    np.testing.assert_array_equal(again[0], inputs)


def test_teacher_forcing() -> None:
    targets = np.array([[1, 5, 6, 2], [1, 7, 2, 0]])
    inputs, labels = teacher_forcing(targets, targets > 0)
    np.testing.assert_array_equal(inputs, [[1, 5, 6], [1, 7, 2]])
    np.testing.assert_array_equal(labels, [[5, 6, 2], [7, 2, -100]])


def test_scheduled_sampling() -> None:
    rng = np.random.default_rng(0)
    inputs, logits = rng.integers(0, 9, (50, 8)), rng.standard_normal((50, 8, 9))
    guesses = logits.argmax(-1)
    np.testing.assert_array_equal(scheduled_sampling(inputs, logits, 0.0), inputs)
    own = scheduled_sampling(inputs, logits, 1.0)
    np.testing.assert_array_equal(own[:, 1:], guesses[:, :-1])
    np.testing.assert_array_equal(own[:, 0], inputs[:, 0])
    mixed = scheduled_sampling(inputs, logits, 0.3, generator=pf.Generator(0))
    from_guess = mixed[:, 1:] == guesses[:, :-1]
    assert (from_guess | (mixed[:, 1:] == inputs[:, 1:])).all()
    assert 0.3 < from_guess.mean() < 0.5  # 0.3, and one in nine by accident
    drawn = scheduled_sampling(inputs, logits, 1.0, do_sample=True, generator=pf.Generator(0))
    assert (drawn[:, 1:] != guesses[:, :-1]).any()


def test_decay_falls_from_one_to_nothing() -> None:
    curve = [inverse_sigmoid_decay(step, 50.0) for step in range(0, 1000, 50)]
    assert curve == sorted(curve, reverse=True)
    assert curve[0] > 0.95
    assert curve[-1] < 0.01


SPELLER = Speller([[3], [4]])


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: generate_parallel(SPELLER, SOURCE, 0, MASK), ValueError, r"\[1, max_positions"),
        (lambda: generate_parallel(SPELLER, SOURCE, 11, MASK), ValueError, "= 10"),
        (lambda: generate_parallel(SPELLER, SOURCE, [3], MASK), ValueError, "each of 2 sources"),
        (lambda: generate_parallel(SPELLER, SOURCE, 2.5, MASK), TypeError, "integers"),
        (lambda: generate_parallel(SPELLER, SOURCE, 3, MASK, iterations=0), ValueError, "got 0"),
        (
            lambda: generate_parallel(SPELLER, SOURCE, 3, MASK, eos_token_id=99),
            ValueError,
            "generate_parallel: eos_token_id must be below .* got 99",
        ),
        (lambda: LengthPredictor(4, 0), ValueError, "max_length must be positive"),
        (
            lambda: LengthPredictor(4, 3)(np.ones((2, 5, 4), np.float32), np.ones((2, 4), bool)),
            ValueError,
            r"memory_mask must have shape \(2, 5\)",
        ),
        (lambda: mask_tokens([[1, 2]], [[True]], MASK), ValueError, "one shape"),
        (lambda: mask_tokens([[1, 2]], [[False, False]], MASK), ValueError, "a real token"),
        (lambda: teacher_forcing([[1]]), ValueError, "two tokens or more"),
        (lambda: teacher_forcing([[1, 2]], [[True]]), ValueError, "real must have shape"),
        (
            lambda: scheduled_sampling([[1, 2]], np.zeros((1, 3, 4)), 0.5),
            ValueError,
            r"\(1, 3, 4\)",
        ),
        (lambda: scheduled_sampling([[1]], np.zeros((1, 1, 4)), 1.5), ValueError, "got 1.5"),
        (lambda: inverse_sigmoid_decay(1, 0.5), ValueError, "at least 1"),
    ],
)
def test_bad_input(call: Callable[[], object], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        call()
