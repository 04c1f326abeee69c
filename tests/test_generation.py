"""Autoregressive decoding, on a stand-in model whose next token is known and on real ones."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import pyfast as pf
from pyfast import nn
from pyfast.generation import KVCache, beam_search, generate, stream
from pyfast.generation.decoder import Decoder, prompt_array
from pyfast.models import GPT, GPTConfig, Seq2SeqConfig, Seq2SeqTransformer

END = 0


class Chain(nn.Module):
    """A Markov chain: the logits of the next token are a row of a table."""

    max_positions = 12

    def __init__(self, table: Any) -> None:
        super().__init__()
        self.table = np.asarray(table, np.float32)
        self.rows_run = 0

    def forward(self, input_ids: Any, cache: Any = None, attention_mask: Any = None) -> Any:
        assert not self.training
        assert not pf.is_grad_enabled()
        self.rows_run += len(input_ids)
        if cache is not None:
            assert cache.batch_size == len(input_ids)
            cache.advance(input_ids.shape[1])
        return self.table[input_ids]

    def new_cache(self, batch_size: int, max_length: int) -> KVCache:
        return KVCache(1, batch_size, max_length)


def chain(vocabulary: int = 5, seed: int = 0) -> Chain:
    return Chain(np.random.default_rng(seed).standard_normal((vocabulary, vocabulary)))


COUNT_DOWN = Chain(10 * np.eye(8)[[7, 0, 1, 2, 3, 4, 5, 6]])  # n is followed by n - 1

GPTS: dict[str, Callable[[], GPTConfig]] = {
    "gpt2": lambda: GPTConfig(11, 16, 2, 2, max_position_embeddings=32),
    "llama": lambda: GPTConfig.llama(
        vocab_size=11, hidden_size=16, num_hidden_layers=2, num_attention_heads=4,
        num_key_value_heads=2, max_position_embeddings=32,
    ),
}  # fmt: skip


def gpt(kind: str = "gpt2") -> GPT:
    pf.manual_seed(3)
    model = GPT(GPTS[kind]())
    for p in model.parameters():  # far from uniform, so that nothing ties
        p.data *= 8
    return model


def seq2seq() -> Seq2SeqTransformer:
    pf.manual_seed(5)
    sizes = {"hidden_size": 16, "num_encoder_layers": 2, "num_decoder_layers": 2}
    return Seq2SeqTransformer(Seq2SeqConfig(9, 7, **sizes, max_position_embeddings=24))


def test_greedy_stops_at_end_and_leaves_it_out() -> None:
    (found,) = generate(COUNT_DOWN, [5], 9, eos_token_id=END)
    assert found.tokens == [4, 3, 2, 1]
    assert found.finished
    expected = -5 * np.log(1 + 7 * np.exp(-10.0))
    assert found.score == pytest.approx(expected, rel=1e-4)


def test_end_never_produced_stops_at_max_new_tokens() -> None:
    (found,) = generate(COUNT_DOWN, [5], 3, eos_token_id=END)
    assert (found.tokens, found.finished) == ([4, 3, 2], False)
    (found,) = generate(COUNT_DOWN, [5])  # and without any limit, where the positions end
    assert len(found) == 11


def test_any_of_several_ends() -> None:
    assert generate(COUNT_DOWN, [5], 9, eos_token_id=[2, END])[0].tokens == [4, 3]


def test_finished_rows_cost_nothing() -> None:
    COUNT_DOWN.rows_run = 0
    found = generate(COUNT_DOWN, [[2], [7], [1], [4]], 9, eos_token_id=END)
    assert [len(f) for f in found] == [1, 6, 0, 3]
    assert COUNT_DOWN.rows_run == 2 + 7 + 1 + 4


def test_prompts_of_several_lengths() -> None:
    model = gpt()
    prompts = [[1, 2, 3, 4, 5], [6], [7, 8]]
    together = generate(model, prompts, 8)
    for prompt, found in zip(prompts, together, strict=True):
        assert found.tokens == generate(model, [prompt], 8)[0].tokens


@pytest.mark.parametrize("kind", GPTS)
def test_cache_changes_nothing(kind: str) -> None:
    model, prompts = gpt(kind), [[1, 2, 3], [4, 5, 6]]
    for options in ({}, {"num_beams": 3, "num_return_sequences": 3}):
        cached = generate(model, prompts, 12, eos_token_id=2, **options)
        plain = generate(model, prompts, 12, eos_token_id=2, use_cache=False, **options)
        assert [f.tokens for f in cached] == [f.tokens for f in plain]
        np.testing.assert_allclose([f.score for f in cached], [f.score for f in plain], rtol=1e-4)


@pytest.mark.parametrize("options", [{}, {"num_beams": 3}, {"use_cache": False}])
def test_sequence_to_sequence(options: dict[str, Any]) -> None:
    """Each source alone gives what it gives in a padded batch."""
    model = seq2seq()
    source = np.array([[1, 2, 3, 4, 5], [6, 7, 0, 0, 0]])
    mask = source > 0
    found = generate(model, 1, 6, source=source, source_mask=mask, eos_token_id=2, **options)
    for row, n, f in zip(source, mask.sum(1), found, strict=True):
        (alone,) = generate(model, [[1]], 6, source=row[None, :n], eos_token_id=2, **options)
        assert alone.tokens == f.tokens
        assert alone.score == pytest.approx(f.score, rel=1e-4)


def test_stream_hands_out_what_generate_collects() -> None:
    steps = list(stream(COUNT_DOWN, [[2], [4]], 9, eos_token_id=END))
    np.testing.assert_array_equal(steps, [[1, 3], [0, 2], [-1, 1], [-1, 0]])
    assert steps[0].dtype == np.int64


def test_stream_comes_token_by_token() -> None:
    model = chain()
    tokens = stream(model, [1], 5)
    before = model.rows_run
    next(tokens)
    next(tokens)
    assert model.rows_run == before + 1


def test_mode_is_restored() -> None:
    model = gpt()
    model.layers[0].eval()
    generate(model, [1], 3)
    assert model.training
    assert not model.layers[0].training
    tokens = stream(model, [1], 3)
    next(tokens)
    assert not model.training
    tokens.close()
    assert model.training


# -- sampling ------------------------------------------------------------------------------------


def test_sampling_repeats_with_its_seed() -> None:
    model = chain()
    pf.manual_seed(1)
    first = generate(model, [1], 8, do_sample=True, num_return_sequences=3)
    assert first != generate(model, [1], 8, do_sample=True, num_return_sequences=3)
    pf.manual_seed(1)
    assert first == generate(model, [1], 8, do_sample=True, num_return_sequences=3)
    own = [generate(model, [1], 8, do_sample=True, generator=pf.Generator(4)) for _ in range(2)]
    assert own[0] == own[1]


@pytest.mark.parametrize(
    "options",
    [{}, {"temperature": 0.5}, {"top_k": 2}, {"top_p": 0.7}, {"min_p": 0.3, "temperature": 2.0}],
)
def test_sampled_frequencies(options: dict[str, Any]) -> None:
    """Chi-square of drawn pairs of tokens against the chain's exact probabilities."""
    stats = pytest.importorskip("scipy.stats")
    model, draws = chain(4, seed=2), 4000
    logits = pf.generation.process_logits(model.table, **options)
    step = np.asarray(pf.ops.softmax(logits.astype(float), -1))
    expected = draws * (step[1][:, None] * step)
    pf.manual_seed(0)
    found = generate(model, [1], 2, do_sample=True, num_return_sequences=draws, **options)
    counts = np.zeros((4, 4))
    for f in found:
        counts[tuple(f.tokens)] += 1
    assert counts[expected == 0].sum() == 0
    possible = expected > 0
    assert stats.chisquare(counts[possible], expected[possible]).pvalue > 1e-3


