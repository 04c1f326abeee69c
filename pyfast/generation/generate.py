"""Autoregressive decoding: one token after the other, chosen greedily, drawn, or by a beam."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from .. import random
from .beam import Hypothesis, beam_search
from .decoder import Decoder, check_ends, evaluation
from .logits import apply_repetition_penalty, log_probabilities, process_logits, sample

__all__ = ["generate", "stream"]

Array = np.ndarray[Any, Any]
End = int | Sequence[int] | None


@dataclass(frozen=True)
class _Choice:
    """How one token is chosen from logits."""

    do_sample: bool
    repetition_penalty: float
    shaping: tuple[float, int | None, float, float]
    rng: np.random.Generator | None

    def __call__(self, decoder: Decoder, logits: Array) -> Array:
        if self.repetition_penalty != 1:
            seen = (decoder.ids, self.repetition_penalty, decoder.real)
            logits = apply_repetition_penalty(logits, *seen)
        if self.rng is None:
            return logits.argmax(-1)
        return sample(process_logits(logits, *self.shaping), self.rng)


def _steps(
    decoder: Decoder, choose: _Choice, ends: Array, logits: Array
) -> Iterator[tuple[Array, Array, Array]]:
    """Rows still running, the token each has got, and its log-probability, step after step.

    Rows leave the batch as they end, and cost nothing from then on.
    """
    rows = np.arange(decoder.batch_size)
    for step in range(decoder.new_tokens):
        if step:
            logits = decoder.logits()
        tokens = choose(decoder, logits)
        chances = log_probabilities(logits)[np.arange(len(rows)), tokens]
        if np.isnan(chances).any():
            raise ValueError("generate: logits must not be NaN")
        yield rows, tokens, chances
        going = ~np.isin(tokens, ends)
        if not going.all():
            rows, tokens = rows[going], tokens[going]
            if not len(rows) or step == decoder.new_tokens - 1:
                return
            decoder.select(np.flatnonzero(going))
        if step < decoder.new_tokens - 1:
            decoder.append(tokens)


def _ends(eos_token_id: End) -> Array:
    ends = np.atleast_1d(np.asarray([] if eos_token_id is None else eos_token_id))
    if ends.size == 0:
        return ends.astype(np.int64)
    if ends.dtype.kind not in "iu" or ends.ndim != 1:
        raise TypeError(f"generate: eos_token_id must be one or several ints, got {eos_token_id!r}")
    if ends.min() < 0:
        raise ValueError(f"generate: eos_token_id must not be negative, got {eos_token_id!r}")
    return ends.astype(np.int64)


def _choice(
    do_sample: bool,
    temperature: float,
    top_k: int | None,
    top_p: float,
    min_p: float,
    repetition_penalty: float,
    generator: random.Generator | None,
) -> _Choice:
    shaping = (temperature, top_k, top_p, min_p)
    probe = np.zeros((1, 2), np.float32)  # bad settings are refused before the model runs
    process_logits(probe, *shaping)
    apply_repetition_penalty(probe, np.zeros((1, 1), np.int64), repetition_penalty)
    if not do_sample:
        if shaping != (1.0, None, 1.0, 0.0):
            raise ValueError(
                "generate: temperature, top_k, top_p and min_p only count with do_sample=True"
            )
        return _Choice(False, repetition_penalty, shaping, None)
    if generator is not None and not isinstance(generator, random.Generator):
        raise TypeError(
            f"generate: generator must be a pyfast.Generator, got {type(generator).__name__}"
        )
    rng = (random.default_generator if generator is None else generator).numpy()
    return _Choice(True, repetition_penalty, shaping, rng)


def generate(
    model: Any,
    prompt: Any,
    max_new_tokens: int | None = None,
    *,
    source: Any = None,
    source_mask: Any = None,
    eos_token_id: End = None,
    do_sample: bool = False,
    temperature: float = 1.0,
    top_k: int | None = None,
    top_p: float = 1.0,
    min_p: float = 0.0,
    repetition_penalty: float = 1.0,
    num_beams: int = 1,
    length_penalty: float = 1.0,
    early_stopping: bool | str = False,
    num_return_sequences: int = 1,
    use_cache: bool = True,
    generator: random.Generator | None = None,
) -> list[Hypothesis]:
    """Continue prompts token by token, up to END.

    Greedy by default: the most likely token each time. With `do_sample` it is drawn from the
    distribution; with `num_beams` the most likely *sequence* is searched. The model runs in
    evaluation mode; nothing is recorded. Names and defaults are those of Hugging Face's `generate`.

    Parameters
    ----------
    model : Module
        Decoder-only: ``model(ids, cache, attention_mask)``; or encoder-decoder: ``model.encode``,
        ``model.decode``. See :mod:`pyfast.models`.
    prompt : array of shape (batch, length) or (length,), sequence of sequences of int, or int
        Tokens to continue; rows may differ in length. A single number (START) begins every row.
    max_new_tokens : int, optional
        Stop there if END does not come. Default: as many as the model has positions for.
    source, source_mask : optional
        What an encoder-decoder model reads, one for each row, and which of it is real.
    eos_token_id : int or sequence of int, optional
        END; any of several. Without it all rows get `max_new_tokens` tokens.
    do_sample : bool
    temperature, top_k, top_p, min_p
        Shape the distribution that is drawn from, in this order; see :func:`process_logits`.
    repetition_penalty : float
        Above 1: tokens that were there become less likely.
    num_beams : int
        Width of the beam; 1: no beam search.
    length_penalty, early_stopping
        See :func:`beam_search`.
    num_return_sequences : int
        Draws for each prompt, or the best so many beams.
    use_cache : bool
        False: all tokens run through the model at each step. Slower, for comparison.
    generator : pyfast.Generator, optional
        Where random numbers come from; default: what ``pf.manual_seed`` seeds.

    Returns
    -------
    list of Hypothesis
        `num_return_sequences` for each prompt, one prompt after the other. Their tokens come
        without prompt and END.

    Raises
    ------
    TypeError, ValueError, IndexError
        For an empty prompt, settings that do not fit, more tokens than positions, or ids outside
        the vocabulary.

    Examples
    --------
    >>> import pyfast as pf
    >>> from pyfast.models import GPT, GPTConfig
    >>> sizes = {"vocab_size": 9, "hidden_size": 8, "num_hidden_layers": 1}
    >>> model = GPT(GPTConfig(num_attention_heads=2, **sizes))
    >>> greedy, = pf.generation.generate(model, [3, 1, 4], max_new_tokens=5)
    >>> len(greedy.tokens), greedy.finished
    (5, False)
    """
    shaping = (temperature, top_k, top_p, min_p)
    choose = _choice(do_sample, *shaping, repetition_penalty, generator)
    _check_counts(num_beams, num_return_sequences, do_sample)
    if num_beams == 1 and (length_penalty != 1 or early_stopping):
        raise ValueError(
            "generate: length_penalty and early_stopping only count with num_beams above 1"
        )
    ends = _ends(eos_token_id)
    with evaluation(model):
        decoder = Decoder(model, prompt, max_new_tokens, source, source_mask, use_cache)
        if num_beams > 1:
            settings = (num_beams, ends, length_penalty, early_stopping, repetition_penalty)
            found = beam_search(decoder, *settings)
            return [h for beams in found for h in beams[:num_return_sequences]]
        return _collect(decoder, choose, ends, num_return_sequences)


def _check_counts(num_beams: int, num_return_sequences: int, do_sample: bool) -> None:
    for name, count in (("num_beams", num_beams), ("num_return_sequences", num_return_sequences)):
        if not isinstance(count, int | np.integer):
            raise TypeError(f"generate: {name} must be an int, got {count!r}")
    if num_beams < 1 or num_return_sequences < 1:
        raise ValueError(
            "generate: num_beams and num_return_sequences must be positive, "
            f"got {num_beams} and {num_return_sequences}"
        )
    if num_beams > 1 and do_sample:
        raise ValueError("generate: num_beams above 1 searches and do_sample draws; choose one")
    if num_return_sequences > num_beams and not do_sample:
        raise ValueError(
            f"generate: num_return_sequences ({num_return_sequences}) needs do_sample, or as many "
            f"num_beams, got {num_beams}"
        )


def _collect(decoder: Decoder, choose: _Choice, ends: Array, repeats: int) -> list[Hypothesis]:
    """Run all steps and gather each row's tokens."""
    logits = decoder.logits()
    check_ends(ends, logits.shape[1])
    if repeats > 1:
        spread = np.repeat(np.arange(decoder.batch_size), repeats)
        decoder.select(spread)
        logits = logits[spread]
    count, limit = decoder.batch_size, decoder.new_tokens
    tokens = np.zeros((count, limit), np.int64)
    lengths, scores = np.zeros(count, int), np.zeros(count)
    for step, (rows, chosen, chances) in enumerate(_steps(decoder, choose, ends, logits)):
        tokens[rows, step] = chosen
        lengths[rows] += 1
        scores[rows] += chances
    found = []
    for row, length, score in zip(tokens, lengths, scores, strict=True):
        finished = bool(np.isin(row[length - 1], ends))
        kept = row[: length - finished].tolist()
        found.append(Hypothesis(kept, float(score), finished))
    return found


