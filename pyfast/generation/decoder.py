"""What a search sees of a model: the next token's logits, for rows of tokens that grow.

It hides whether the model reads a source, whether there is a cache, and which rows are padded.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from inspect import signature
from typing import Any

import numpy as np

from ..autograd import Variable, no_grad

__all__ = ["Decoder", "check_ends", "evaluation", "prompt_array"]

Array = np.ndarray[Any, Any]


@contextmanager
def evaluation(model: Any) -> Iterator[None]:
    """Have a model in evaluation mode for a while; then each of its layers is as it was.

    Parameters
    ----------
    model : Module
    """
    layers = [m for m in model.modules() if m.training] if hasattr(model, "modules") else []
    if layers:
        model.eval()
    try:
        yield
    finally:
        for layer in layers:
            layer.training = True


def check_ends(ends: Sequence[int] | Array, vocabulary: int, op: str = "generate") -> None:
    """Raise ValueError where an END lies beyond the vocabulary: it could never come."""
    for end in ends:
        if end >= vocabulary:
            raise ValueError(
                f"{op}: eos_token_id must be below the vocabulary's {vocabulary}, got {end}"
            )


def prompt_array(prompt: Any, batch: int | None = None) -> tuple[Array, Array | None]:
    """Prompts as one array, padded on the left where their lengths differ.

    Parameters
    ----------
    prompt : int, sequence of int, array of shape (batch, length), or sequence of sequences of int
        A single number (START) begins each of `batch` rows.
    batch : int, optional
        How many rows there must be, where a source says so.

    Returns
    -------
    ids : array of shape (batch, length), int64
    real : array of shape (batch, length), bool, or None
        False: padding. None: there is none.

    Raises
    ------
    TypeError
        If the tokens are not integers.
    ValueError
        If a prompt is empty, or there are more or fewer of them than sources.

    Examples
    --------
    >>> ids, real = prompt_array([[1, 2, 3], [4]])
    >>> ids
    array([[1, 2, 3],
           [0, 0, 4]])
    >>> real.sum(1)
    array([3, 1])
    """
    if isinstance(prompt, int | np.integer) and not isinstance(prompt, bool):
        rows: list[Array] = [np.array([prompt])] * (batch or 1)
    elif isinstance(prompt, Sequence) and any(np.ndim(p) == 1 for p in prompt):
        rows = [np.asarray(p) for p in prompt]
    else:
        array = prompt._data if isinstance(prompt, Variable) else np.asarray(prompt)
        if array.ndim not in (1, 2):
            raise ValueError(
                f"generate: prompt must have shape (batch, length) or (length,), got {array.shape}"
            )
        rows = list(np.atleast_2d(array))
    if not rows or not all(len(row) for row in rows):
        raise ValueError("generate: prompt must not be empty; begin with a START token")
    if batch is not None and len(rows) != batch:
        raise ValueError(
            f"generate: prompt must have one row for each source ({batch}), got {len(rows)}"
        )
    kinds = {row.dtype.kind for row in rows}
    if not kinds <= {"i", "u"}:
        raise TypeError(f"generate: prompt must be integers, got {rows[0].dtype}")
    lengths = np.array([len(row) for row in rows])
    real = np.arange(lengths.max()) >= lengths.max() - lengths[:, None]
    ids = np.zeros(real.shape, np.int64)
    ids[real] = np.concatenate(rows)
    return ids, None if real.all() else real


def _can_keep_last(model: Any) -> bool:
    """Whether the model leaves out the logits that nobody looks at, where it is asked to."""
    try:
        return "logits_to_keep" in signature(getattr(model, "forward", model)).parameters
    except (TypeError, ValueError):  # not a function of Python's
        return False


class Decoder:
    """Rows of tokens, and a model's logits for what comes next.

    Parameters
    ----------
    model : Module
        Decoder-only: ``model(ids, cache, attention_mask)``. Encoder-decoder: ``model.encode``,
        ``model.decode`` (see :mod:`pyfast.models`).
    prompt : see :func:`prompt_array`
    max_new_tokens : int, optional
        Default: as many as the model has positions for.
    source, source_mask : optional
        What an encoder-decoder model reads.
    use_cache : bool
        False: run the model on all tokens again at each step. Slower, for comparison.

    Attributes
    ----------
    new_tokens : int
        The most that may be appended.

    Raises
    ------
    TypeError, ValueError
        For a prompt that does not fit, more tokens than positions, or a source where there must be
        one and is none, or the other way round.

    Examples
    --------
    >>> from pyfast.models import GPT, GPTConfig
    >>> sizes = {"vocab_size": 9, "hidden_size": 8, "num_hidden_layers": 1}
    >>> decoder = Decoder(GPT(GPTConfig(num_attention_heads=2, **sizes)), [3, 1, 4], 2)
    >>> decoder.logits().shape
    (1, 9)
    """

    def __init__(
        self,
        model: Any,
        prompt: Any,
        max_new_tokens: int | None = None,
        source: Any = None,
        source_mask: Any = None,
        use_cache: bool = True,
    ) -> None:
        if not callable(model):
            raise TypeError(f"generate: model must be a model, got {type(model).__name__}")
        if source is None and source_mask is not None:
            raise ValueError("generate: source_mask only counts beside source")
        self._model = model
        self._memory: Any = None
        self._memory_mask: Any = None
        self._reads_source = hasattr(model, "decode")
        self._last_only = {"logits_to_keep": 1} if _can_keep_last(model) else {}
        if self._reads_source != (source is not None):
            needed = "needs" if self._reads_source else "takes no"
            raise ValueError(f"generate: {type(model).__name__} {needed} source")
        ids, self._real = prompt_array(prompt, None if source is None else len(source))
        self.new_tokens = self._room(ids.shape[1], max_new_tokens)
        if source is not None:
            self._encode(source, source_mask)
        self.batch_size, self.length = ids.shape
        self._seen = 0
        self._ids = np.zeros((len(ids), self.length + self.new_tokens), np.int64)
        self._ids[:, : self.length] = ids
        total = self.length + self.new_tokens
        self._cache = model.new_cache(len(ids), total) if use_cache else None

    def _room(self, length: int, wanted: int | None) -> int:
        limit = getattr(self._model, "max_positions", None)
        if wanted is None:
            if limit is None:
                raise ValueError("generate: max_new_tokens must be given: the model has no limit")
            wanted = limit - length
        if not isinstance(wanted, int | np.integer):
            raise TypeError(f"generate: max_new_tokens must be an int, got {wanted!r}")
        if wanted < 1 or (limit is not None and length + wanted > limit):
            raise ValueError(
                f"generate: max_new_tokens must be positive and, with {length} tokens of prompt, "
                f"end within max_positions = {limit}, got {wanted}"
            )
        return wanted

    def _encode(self, source: Any, mask: Any) -> None:
        with no_grad():
            memory = self._model.encode(source, mask)
        self._memory = memory._data if isinstance(memory, Variable) else np.asarray(memory)
        if hasattr(self._model, "memory_mask"):
            mask = self._model.memory_mask(mask)
        self._memory_mask = None if mask is None else np.asarray(mask)

    @property
    def ids(self) -> Array:
        """All tokens so far: array of shape (rows, length), int64."""
        return self._ids[:, : self.length]

    @property
    def real(self) -> Array | None:
        """False where `ids` is padding; None: nowhere."""
        return self._real

    def logits(self) -> Array:
        """Run the model on what it has not seen yet.

        Returns
        -------
        array of shape (rows, vocabulary)
            Logits of the token behind the last.
        """
        new = self._ids[:, self._seen : self.length]
        with no_grad():
            if self._reads_source:
                extra = {} if self._real is None else {"target_mask": self._real}
                out = self._model.decode(
                    new, self._memory, self._memory_mask, cache=self._cache, **extra
                )
            else:
                out = self._model(
                    new, cache=self._cache, attention_mask=self._real, **self._last_only
                )
        if self._cache is not None:
            self._seen = self.length
        array = out._data if isinstance(out, Variable) else out
        return array[:, -1]

    def append(self, tokens: Array) -> None:
        """Go on by one token in each row.

        Parameters
        ----------
        tokens : integers of shape (rows,)
        """
        self._ids[:, self.length] = tokens
        self.length += 1
        if self._real is not None:
            column = np.ones((len(self._real), 1), bool)
            self._real = np.concatenate([self._real, column], 1)

    def select(self, rows: Any) -> None:
        """Keep some rows, in the given order, each as often as it is named.

        Parameters
        ----------
        rows : integers of shape (new rows,)
        """
        rows = np.asarray(rows)
        self._ids = self._ids[rows]
        self.batch_size = len(rows)
        if self._real is not None:
            self._real = self._real[rows]
        if self._memory is not None:
            self._memory = self._memory[rows]
        if self._memory_mask is not None:
            self._memory_mask = self._memory_mask[rows]
        if self._cache is not None:
            self._cache.reorder(rows)
