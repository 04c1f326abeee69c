"""Beam search: the few best beginnings are kept at each step, and each goes on in every way.

Lowerre, "The Harpy speech recognition system", 1976; the length penalty divides by a power of the
length, as in most implementations since.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from .decoder import Decoder
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

    def step(self, log_probs: Array, ids: Array, ends: Array, length: int) -> tuple[Array, Array]:
        """Go on by one token: `length` counts it. The beams gone on from, and their tokens."""
        totals = self.scores[:, None] + log_probs
        wanted = max(2, 1 + len(ends)) * self.count  # enough that `count` do not end
        best = _top(totals.ravel(), wanted)
        beams, tokens = np.divmod(best, log_probs.shape[1])
        scores = totals.ravel()[best]
        ending = np.isin(tokens, ends)
        last = length == self.limit
        for i in np.flatnonzero(ending | last):
            if i < self.count and self.open:  # candidates behind the beams are only spare
                self._finish(ids[beams[i]], tokens[i], scores[i], length, bool(ending[i]))
        self.finished.sort(key=lambda h: -h.score)
        del self.finished[self.count :]
        going = np.flatnonzero(~ending)[: self.count]
        self.scores = scores[going]
        self._look_ahead(length)
        self.open &= not last
        return beams[going], tokens[going]

    def _finish(self, ids: Array, token: int, total: float, length: int, ended: bool) -> None:
        tokens = [*ids.tolist(), *([] if ended else [int(token)])]
        score = float(total) / length**self.length_penalty
        self.finished.append(Hypothesis(tokens, score, ended))

    def _look_ahead(self, length: int) -> None:
        """Close when no running beam can still beat the worst finished one."""
        if len(self.finished) < self.count:
            return
        never = self.early_stopping == "never" and self.length_penalty > 0
        hoped_for = (self.limit if never else length) ** self.length_penalty
        improvable = self.scores[0] / hoped_for > self.finished[-1].score
        self.open &= bool(improvable) and self.early_stopping is not True


def _top(values: Array, count: int) -> Array:
    """Indices of the largest values, the largest first; equals in their order."""
    count = min(count, len(values))
    chosen = np.argpartition(-values, count - 1)[:count]
    return chosen[np.lexsort((chosen, -values[chosen]))]


def beam_search(
    decoder: Decoder,
    num_beams: int,
    ends: Array,
    length_penalty: float = 1.0,
    early_stopping: bool | str = False,
    repetition_penalty: float = 1.0,
    watch: Callable[[Array, Array], None] | None = None,
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
        Given (beams gone on from, tokens) at each step, of all running rows: for plots.

    Returns
    -------
    list (prompts) of lists (at most `num_beams`, the best first) of Hypothesis

    Raises
    ------
    ValueError
        If a setting does not fit, or the vocabulary is smaller than the beam needs.
    """
    _check(num_beams, early_stopping)
    prompt_length = decoder.length
    settings = (num_beams, length_penalty, early_stopping, decoder.new_tokens)
    searches = [_Beams(*settings) for _ in range(decoder.batch_size)]
    running = list(searches)
    logits = decoder.logits()
    if logits.shape[1] <= max(1, len(ends)):
        raise ValueError(f"generate: beam search needs more than {logits.shape[1]} tokens")
    spread = np.repeat(np.arange(len(running)), num_beams)
    decoder.select(spread)
    logits = logits[spread]
    while True:
        log_probs = log_probabilities(logits)
        if repetition_penalty != 1:
            log_probs = apply_repetition_penalty(
                log_probs, decoder.ids, repetition_penalty, decoder.real
            )
        ids = decoder.ids[:, prompt_length:]
        length = ids.shape[1] + 1
        rows, tokens = [], []
        for i, search in enumerate(running):
            part = slice(i * num_beams, (i + 1) * num_beams)
            beams, chosen = search.step(log_probs[part], ids[part], ends, length)
            if search.open:
                rows.append(beams + i * num_beams)
                tokens.append(chosen)
        running = [search for search in running if search.open]
        if not running:
            return [search.finished for search in searches]
        decoder.select(np.concatenate(rows))
        decoder.append(np.concatenate(tokens))
        if watch is not None:
            watch(np.concatenate(rows), np.concatenate(tokens))
        logits = decoder.logits()


def _check(num_beams: int, early_stopping: bool | str) -> None:
    if num_beams < 1:
        raise ValueError(f"generate: num_beams must be positive, got {num_beams}")
    if early_stopping not in (True, False, "never"):
        raise ValueError(
            f"generate: early_stopping must be True, False or 'never', got {early_stopping!r}"
        )