def stream(
    model: Any,
    prompt: Any,
    max_new_tokens: int | None = None,
    *,
    source: Any = None,
    source_mask: Any = None,
    eos_token_id: End = None,
    do_sample: bool = False,
    temperature: float = 1.0,
    top_k: int | None = None,
    top_p: float = 1.0,
    min_p: float = 0.0,
    repetition_penalty: float = 1.0,
    use_cache: bool = True,
    generator: random.Generator | None = None,
) -> Iterator[Array]:
    """Continue prompts as :func:`generate` does, and hand out each token as soon as it is there.

    Parameters
    ----------
    model, prompt, max_new_tokens, source, source_mask, eos_token_id
        See :func:`generate`. The model is in evaluation mode until the iterator ends or is closed.
    do_sample, temperature, top_k, top_p, min_p, repetition_penalty, use_cache, generator
        See :func:`generate`.

    Returns
    -------
    iterator of arrays of shape (batch,), int64
        The next token of each row, END included; -1 in rows that have ended before. Settings and
        prompt are checked, and the prompt is read, before it is returned.

    Raises
    ------
    TypeError, ValueError, IndexError
        As :func:`generate`.

    Examples
    --------
    >>> import pyfast as pf
    >>> from pyfast.models import GPT, GPTConfig
    >>> sizes = {"vocab_size": 9, "hidden_size": 8, "num_hidden_layers": 1}
    >>> model = GPT(GPTConfig(num_attention_heads=2, **sizes))
    >>> [token.shape for token in pf.generation.stream(model, [3, 1, 4], max_new_tokens=2)]
    [(1,), (1,)]
    """
    shaping = (temperature, top_k, top_p, min_p)
    choose = _choice(do_sample, *shaping, repetition_penalty, generator)
    with evaluation(model):
        decoder = Decoder(model, prompt, max_new_tokens, source, source_mask, use_cache)
        logits = decoder.logits()
    count, ends = decoder.batch_size, _ends(eos_token_id)
    check_ends(ends, logits.shape[1])

    def tokens() -> Iterator[Array]:
        with evaluation(model):
            for rows, chosen, _ in _steps(decoder, choose, ends, logits):
                everyone = np.full(count, -1, np.int64)
                everyone[rows] = chosen
                yield everyone

    return tokens()
