"""Beam search as a tree: what was tried at each step, and what of it lived on."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

__all__ = ["decoding_tree"]

Array = np.ndarray[Any, Any]
_ALIVE, _DEAD = "#0072B2", "0.75"


def decoding_tree(
    parents: Any,
    tokens: Any,
    scores: Any = None,
    labels: Sequence[str] | None = None,
    ax: Any = None,
) -> Any:
    """The beams of one search, step by step from left to right.

    Branches that reach the last step are coloured; those the beam has let go are grey. The numbers
    under the nodes are the scores.

    Parameters
    ----------
    parents : integers of shape (steps, beams)
        Which beam of the step before each goes on from; in the first step all are 0, the prompt.
    tokens : integers of shape (steps, beams)
    scores : array of shape (steps, beams), optional
        Sums of log-probabilities.
    labels : sequence of str, optional
        Each token's text; default: its number.
    ax : matplotlib Axes, optional
        Default: new ones.

    Returns
    -------
    matplotlib Axes

    Raises
    ------
    ValueError
        If shapes differ, or a parent is no beam.

    Examples
    --------
    >>> import matplotlib
    >>> matplotlib.use("Agg")
    >>> ax = decoding_tree([[0, 0], [0, 0]], [[1, 2], [3, 4]], labels="abcde")
    >>> [text.get_text() for text in ax.texts]
    ['start', 'b', 'c', 'd', 'e']
    """
    parents, tokens = np.asarray(parents), np.asarray(tokens)
    _check(parents, tokens, scores)
    if ax is None:
        import matplotlib.pyplot as plt

        ax = plt.subplots(layout="constrained")[1]
    steps, beams = parents.shape
    middle = (beams - 1) / 2
    _node(ax, 0, middle, "start", _ALIVE)
    alive = _survivors(parents)
    for step in range(steps):
        for beam in range(beams):
            y = middle if step == 0 else float(parents[step, beam])
            color = _ALIVE if alive[step, beam] else _DEAD
            ax.plot([step, step + 1], [y, beam], color=color, lw=1.5, zorder=1 + alive[step, beam])
            token = int(tokens[step, beam])
            _node(ax, step + 1, beam, str(token) if labels is None else labels[token], color)
            if scores is not None:
                ax.annotate(
                    f"{np.asarray(scores)[step, beam]:.2f}", (step + 1, beam), xytext=(0, -16),
                    textcoords="offset points", ha="center", fontsize=7, color=color,
                )  # fmt: skip
    ax.set(xlabel="step", ylabel="beam", yticks=range(beams), xlim=(-0.5, steps + 0.5))
    ax.set_ylim(beams - 0.3, -0.7)
    return ax


def _node(ax: Any, x: float, y: float, text: str, color: str) -> None:
    box = {"boxstyle": "round,pad=0.25", "facecolor": "white", "edgecolor": color}
    ax.text(x, y, text, ha="center", va="center", bbox=box, color=color, zorder=3)


def _survivors(parents: Array) -> Array:
    """Which beams have descendants in the last step."""
    alive = np.zeros(parents.shape, bool)
    alive[-1] = True
    for step in range(len(parents) - 1, 0, -1):
        alive[step - 1, parents[step][alive[step]]] = True
    return alive


def _check(parents: Array, tokens: Array, scores: Any) -> None:
    shapes = {parents.shape, tokens.shape, *([] if scores is None else [np.shape(scores)])}
    if len(shapes) != 1 or parents.ndim != 2 or parents.size == 0:
        raise ValueError(
            "decoding_tree: parents, tokens and scores must have one shape (steps, beams), "
            f"not empty, got {', '.join(map(str, sorted(shapes)))}"
        )
    if parents.dtype.kind not in "iu" or parents.min() < 0 or parents.max() >= parents.shape[1]:
        raise ValueError(
            f"decoding_tree: parents must be beams in [0, {parents.shape[1]}), "
            f"got {parents.min()} ... {parents.max()}"
        )
