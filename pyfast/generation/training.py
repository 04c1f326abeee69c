"""What a decoder is shown while it learns: the truth, or some of its own guesses."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from .. import random
from ..autograd import Variable
from .logits import sample

__all__ = ["inverse_sigmoid_decay", "scheduled_sampling", "teacher_forcing"]

Array = np.ndarray[Any, Any]


def teacher_forcing(
    targets: Any, real: Any = None, ignore_index: int = -100
) -> tuple[Array, Array]:
    """Inputs and labels of a decoder: at each position it sees the truth so far, says what follows.

    Parameters
    ----------
    targets : integers of shape (batch, length)
        From START to END.
    real : array of shape (batch, length), bool, optional
        False: padding.
    ignore_index : int
        The label of padding.

    Returns
    -------
    inputs, labels : arrays of shape (batch, length - 1), int64

    Raises
    ------
    ValueError
        If the shapes do not fit.

    Examples
    --------
    >>> inputs, labels = teacher_forcing([[1, 5, 6, 2]])
    >>> inputs.tolist(), labels.tolist()
    ([[1, 5, 6]], [[5, 6, 2]])
    """
    targets = np.asarray(targets)
    if targets.ndim != 2 or targets.shape[1] < 2:
        raise ValueError(
            "teacher_forcing: targets must have shape (batch, length), two tokens or more, "
            f"got {targets.shape}"
        )
    labels = targets[:, 1:].astype(np.int64)
    if real is not None:
        real = np.asarray(real, bool)
        if real.shape != targets.shape:
            raise ValueError(
                f"teacher_forcing: real must have shape {targets.shape}, got {real.shape}"
            )
        labels = np.where(real[:, 1:], labels, ignore_index)
    return targets[:, :-1].astype(np.int64), labels


def scheduled_sampling(
    inputs: Any,
    logits: Any,
    probability: float,
    do_sample: bool = False,
    generator: random.Generator | None = None,
) -> Array:
    """Replace some of a decoder's inputs by what it would have said itself.

    Bengio et al., "Scheduled sampling for sequence prediction with recurrent neural networks",
    NeurIPS 2015; with a Transformer in two passes, the first of which makes the guesses (Mihaylova
    and Martins, "Scheduled sampling for transformers", ACL 2019 workshop). At inference a decoder
    goes on from its own mistakes; here it learns to.

    Parameters
    ----------
    inputs : integers of shape (batch, length)
        The truth, from START on.
    logits : array of shape (batch, length, vocabulary)
        What the model says to `inputs`: the guess at position t stands for input t + 1.
    probability : float
        Of each input but the first to be replaced; see :func:`inverse_sigmoid_decay`.
    do_sample : bool
        Draw the guesses instead of taking the most likely.
    generator : pyfast.Generator, optional

    Returns
    -------
    array of shape (batch, length), int64

    Raises
    ------
    ValueError
        If the shapes do not fit or `probability` is none.

    Examples
    --------
    >>> logits = np.zeros((1, 3, 9))
    >>> logits[:, :, 7] = 1.0
    >>> scheduled_sampling([[1, 5, 6]], logits, 1.0).tolist()
    [[1, 7, 7]]
    """
    inputs = np.asarray(inputs, np.int64)
    scores = logits._data if isinstance(logits, Variable) else np.asarray(logits)
    if inputs.ndim != 2 or scores.ndim != 3 or scores.shape[:2] != inputs.shape:
        raise ValueError(
            "scheduled_sampling: inputs and logits must have shapes (batch, length) and "
            f"(batch, length, vocabulary), got {inputs.shape} and {scores.shape}"
        )
    if not 0 <= probability <= 1:
        raise ValueError(f"scheduled_sampling: probability must be in [0, 1], got {probability}")
    rng = (generator or random.default_generator).numpy()
    scores = scores[:, :-1]
    if do_sample:
        guesses = sample(scores.reshape(-1, scores.shape[-1]), rng).reshape(scores.shape[:2])
    else:
        guesses = scores.argmax(-1)
    mixed = inputs.copy()
    replaced = rng.random(guesses.shape) < probability
    mixed[:, 1:] = np.where(replaced, guesses, inputs[:, 1:])
    return mixed


def inverse_sigmoid_decay(step: int, k: float) -> float:
    """How likely a true token is kept, k / (k + exp(step / k)): near 1 at first, then falling.

    (Bengio et al., NeurIPS 2015, section 2.4.)

    Parameters
    ----------
    step : int
    k : float
        At least 1; the larger, the later it falls.

    Returns
    -------
    float in [0, 1]

    Raises
    ------
    ValueError
        If `k` is below 1.

    Examples
    --------
    >>> round(inverse_sigmoid_decay(0, 9.0), 2), inverse_sigmoid_decay(10**6, 9.0)
    (0.9, 0.0)
    """
    if k < 1:
        raise ValueError(f"inverse_sigmoid_decay: k must be at least 1, got {k}")
    return k / (k + math.exp(step / k)) if step / k < 700 else 0.0