def test_repetition_penalty_avoids_what_was_there() -> None:
    table = np.zeros((4, 4))
    table[:, 1] = 2.0
    table[:, 2] = 1.5
    assert generate(Chain(table), [3], 3)[0].tokens == [1, 1, 1]
    assert generate(Chain(table), [3], 3, repetition_penalty=2.0)[0].tokens[:2] == [1, 2]


# -- beam search ---------------------------------------------------------------------------------


def every_sequence(
    model: Chain, start: int, steps: int, power: float
) -> dict[tuple[int, ...], float]:
    """All sequences up to END or `steps` tokens, with their scores."""
    log_probs = np.asarray(pf.ops.log_softmax(model.table.astype(float), -1))
    scores = {}
    for tokens in itertools.product(range(len(log_probs)), repeat=steps):
        cut = tokens[: tokens.index(END) + 1] if END in tokens else tokens
        total = sum(log_probs[a, b] for a, b in itertools.pairwise((start, *cut)))
        scores[cut] = total / len(cut) ** power
    return scores


@pytest.mark.parametrize("power", [0.0, 1.0, -0.5])
@pytest.mark.parametrize("seed", range(3))
def test_a_beam_as_wide_as_the_tree_finds_the_best(seed: int, power: float) -> None:
    model, steps = chain(4, seed), 4
    found = generate(
        model, [1], steps, eos_token_id=END, num_beams=64, num_return_sequences=5,
        length_penalty=power, early_stopping="never",
    )  # fmt: skip
    scores = every_sequence(model, 1, steps, power)
    best = sorted(scores, key=scores.__getitem__, reverse=True)[:5]
    assert [(*f.tokens, *([END] if f.finished else [])) for f in found] == best
    np.testing.assert_allclose([f.score for f in found], [scores[b] for b in best], rtol=1e-5)


