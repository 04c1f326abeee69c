"""A vocabulary of characters or words, for lessons and small tasks."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

__all__ = ["Vocabulary", "pad_sequences"]

Array = np.ndarray[Any, Any]
_WORDS = re.compile(r"\w+|[^\w\s]")


def pad_sequences(
    sequences: Sequence[Sequence[int]], pad_id: int = 0, side: str = "right"
) -> tuple[Array, Array]:
    """Sequences of several lengths as one array, and a mask of what is real.

    Parameters
    ----------
    sequences : sequence of sequences of int
    pad_id : int
        Fills the rest.
    side : str
        "right" or "left": where padding goes.

    Returns
    -------
    ids : array of shape (batch, longest), int64
    mask : array of shape (batch, longest), bool
        True: real.

    Raises
    ------
    ValueError
        If there are no sequences, or for another side.

    Examples
    --------
    >>> ids, mask = pad_sequences([[5, 6, 7], [8]])
    >>> ids
    array([[5, 6, 7],
           [8, 0, 0]])
    >>> mask.sum(1)
    array([3, 1])
    """
    if side not in ("left", "right"):
        raise ValueError(f"pad_sequences: side must be 'left' or 'right', got {side!r}")
    if not len(sequences):
        raise ValueError("pad_sequences: sequences must not be empty")
    lengths = np.array([len(s) for s in sequences])
    columns = np.arange(lengths.max())
    mask = columns < lengths[:, None]
    mask = mask if side == "right" else mask[:, ::-1]
    ids = np.full(mask.shape, pad_id, np.int64)
    ids[mask] = np.concatenate([np.asarray(s, np.int64) for s in sequences])
    return ids, mask


class Vocabulary:
    """Characters or words and their numbers; four special tokens come first.

    Parameters
    ----------
    tokens : iterable of str
        Numbered in their order, from 4 on.
    level : str
        "character" or "word": what text is cut into. Words are runs of letters and digits, or
        single other characters.

    Attributes
    ----------
    tokens : list of str
        All of them, by number.
    pad_id, start_id, end_id, unknown_id : int
        0, 1, 2, 3.

    Raises
    ------
    ValueError
        For another level, or a token that is there twice.

    Examples
    --------
    >>> vocabulary = Vocabulary("abc")
    >>> vocabulary.encode("cab?", start=True, end=True)
    [1, 6, 4, 5, 3, 2]
    >>> vocabulary.decode([1, 6, 4, 5, 2, 4])
    'cab'
    """

    pad_id, start_id, end_id, unknown_id = range(4)
    specials = ("<pad>", "<start>", "<end>", "<unknown>")

    def __init__(self, tokens: Iterable[str], level: str = "character") -> None:
        if level not in ("character", "word"):
            raise ValueError(f"Vocabulary: level must be 'character' or 'word', got {level!r}")
        self.level = level
        self.tokens = [*self.specials, *tokens]
        self._ids = {token: i for i, token in enumerate(self.tokens)}
        if len(self._ids) != len(self.tokens):
            twice = next(t for t, n in Counter(self.tokens).items() if n > 1)
            raise ValueError(f"Vocabulary: tokens must differ, got {twice!r} twice")

    @classmethod
    def from_texts(
        cls,
        texts: Iterable[str],
        level: str = "character",
        max_size: int | None = None,
        min_count: int = 1,
    ) -> Vocabulary:
        """The tokens of some texts, the most frequent first, equals in their order.

        Parameters
        ----------
        texts : iterable of str
        level : str
        max_size : int, optional
            At most so many tokens, without the special ones.
        min_count : int
            Only tokens seen so often.

        Returns
        -------
        Vocabulary

        Examples
        --------
        >>> Vocabulary.from_texts(["to be or not to be"], "word", max_size=2).tokens[4:]
        ['be', 'to']
        """
        counts = Counter(token for text in texts for token in _cut(text, level))
        ranked = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
        return cls([t for t, n in ranked[:max_size] if n >= min_count], level)

    def __len__(self) -> int:
        return len(self.tokens)

    def __contains__(self, token: object) -> bool:
        return token in self._ids

    def __repr__(self) -> str:
        return f"Vocabulary({len(self)} tokens, level={self.level!r})"

    def encode(self, text: str, start: bool = False, end: bool = False) -> list[int]:
        """Numbers of the tokens of a text; those that are not known become `unknown_id`.

        Parameters
        ----------
        text : str
        start, end : bool
            Put the special token before, or behind.

        Returns
        -------
        list of int
        """
        ids = [self._ids.get(token, self.unknown_id) for token in _cut(text, self.level)]
        return [*([self.start_id] if start else []), *ids, *([self.end_id] if end else [])]

    def encode_batch(
        self, texts: Sequence[str], start: bool = False, end: bool = False, side: str = "right"
    ) -> tuple[Array, Array]:
        """Several texts as one padded array, and a mask of what is real.

        Parameters
        ----------
        texts : sequence of str
        start, end : bool
            Put the special token before, or behind, each.
        side : str
            "right" or "left": where padding goes.

        Returns
        -------
        ids : array of shape (texts, longest), int64
        mask : array of shape (texts, longest), bool
        """
        encoded = [self.encode(text, start, end) for text in texts]
        return pad_sequences(encoded, self.pad_id, side)

    def decode(self, ids: Iterable[Any]) -> str:
        """The text of some numbers, up to END; other special tokens are left out.

        Parameters
        ----------
        ids : iterable of int

        Returns
        -------
        str
            Words are put one space apart.

        Raises
        ------
        IndexError
            If a number is not in the vocabulary.
        """
        tokens = []
        for i in map(int, ids):
            if not 0 <= i < len(self):
                raise IndexError(f"Vocabulary.decode: ids must be in [0, {len(self)}), got {i}")
            if i == self.end_id:
                break
            if i >= len(self.specials):
                tokens.append(self.tokens[i])
        return ("" if self.level == "character" else " ").join(tokens)


def _cut(text: str, level: str) -> Sequence[str]:
    return text if level == "character" else _WORDS.findall(text)
