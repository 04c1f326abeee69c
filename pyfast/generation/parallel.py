"""Non-autoregressive decoding: all tokens at once, and refined while they are unsure.

How long the output is to be, a model cannot find out on the way. Either a predictor says so from
the encoder's output, or the model fills all positions and the output is cut at END.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from .. import nn, random
from ..autograd import Variable, no_grad
from .beam import Hypothesis
from .decoder import check_ends, evaluation
from .logits import log_probabilities

__all__ = ["LengthPredictor", "generate_parallel", "mask_tokens"]

Array = np.ndarray[Any, Any]


class LengthPredictor(nn.Module):
    """How long the target will be, from the mean of the encoder's output.

    (Ghazvininejad et al., "Mask-Predict", EMNLP 2019, section 3, has a special token instead of
    the mean.) Trained with cross-entropy against the true lengths.

    Parameters
    ----------
    hidden_size : int
        Width of the encoder's output.
    max_length : int
        Longest target.

    Attributes
    ----------
    output : Linear

    Examples
    --------
    >>> import numpy as np
    >>> from pyfast.generation import LengthPredictor
    >>> predictor = LengthPredictor(8, max_length=20)
    >>> predictor(np.ones((2, 5, 8), np.float32)).shape
    (2, 21)
    """

    def __init__(self, hidden_size: int, max_length: int) -> None:
        super().__init__()
        if max_length < 1:
            raise ValueError(f"LengthPredictor: max_length must be positive, got {max_length}")
        self.output = nn.Linear(hidden_size, max_length + 1)

    def forward(self, memory: Any, memory_mask: Any = None) -> Any:
        """Logits of each length.

        Parameters
        ----------
        memory : array of shape (batch, length, hidden_size)
        memory_mask : array of shape (batch, length), bool, optional
            True: real.

        Returns
        -------
        array of shape (batch, max_length + 1)

        Raises
        ------
        ValueError
            If the mask does not fit.
        """
        if memory_mask is None:
            return self.output(memory.mean(1))
        mask = np.asarray(memory_mask, bool)
        if mask.shape != memory.shape[:2]:
            raise ValueError(
                f"LengthPredictor: memory_mask must have shape {memory.shape[:2]}, got {mask.shape}"
            )
        weights = (mask / np.maximum(mask.sum(1, keepdims=True), 1)).astype(memory.dtype)
        return self.output((memory * weights[:, :, None]).sum(1))

    def predict(self, memory: Any, memory_mask: Any = None) -> Array:
        """The most likely lengths, at least 1.

        Parameters
        ----------
        memory, memory_mask
            As for calling it.

        Returns
        -------
        array of shape (batch,), int64
        """
        with no_grad():
            logits = np.asarray(self(memory, memory_mask))
        return logits[:, 1:].argmax(-1) + 1


def mask_tokens(
    targets: Any,
    real: Any,
    mask_token_id: int,
    generator: random.Generator | None = None,
    ignore_index: int = -100,
) -> tuple[Array, Array]:
    """Hide a random number of each target's tokens, 1 to all, for a model to guess.

    With it, :func:`generate_parallel` meets what it was trained on at every iteration
    (Ghazvininejad et al., "Mask-Predict", EMNLP 2019, section 3).

    Parameters
    ----------
    targets : integers of shape (batch, length)
    real : array of shape (batch, length), bool
        False: padding, which is never hidden.
    mask_token_id : int
    generator : pyfast.Generator, optional
    ignore_index : int

    Returns
    -------
    inputs, labels : arrays of shape (batch, length), int64
        The targets with MASK where hidden; the hidden tokens, elsewhere `ignore_index`.

    Raises
    ------
    ValueError
        If shapes differ, or a row is all padding.

    Examples
    --------
    >>> inputs, labels = mask_tokens([[5, 6, 7]], [[True, True, False]], 1)
    >>> bool(((inputs == 1) == (labels != -100)).all())
    True
    """
    targets, real = np.asarray(targets), np.asarray(real, bool)
    if targets.ndim != 2 or targets.shape != real.shape or not real.any(1).all():
        raise ValueError(
            "mask_tokens: targets and real must have one shape (batch, length), and each row "
            f"a real token, got {targets.shape} and {real.shape}"
        )
    rng = (generator or random.default_generator).numpy()
    counts = rng.integers(1, real.sum(1) + 1)
    order = np.where(real, rng.random(targets.shape), 2.0).argsort(1).argsort(1)
    hidden = order < counts[:, None]
    inputs = np.where(hidden, mask_token_id, targets).astype(np.int64)
    return inputs, np.where(hidden, targets, ignore_index).astype(np.int64)


def generate_parallel(
    model: Any,
    source: Any,
    lengths: Any,
    mask_token_id: int,
    *,
    source_mask: Any = None,
    memory: Any = None,
    eos_token_id: int | None = None,
    iterations: int = 1,
) -> list[Hypothesis]:
    """Decode all tokens at once; then, some times, hide the least sure and guess them again.

    The first iteration predicts every token from nothing but MASK. Iteration t of T hides the
    N (T - t) / T tokens of lowest probability and predicts them from the others (Ghazvininejad et
    al., "Mask-Predict", EMNLP 2019). One iteration is plain non-autoregressive decoding (Gu et al.,
    ICLR 2018).

    Parameters
    ----------
    model : Module
        Encoder-decoder; ``model.decode`` takes ``is_causal=False`` and ``target_mask``.
    source, source_mask
        What the model reads, one row each, and which of it is real.
    lengths : int, or integers of shape (batch,)
        Tokens for each row, as of :class:`LengthPredictor`; or one number for all, when the output
        is cut at END.
    mask_token_id : int
        Stands where no token is known.
    memory : array, optional
        ``model.encode(source, source_mask)`` if you have it, for the length predictor needs it.
    eos_token_id : int, optional
        Cut each row at the first of it.
    iterations : int

    Returns
    -------
    list of Hypothesis
        One for each row; the score is the sum of its tokens' log-probabilities when chosen.

    Raises
    ------
    TypeError, ValueError
        For lengths that are no positive integers or beyond the model's positions, or another
        number of them than sources.

    Examples
    --------
    >>> from pyfast.models import Seq2SeqConfig, Seq2SeqTransformer
    >>> from pyfast.generation import generate_parallel
    >>> config = Seq2SeqConfig(40, 20, hidden_size=16, num_encoder_layers=1, num_decoder_layers=1)
    >>> model = Seq2SeqTransformer(config)
    >>> [len(found) for found in generate_parallel(model, [[5, 6], [7, 8]], [3, 4], 1)]
    [3, 4]
    """
    if iterations < 1:
        raise ValueError(f"generate_parallel: iterations must be positive, got {iterations}")
    lengths = _lengths(lengths, len(source), getattr(model, "max_positions", None))
    real = np.arange(lengths.max()) < lengths[:, None]
    with evaluation(model), no_grad():
        if memory is None:
            memory = model.encode(source, source_mask)
        if hasattr(model, "memory_mask"):
            source_mask = model.memory_mask(source_mask)
        tokens = np.full(real.shape, mask_token_id, np.int64)
        hidden, chances = real, np.zeros(real.shape)
        for t in range(iterations):
            if t:
                hidden = _least_sure(chances, real, lengths * (iterations - t) // iterations)
                tokens[hidden] = mask_token_id
            logits = model.decode(tokens, memory, source_mask, is_causal=False, target_mask=real)
            array = logits._data if isinstance(logits, Variable) else np.asarray(logits)
            tokens, chances = _fill(tokens, chances, hidden, array, mask_token_id)
    ends = [] if eos_token_id is None else [eos_token_id]
    check_ends(ends, array.shape[-1], "generate_parallel")
    rows = zip(tokens, chances, lengths, strict=True)
    return [_cut(row[:n], chance[:n], ends) for row, chance, n in rows]


def _lengths(lengths: Any, batch: int, limit: int | None) -> Array:
    array = np.asarray(lengths)
    if array.dtype.kind not in "iu":
        raise TypeError(f"generate_parallel: lengths must be integers, got {array.dtype}")
    if array.shape not in ((), (batch,)):
        raise ValueError(
            f"generate_parallel: lengths must be one number, or one for each of {batch} sources, "
            f"got shape {array.shape}"
        )
    if array.size == 0 or array.min() < 1 or (limit is not None and array.max() > limit):
        raise ValueError(
            f"generate_parallel: lengths must be in [1, max_positions = {limit}], "
            f"got {array.tolist()}"
        )
    return np.broadcast_to(array, (batch,)).astype(np.int64)


def _least_sure(chances: Array, real: Array, counts: Array) -> Array:
    """In each row, the `counts` real tokens of lowest log-probability; as bool."""
    order = np.where(real, chances, np.inf).argsort(1, kind="stable").argsort(1)
    return (order < counts[:, None]) & real


def _fill(
    tokens: Array, chances: Array, hidden: Array, logits: Array, mask_token_id: int
) -> tuple[Array, Array]:
    """Put the most likely tokens where tokens were hidden; MASK itself is never one."""
    logits = logits.copy()
    logits[:, :, mask_token_id] = -np.inf
    best = logits.argmax(-1)
    log_probs = log_probabilities(logits.reshape(-1, logits.shape[-1])).reshape(logits.shape)
    sure = np.take_along_axis(log_probs, best[:, :, None], -1)[:, :, 0]
    return np.where(hidden, best, tokens), np.where(hidden, sure, chances)


def _cut(row: Array, chances: Array, ends: list[int]) -> Hypothesis:
    at = np.flatnonzero(np.isin(row, ends))
    if not at.size:
        return Hypothesis(row.tolist(), float(chances.sum()), not ends)
    return Hypothesis(row[: at[0]].tolist(), float(chances[: at[0] + 1].sum()), True)