def test_a_wider_beam_finds_no_worse() -> None:
    model = gpt()
    greedy = generate(model, [1], 6)[0].score
    widths = [generate(model, [1], 6, num_beams=n, length_penalty=0.0)[0].score for n in (4, 11)]
    rounding = 6 * 2e-6  # a log-probability's, which another batch size may round otherwise
    assert greedy <= widths[0] + rounding <= widths[1] + 2 * rounding


def test_early_stopping_takes_the_first_finished() -> None:
    """Short sequences finish first; longer ones have the better mean."""
    table = np.log([[1, 1e-9, 1e-9], [0.6, 0.05, 0.35], [0.3, 0.0001, 0.6999]])
    settings = {"eos_token_id": END, "num_beams": 2, "num_return_sequences": 2}
    eager, patient = (
        sum(map(len, generate(Chain(table), [1], 8, early_stopping=early, **settings)))
        for early in (True, "never")
    )
    assert eager < patient


def test_beams_can_be_watched() -> None:
    seen = []
    decoder = Decoder(COUNT_DOWN.eval(), [5], 3)
    beam_search(decoder, 2, np.array([END]), watch=lambda *step: seen.append(step))
    assert len(seen) == 2
    assert seen[0][1][0] == 4


# -- against Hugging Face ------------------------------------------------------------------------


