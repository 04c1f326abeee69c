"""Figures of training: curves, learning rates, cross-validation, batch sizes, confusion."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from .canvas import COLORS, MAP, axes, series

__all__ = ["batch_size_tradeoff", "confusion", "cv_scores", "history", "lr_finder", "schedules"]

Array = np.ndarray[Any, Any]


def history(
    curves: Any,
    *,
    x: Any = None,
    xlabel: str = "epoch",
    ylabel: str = "loss",
    log: bool = False,
    ax: Any = None,
) -> Any:
    """Curves over training: losses or scores by epoch.

    Parameters
    ----------
    curves : mapping of str to array of shape (T,)
        By label; or an object with such a mapping as its ``history`` attribute.
    x : array of shape (T,), optional
        Default: 1, 2, ...
    xlabel, ylabel : str
    log : bool
        Logarithmic axis of values.
    ax : Axes, optional
        Default: a new figure's.

    Returns
    -------
    Axes

    Raises
    ------
    ValueError
        If there are no curves, or one is not as long as `x`.

    Examples
    --------
    >>> import pyfast as pf
    >>> ax = pf.plot.history({"training": [1.0, 0.5, 0.3], "validation": [1.1, 0.7, 0.6]})
    >>> ax.get_xlabel()
    'epoch'
    """
    named = curves if isinstance(curves, Mapping) else getattr(curves, "history", curves)
    if not isinstance(named, Mapping) or not named:
        raise ValueError(f"plot.history: curves must map labels to values, got {curves!r}")
    for label, values in named.items():
        if x is not None and len(x) != len(values):
            raise ValueError(f"plot.history: x has {len(x)} places, {label!r} {len(values)}")
    ax = axes("history", ax)
    for i, (label, values) in enumerate(named.items()):
        at = np.arange(1, len(values) + 1) if x is None else np.asarray(x)
        every = max(1, len(values) // 12)
        ax.plot(at, values, label=label, markersize=4, markevery=every, **series(i))
    ax.set(xlabel=xlabel, ylabel=ylabel, yscale="log" if log else "linear")
    if x is None:
        ax.xaxis.get_major_locator().set_params(integer=True)
    ax.legend()
    return ax


def lr_finder(found: Any, *, ax: Any = None) -> Any:
    """The loss while the learning rate grew, with the suggestion.

    Parameters
    ----------
    found : LRFinder
        What :func:`pyfast.analysis.lr_finder` returned.
    ax : Axes, optional
        Default: a new figure's.

    Returns
    -------
    Axes
    """
    ax = axes("lr_finder", ax)
    ax.plot(found.lrs, found.losses, color="0.7", lw=1, label="loss of a batch")
    ax.plot(found.lrs, found.smoothed, color=COLORS[0], lw=2, label="moving average")
    ax.axvline(found.suggestion, color=COLORS[1], ls="--",
               label=f"falls fastest at {found.suggestion:.2g}")  # fmt: skip
    low, high = found.smoothed.min(), found.smoothed[: max(5, len(found.lrs) // 2)].max()
    ax.set(xscale="log", xlabel="learning rate", ylabel="loss",
           ylim=(low - 0.15 * (high - low), high + 0.5 * (high - low)))  # fmt: skip
    ax.legend(fontsize=9, loc="lower left")
    return ax


def schedules(rates: Mapping[str, Any], *, xlabel: str = "step", ax: Any = None) -> Any:
    """Learning rates over time.

    Parameters
    ----------
    rates : mapping of str to array of shape (T,)
        The learning rate of each step, by the schedule's name.
    xlabel : str
    ax : Axes, optional
        Default: a new figure's.

    Returns
    -------
    Axes

    Raises
    ------
    ValueError
        If there are none.

    Examples
    --------
    >>> import pyfast as pf
    >>> ax = pf.plot.schedules({"halving": [0.1, 0.05, 0.025]})
    >>> ax.get_ylabel()
    'learning rate'
    """
    if not rates:
        raise ValueError("plot.schedules: rates must not be empty")
    ax = axes("schedules", ax)
    for i, (label, values) in enumerate(rates.items()):
        look = series(i)
        ax.plot(np.arange(len(values)), values, label=label, lw=2,
                color=look["color"], linestyle=look["linestyle"])  # fmt: skip
    low, high = ax.get_ylim()
    ax.set(xlabel=xlabel, ylabel="learning rate", ylim=(low, high + 0.3 * (high - low)))
    ax.legend(ncols=2, fontsize=9, loc="upper center")
    return ax


def cv_scores(
    scores: Mapping[str, Any], *, test: Mapping[str, float] | None = None,
    ylabel: str = "accuracy", ax: Any = None,
) -> Any:  # fmt: skip
    """The scores of several models on the folds of a cross-validation.

    Parameters
    ----------
    scores : mapping of str to array of shape (k,)
        By model.
    test : mapping of str to float, optional
        The one final score on the test set, of the model that was chosen.
    ylabel : str
    ax : Axes, optional
        Default: a new figure's.

    Returns
    -------
    Axes

    Raises
    ------
    ValueError
        If there are none, or the test score is of a model that is not among them.

    Examples
    --------
    >>> import pyfast as pf
    >>> ax = pf.plot.cv_scores({"linear": [0.9, 0.92], "CNN": [0.97, 0.98]})
    >>> [t.get_text() for t in ax.get_xticklabels()]
    ['linear', 'CNN']
    """
    if not scores or not all(np.size(values) for values in scores.values()):
        raise ValueError("plot.cv_scores: scores must not be empty")
    for name in test or {}:
        if name not in scores:
            raise ValueError(f"plot.cv_scores: test must be of {list(scores)}, got {name!r}")
    ax = axes("cv_scores", ax)
    for i, values in enumerate(scores.values()):
        folds = np.asarray(values, np.float64)
        spread = np.linspace(-0.12, 0.12, folds.size) if folds.size > 1 else [0.0]
        ax.plot(i + np.asarray(spread), folds, "o", color=COLORS[0], ms=5, alpha=0.8,
                label="fold" if i == 0 else None)  # fmt: skip
        ax.plot([i - 0.25, i + 0.25], [folds.mean()] * 2, color="black", lw=2,
                label="mean of the folds" if i == 0 else None)  # fmt: skip
        ax.annotate(f"{folds.mean():.4g}", (i - 0.28, folds.mean()), ha="right", va="center")
    for name, value in (test or {}).items():
        ax.plot(list(scores).index(name) + 0.32, value, "D", color=COLORS[1], ms=7,
                label=f"test set, once: {value:.4g}")  # fmt: skip
    ax.set_xticks(range(len(scores)), list(scores))
    ax.set(xlabel="model", ylabel=ylabel, xlim=(-0.6, len(scores) - 0.4))
    ax.legend()
    return ax


_QUANTITIES: dict[str, tuple[str, tuple[tuple[str, str], ...]]] = {
    "update time": ("time per update (ms)", (("seconds_per_update", "one update"),)),
    "epoch time": ("time per epoch (s)", (("seconds_per_epoch", "one epoch"),)),
    "loss": ("cross-entropy (nats)", (("train_loss", "training"), ("test_loss", "test"))),
    "accuracy": ("error (%)", (("train_accuracy", "training"), ("test_accuracy", "test"))),
    "sharpness": ("largest Hessian eigenvalue", (("sharpness", "at the end of training"),)),
}


def batch_size_tradeoff(result: Any, *, show: str = "accuracy", ax: Any = None) -> Any:
    """One quantity by batch size: each run a dot, the means joined.

    Parameters
    ----------
    result : BatchSizeTradeoff
        What :func:`pyfast.analysis.batch_size_tradeoff` returned.
    show : {"update time", "epoch time", "loss", "accuracy", "sharpness"}
        Accuracy is shown as the share of errors.
    ax : Axes, optional
        Default: a new figure's.

    Returns
    -------
    Axes

    Raises
    ------
    ValueError
        If there is no such quantity, or it was not measured.
    """
    if show not in _QUANTITIES:
        known = ", ".join(map(repr, _QUANTITIES))
        raise ValueError(f"plot.batch_size_tradeoff: show must be one of {known}, got {show!r}")
    ylabel, lines = _QUANTITIES[show]
    if np.isnan(result.values(lines[0][0])).all():
        raise ValueError(f"plot.batch_size_tradeoff: {show} was not measured")
    ax = axes("batch_size_tradeoff", ax)
    convert = _conversion(show)
    for i, (field, label) in enumerate(lines):
        values = convert(result.values(field))
        look = series(i)
        for column in values.T:
            ax.plot(
                result.batch_sizes, column, look["marker"], color=look["color"], ms=4, alpha=0.35
            )
        ax.plot(result.batch_sizes, values.mean(1), label=label, ms=6, **look)
    ax.set(xscale="log", xlabel="batch size", ylabel=ylabel)
    if show in ("update time", "sharpness"):
        ax.set_yscale("log")
    else:
        ax.set_ylim(bottom=min(0.0, ax.get_ylim()[0]))
    ax.set_xticks(result.batch_sizes, [f"{b:,}" for b in result.batch_sizes])
    ax.minorticks_off()
    ax.legend()
    return ax


def _conversion(show: str) -> Callable[[Array], Array]:
    if show == "update time":
        return lambda seconds: 1e3 * seconds
    if show == "accuracy":
        return lambda accuracy: 100 * (1 - accuracy)
    return lambda values: values


def confusion(counts: Any, labels: Sequence[Any] | None = None, *, ax: Any = None) -> Any:
    """A confusion matrix: mistakes stand out, what is right is grey.

    Parameters
    ----------
    counts : array of shape (C, C), integers
        True class by row, predicted class by column.
    labels : sequence of C, optional
        Default: 0, 1, ...
    ax : Axes, optional
        Default: a new figure's.

    Returns
    -------
    Axes

    Raises
    ------
    ValueError
        If `counts` is not square, or labels do not fit.

    Examples
    --------
    >>> import pyfast as pf
    >>> ax = pf.plot.confusion([[5, 1], [0, 4]], ["cat", "dog"])
    >>> ax.get_xlabel()
    'predicted'
    """
    matrix = np.asarray(counts)
    if matrix.ndim != 2 or matrix.shape[0] != matrix.shape[1] or not matrix.size:
        raise ValueError(f"plot.confusion: counts must have shape (C, C), got {matrix.shape}")
    names = list(range(len(matrix))) if labels is None else list(labels)
    if len(names) != len(matrix):
        raise ValueError(f"plot.confusion: {len(matrix)} classes need as many labels")
    ax = axes("confusion", ax)
    wrong = matrix.astype(np.float64)
    np.fill_diagonal(wrong, np.nan)
    most = max(float(np.nanmax(wrong, initial=0)), 1.0)
    image = ax.imshow(np.where(wrong > 0, wrong, np.nan), cmap=MAP + "_r", vmin=0, vmax=most)
    for (i, j), n in np.ndenumerate(matrix):
        if n:
            dark = i != j and n > 0.6 * most
            ax.text(j, i, f"{n}", ha="center", va="center", fontsize=9,
                    color="0.45" if i == j else "white" if dark else "black")  # fmt: skip
    ax.set_xticks(range(len(names)), [str(n) for n in names])
    ax.set_yticks(range(len(names)), [str(n) for n in names])
    ax.set(xlabel="predicted", ylabel="true")
    bar = ax.figure.colorbar(image, ax=ax, label="mistakes")
    bar.ax.yaxis.get_major_locator().set_params(integer=True)
    return ax
