"""Beam search: the few best beginnings are kept at each step, and each goes on in every way.

Lowerre, "The Harpy speech recognition system", 1976; the length penalty divides by a power of the
length, as in most implementations since.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from .decoder import Decoder, check_ends
from .logits import apply_repetition_penalty, log_probabilities

__all__ = ["Hypothesis", "beam_search"]

Array = np.ndarray[Any, Any]
_IMPOSSIBLE = -1e9  # the score of beams that do not exist yet: finite, so that sums stay finite


@dataclass(frozen=True)
class Hypothesis:
    """A sequence that a search ended with.

    Attributes
    ----------
    tokens : list of int
        Without the prompt and without END.
    score : float
        Sum of the tokens' log-probabilities (END's too); in beam search, divided by the length to
        the power of the length penalty.
    finished : bool
        END came; False: the search stopped at `max_new_tokens`.
    """

    tokens: list[int]
    score: float
    finished: bool

    def __len__(self) -> int:
        return len(self.tokens)


@dataclass
class _Beams:
    """The beams of one prompt: their scores, and the best finished sequences so far."""

    count: int
    length_penalty: float
    early_stopping: bool | str
    limit: int
    scores: Array = field(init=False)
    finished: list[Hypothesis] = field(default_factory=list)
    open: bool = True  # whether a better sequence may still come

    def __post_init__(self) -> None:
        # All beams begin with the same prompt: only the first may go on, or all would stay equal.
        self.scores = np.full(self.count, _IMPOSSIBLE)
        self.scores[0] = 0.0

    def step(
        self, scores: Array, tokens: Array, ending: Array, ids: Sequence[Array], length: int
    ) -> Array:
        """Go on by one token: `length` counts it. Which of the candidates, best first, go on."""
        last = length == self.limit
        if self.open:
            done = np.ones(self.count, bool) if last else ending[: self.count]
            for i in np.flatnonzero(done):  # candidates behind the beams are only spare
                self._finish(ids[int(i)], tokens[i], scores[i], length, bool(ending[i]))
        going = np.flatnonzero(~ending)[: self.count]
        self.scores = scores[going]
        if len(self.finished) >= self.count:
            self._look_ahead(length)
        self.open &= not last
        return going

    def _finish(self, ids: Array, token: int, total: float, length: int, ended: bool) -> None:
        tokens = [*ids.tolist(), *([] if ended else [int(token)])]
        score = float(total) / length**self.length_penalty
        self.finished.append(Hypothesis(tokens, score, ended))

    def _look_ahead(self, length: int) -> None:
        """Keep the best; close when no running beam can still beat the worst of them."""
        self.finished.sort(key=lambda h: -h.score)
        del self.finished[self.count :]
        never = self.early_stopping == "never" and self.length_penalty > 0
        hoped_for = (self.limit if never else length) ** self.length_penalty
        improvable = self.scores[0] / hoped_for > self.finished[-1].score
        self.open &= bool(improvable) and self.early_stopping is not True


def _top(values: Array, count: int) -> Array:
    """In each row, indices of the largest values, the largest first; equals in their order."""
    count = min(count, values.shape[1])
    chosen = np.argpartition(-values, count - 1, axis=1)[:, :count]
    order = np.lexsort((chosen, -np.take_along_axis(values, chosen, 1)))
    return np.take_along_axis(chosen, order, 1)


def beam_search(
    decoder: Decoder,
    num_beams: int,
    ends: Array,
    length_penalty: float = 1.0,
    early_stopping: bool | str = False,
    repetition_penalty: float = 1.0,
    watch: Callable[[Array, Array, Array], None] | None = None,
) -> list[list[Hypothesis]]:
    """The best sequences that a beam of a given width finds, for each row of a decoder.

    Parameters
    ----------
    decoder : Decoder
        With a row for each prompt; used up.
    num_beams : int
    ends : integers of shape (n,)
        Tokens that end a sequence; may be none.
    length_penalty : float
        Above 0, longer sequences are favoured; below, shorter ones.
    early_stopping : bool or "never"
        True: stop when `num_beams` sequences are finished. False: when the best running beam, at
        its present length, is worse than all of those. "never": when it could not become better at
        any length.
    repetition_penalty : float
        Applied to log-probabilities, see :func:`apply_repetition_penalty`.
    watch : callable, optional
        Given (rows gone on from, tokens, scores) at each step, of all running beams: for plots,
        see :func:`pyfast.plot.decoding.decoding_tree`.

    Returns
    -------
    list (prompts) of lists (at most `num_beams`, the best first) of Hypothesis

    Raises
    ------
    ValueError
        If a setting does not fit, or the vocabulary is smaller than the beam needs.
    """
    _check(num_beams, length_penalty, early_stopping)
    prompt_length = decoder.length
    settings = (num_beams, length_penalty, early_stopping, decoder.new_tokens)
    searches = [_Beams(*settings) for _ in range(decoder.batch_size)]
    running = list(searches)
    logits = decoder.logits()
    check_ends(ends, logits.shape[1])
    if logits.shape[1] <= max(1, len(ends)):
        raise ValueError(
            f"generate: beam search needs more tokens than END's, got a vocabulary of "
            f"{logits.shape[1]} and eos_token_id {ends.tolist()}"
        )
    spread = np.repeat(np.arange(len(running)), num_beams)
    decoder.select(spread)
    logits = logits[spread]
    while True:
        log_probs = log_probabilities(logits)
        if repetition_penalty != 1:
            seen = (decoder.ids, repetition_penalty, decoder.real)
            log_probs = apply_repetition_penalty(log_probs, *seen)
        rows, tokens = _step(running, log_probs, decoder.ids[:, prompt_length:], ends)
        running = [search for search in running if search.open]
        if not running:
            return [search.finished for search in searches]
        decoder.select(rows)
        decoder.append(tokens)
        if watch is not None:
            watch(rows, tokens, np.concatenate([search.scores for search in running]))
        logits = decoder.logits()


def _step(running: list[_Beams], log_probs: Array, ids: Array, ends: Array) -> tuple[Array, Array]:
    """One token for every running search: rows to go on from, and their tokens."""
    count, vocabulary = running[0].count, log_probs.shape[1]
    scores = np.array([search.scores for search in running])
    totals = (scores[:, :, None] + log_probs.reshape(len(running), count, -1)).reshape(
        len(running), -1
    )
    best = _top(totals, max(2, 1 + len(ends)) * count)  # enough that `count` do not end
    scores = np.take_along_axis(totals, best, 1)
    if np.isnan(totals).any():
        raise ValueError("generate: logits must not be NaN")
    rows, tokens = np.divmod(best, vocabulary)
    rows += count * np.arange(len(running))[:, None]
    ending = np.isin(tokens, ends)
    chosen = []
    for i, search in enumerate(running):
        going = search.step(scores[i], tokens[i], ending[i], ids[rows[i]], ids.shape[1] + 1)
        if search.open:
            chosen.append((rows[i, going], tokens[i, going]))
    if not chosen:
        return np.empty(0, np.int64), np.empty(0, np.int64)
    return np.concatenate([r for r, _ in chosen]), np.concatenate([t for _, t in chosen])


def _check(num_beams: int, length_penalty: float, early_stopping: bool | str) -> None:
    if num_beams < 1:
        raise ValueError(f"generate: num_beams must be positive, got {num_beams}")
    if not np.isfinite(length_penalty):
        raise ValueError(f"generate: length_penalty must be finite, got {length_penalty}")
    if early_stopping not in (True, False, "never"):
        raise ValueError(
            f"generate: early_stopping must be True, False or 'never', got {early_stopping!r}"
        )