@pytest.fixture(scope="module", params=["gpt2", "llama"])
def pair(request: Any, tmp_path_factory: Any) -> tuple[GPT, Any]:
    """A model of Hugging Face's with random weights, and ours with the same."""
    transformers = pytest.importorskip("transformers")
    torch = pytest.importorskip("torch")
    torch.manual_seed(0)
    sizes = {"vocab_size": 40, "bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 0}
    if request.param == "gpt2":
        config = transformers.GPT2Config(
            n_embd=32, n_layer=2, n_head=4, n_positions=64, initializer_range=0.4, **sizes
        )
        theirs = transformers.GPT2LMHeadModel(config)
    else:
        config = transformers.LlamaConfig(
            hidden_size=32, num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=2,
            intermediate_size=48, max_position_embeddings=64, initializer_range=0.4, **sizes,
        )  # fmt: skip
        theirs = transformers.LlamaForCausalLM(config)
    folder = tmp_path_factory.mktemp(request.param)
    theirs.eval().save_pretrained(folder)
    return GPT.from_pretrained(folder), theirs


PROMPTS = np.random.default_rng(0).integers(3, 40, (4, 5))


def reference(model: Any, new: int, **options: Any) -> Any:
    import torch

    ids = torch.from_numpy(PROMPTS)
    settings = {"do_sample": False, "max_new_tokens": new, "attention_mask": torch.ones_like(ids)}
    out = model.generate(
        ids, return_dict_in_generate=True, output_scores=True, **settings | options
    )
    tokens = []
    for row in out.sequences[:, 5:].tolist():
        cut = row.index(2) if 2 in row else len(row)
        tokens.append(row[:cut])
    return tokens, out


def test_greedy_as_hugging_face(pair: tuple[GPT, Any]) -> None:
    ours, theirs = pair
    for penalty in (1.0, 1.3):
        expected, _ = reference(theirs, 20, repetition_penalty=penalty)
        found = generate(ours, PROMPTS, 20, eos_token_id=2, repetition_penalty=penalty)
        assert [f.tokens for f in found] == expected


@pytest.mark.parametrize("early", [True, False, "never"])
@pytest.mark.parametrize("power", [0.0, 1.0, 2.0])
@pytest.mark.parametrize("penalty", [1.0, 1.2])
def test_beam_search_as_hugging_face(
    pair: tuple[GPT, Any], early: Any, power: float, penalty: float
) -> None:
    ours, theirs = pair
    options = {
        "num_beams": 4, "num_return_sequences": 3, "length_penalty": power,
        "early_stopping": early, "repetition_penalty": penalty,
    }  # fmt: skip
    expected, out = reference(theirs, 16, **options)
    found = generate(ours, PROMPTS, 16, eos_token_id=2, **options)
    assert [f.tokens for f in found] == expected
    np.testing.assert_allclose([f.score for f in found], out.sequences_scores.numpy(), rtol=1e-4)


@pytest.mark.parametrize(
    "options",
    [
        {"temperature": 0.7},
        {"top_k": 5},
        {"top_p": 0.8},
        {"min_p": 0.1},
        {"temperature": 1.5, "top_k": 12, "top_p": 0.9, "min_p": 0.05, "repetition_penalty": 1.2},
    ],
)
def test_sampling_as_hugging_face(pair: tuple[GPT, Any], options: dict[str, Any]) -> None:
    """The processed probabilities of their first draw are those that ours draws from."""
    ours, theirs = pair
    _, out = reference(theirs, 1, do_sample=True, **{"top_k": 0} | options)
    shaping = dict(options)
    penalty = shaping.pop("repetition_penalty", 1.0)
    logits = np.asarray(ours.eval()(PROMPTS))[:, -1]
    logits = pf.generation.apply_repetition_penalty(logits, PROMPTS, penalty)
    expected = out.scores[0].softmax(-1).numpy()
    got = pf.ops.softmax(pf.generation.process_logits(logits, **shaping), -1)
    np.testing.assert_array_equal(got > 0, expected > 0)
    np.testing.assert_allclose(got, expected, rtol=1e-3, atol=1e-6)


# -- bad input -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: generate(COUNT_DOWN, [], 3), ValueError, "prompt must not be empty"),
        (lambda: generate(COUNT_DOWN, np.zeros((2, 0), int), 3), ValueError, "must not be empty"),
        (lambda: generate(COUNT_DOWN, [[1], []], 3), ValueError, "must not be empty"),
        (lambda: generate(COUNT_DOWN, np.zeros((1, 1, 1), int), 3), ValueError, r"\(1, 1, 1\)"),
        (lambda: generate(COUNT_DOWN, [[0.5]], 3), TypeError, "integers, got float64"),
        (lambda: generate(COUNT_DOWN, [1], 12), ValueError, "max_positions = 12, got 12"),
        (lambda: generate(COUNT_DOWN, [1], 0), ValueError, "max_new_tokens must be positive"),
        (lambda: generate(COUNT_DOWN, [1], 3, source=[[1]]), ValueError, "Chain takes no source"),
        (lambda: generate(seq2seq(), [1], 3), ValueError, "Seq2SeqTransformer needs source"),
        (
            lambda: generate(seq2seq(), [[1], [1]], 3, source=[[1, 2]]),
            ValueError,
            r"one row for each source \(1\), got 2",
        ),
        (lambda: generate(gpt(), [[11]], 3), IndexError, r"\[0, 11\), got 11"),
        (lambda: generate(COUNT_DOWN, [1], 3, num_beams=0), ValueError, "positive, got 0 and 1"),
        (lambda: generate(COUNT_DOWN, [1], 3, num_return_sequences=2), ValueError, "do_sample"),
        (
            lambda: generate(COUNT_DOWN, [1], 3, num_beams=2, do_sample=True),
            ValueError,
            "choose one",
        ),
        (
            lambda: generate(COUNT_DOWN, [1], 3, num_beams=2, early_stopping="soon"),
            ValueError,
            "'soon'",
        ),
        (lambda: generate(COUNT_DOWN, [1], 3, temperature=0.5), ValueError, "do_sample=True"),
        (lambda: generate(COUNT_DOWN, [1], 3, do_sample=True, temperature=0.0), ValueError, "0.0"),
        (lambda: generate(COUNT_DOWN, [1], 3, do_sample=True, top_k=0), ValueError, "top_k"),
        (lambda: generate(COUNT_DOWN, [1], 3, do_sample=True, top_p=0.0), ValueError, "top_p"),
        (lambda: generate(COUNT_DOWN, [1], 3, do_sample=True, min_p=1.5), ValueError, "min_p"),
        (
            lambda: generate(COUNT_DOWN, [1], 3, repetition_penalty=-1.0),
            ValueError,
            "repetition_penalty",
        ),
        (
            lambda: generate(Chain(np.full((3, 3), np.nan)), [1], 3, do_sample=True),
            ValueError,
            "NaN",
        ),
        (lambda: generate(Chain(np.full((3, 3), np.nan)), [1], 3), ValueError, "NaN"),
        (lambda: generate(Chain(np.full((3, 3), np.nan)), [1], 3, num_beams=2), ValueError, "NaN"),
        (lambda: generate("gpt", [1], 3), TypeError, "model must be a model, got str"),
        (lambda: generate(COUNT_DOWN, [1], 2.5), TypeError, "max_new_tokens .* got 2.5"),
        (lambda: generate(COUNT_DOWN, [1], 3, num_beams=2.5), TypeError, "num_beams .* got 2.5"),
        (lambda: generate(COUNT_DOWN, [1], 3, source_mask=[[1]]), ValueError, "beside source"),
        (lambda: generate(COUNT_DOWN, [1], 3, length_penalty=2.0), ValueError, "num_beams above 1"),
        (
            lambda: generate(COUNT_DOWN, [1], 3, num_beams=2, length_penalty=np.nan),
            ValueError,
            "length_penalty must be finite, got nan",
        ),
        (
            lambda: generate(COUNT_DOWN, [1], 3, num_beams=2, eos_token_id=range(8)),
            ValueError,
            "a vocabulary of 8",
        ),
        (lambda: generate(COUNT_DOWN, [1], 3, eos_token_id=1.5), TypeError, "ints, got 1.5"),
        (lambda: generate(COUNT_DOWN, [1], 3, eos_token_id=-1), ValueError, "negative, got -1"),
        (lambda: generate(COUNT_DOWN, [1], 3, eos_token_id=8), ValueError, "vocabulary's 8, got 8"),
        (
            lambda: generate(COUNT_DOWN, [1], 3, num_beams=2, eos_token_id=[1, 9]),
            ValueError,
            "vocabulary's 8, got 9",
        ),
        (lambda: stream(COUNT_DOWN, [1], 3, eos_token_id=8), ValueError, "vocabulary's 8, got 8"),
        (
            lambda: generate(COUNT_DOWN, [1], 3, repetition_penalty=np.inf),
            ValueError,
            "repetition_penalty must be positive and finite, got inf",
        ),
        (
            lambda: generate(COUNT_DOWN, [1], 3, do_sample=True, top_k=2.5),
            TypeError,
            "top_k must be an int, got 2.5",
        ),
        (
            lambda: generate(COUNT_DOWN, [1], 3, do_sample=True, generator=0),
            TypeError,
            "generator must be a pyfast.Generator, got int",
        ),
        (lambda: stream(COUNT_DOWN, [], 3), ValueError, "must not be empty"),
        (lambda: stream(gpt(), [[11]], 3), IndexError, "11"),
    ],
)
def test_bad_input(call: Callable[[], object], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        call()


def test_prompt_of_one_number_begins_each_row() -> None:
    ids, real = prompt_array(7, 3)
    np.testing.assert_array_equal(ids, [[7], [7], [7]])
    assert real is None
