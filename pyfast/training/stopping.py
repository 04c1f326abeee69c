"""Early stopping."""

from __future__ import annotations

import math
from typing import Any

__all__ = ["EarlyStopping"]


class EarlyStopping:
    """Tells when a score has not improved for a while.

    (Prechelt, "Early stopping - but when?", 1998.)

    Parameters
    ----------
    patience : int or None
        Epochs without improvement that are borne; None: never stop, only remember the best.
    mode : {"min", "max"}
        Whether a smaller or a larger score is better.
    min_delta : float
        What counts as an improvement.

    Attributes
    ----------
    best : float
        The best score so far.
    waited : int
        Epochs since.

    Raises
    ------
    ValueError
        If a setting is out of range.

    Examples
    --------
    >>> stopping = EarlyStopping(patience=1)
    >>> [stopping.update(loss) for loss in (0.9, 0.5, 0.6, 0.7)]
    [True, True, False, False]
    >>> stopping.should_stop
    True
    """

    def __init__(
        self, patience: int | None = 10, mode: str = "min", min_delta: float = 0.0
    ) -> None:
        if mode not in ("min", "max"):
            raise ValueError(f"EarlyStopping: mode must be 'min' or 'max', got {mode!r}")
        if patience is not None and patience < 0:
            raise ValueError(f"EarlyStopping: patience must not be negative, got {patience}")
        if not min_delta >= 0:
            raise ValueError(f"EarlyStopping: min_delta must not be negative, got {min_delta}")
        self.patience, self.mode, self.min_delta = patience, mode, min_delta
        self.best = math.inf if mode == "min" else -math.inf
        self.waited = 0

    def update(self, score: float) -> bool:
        """Take an epoch's score.

        Parameters
        ----------
        score : float
            NaN is no improvement.

        Returns
        -------
        bool
            Whether it is the best so far.
        """
        sign = 1 if self.mode == "min" else -1
        improved = sign * score < sign * self.best - self.min_delta
        if improved:
            self.best, self.waited = float(score), 0
        else:
            self.waited += 1
        return improved

    @property
    def should_stop(self) -> bool:
        """Whether more epochs than `patience` have passed since the best."""
        return self.patience is not None and self.waited > self.patience

    def state_dict(self) -> dict[str, Any]:
        """The best score and the epochs since.

        Returns
        -------
        dict
        """
        return {"best": self.best, "waited": self.waited}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on from what :meth:`state_dict` gave.

        Parameters
        ----------
        state_dict : dict
        """
        self.best, self.waited = float(state_dict["best"]), int(state_dict["waited"])
