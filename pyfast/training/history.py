"""What happened, epoch by epoch."""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ..io import write_bytes

__all__ = ["History"]


class History:
    """A table of epochs: losses, scores, learning rate, seconds.

    Parameters
    ----------
    rows : list of dict, optional
        One for each epoch.

    Attributes
    ----------
    rows : list of dict

    Examples
    --------
    >>> history = History()
    >>> history.append({"epoch": 1, "loss": 0.7})
    >>> history.append({"epoch": 2, "loss": 0.4})
    >>> history["loss"]
    [0.7, 0.4]
    >>> history.best("loss")
    {'epoch': 2, 'loss': 0.4}
    """

    def __init__(self, rows: list[dict[str, Any]] | None = None) -> None:
        self.rows: list[dict[str, Any]] = list(rows or [])

    def append(self, row: dict[str, Any]) -> None:
        """Add an epoch.

        Parameters
        ----------
        row : dict
        """
        self.rows.append(dict(row))

    def names(self) -> list[str]:
        """The columns, in the order in which they came up.

        Returns
        -------
        list of str
        """
        return list(dict.fromkeys(name for row in self.rows for name in row))

    def __getitem__(self, name: str) -> list[Any]:
        """A column; None where an epoch has no such value."""
        if name not in self.names():
            raise KeyError(f"History: no column {name!r}; there are {self.names()}")
        return [row.get(name) for row in self.rows]

    def __len__(self) -> int:
        """The number of epochs."""
        return len(self.rows)

    def __iter__(self) -> Iterator[dict[str, Any]]:
        return iter(self.rows)

    def best(self, name: str = "val_loss", mode: str = "min") -> dict[str, Any]:
        """The epoch whose value is smallest, or largest.

        Parameters
        ----------
        name : str
        mode : {"min", "max"}

        Returns
        -------
        dict
            Its row.

        Raises
        ------
        KeyError
            If there is no such column.
        """
        choose = min if mode == "min" else max
        self[name]
        return choose((r for r in self.rows if name in r), key=lambda r: r[name])

    def to_csv(self, path: str | os.PathLike[str]) -> None:
        """Write the table; a crash leaves the whole old or the whole new file.

        Parameters
        ----------
        path : path

        Raises
        ------
        OSError
            If it cannot be written.
        """
        text = io.StringIO(newline="")
        table = csv.DictWriter(text, self.names(), lineterminator="\n")
        table.writeheader()
        table.writerows(self.rows)
        write_bytes(Path(path), text.getvalue().encode())

    def plot(self, ax: Any = None) -> Any:
        """Draw the losses over the epochs, on a logarithmic axis.

        Parameters
        ----------
        ax : matplotlib Axes, optional
            Default: a new figure's.

        Returns
        -------
        matplotlib Axes

        Raises
        ------
        ImportError
            If matplotlib is not installed.
        """
        if ax is None:
            from ..extras import missing_extra

            problem = missing_extra(["matplotlib"], "demo")
            if problem:
                raise ImportError(f"History.plot: {problem}")
            import matplotlib.pyplot as plt

            ax = plt.subplots(layout="constrained")[1]
        styles = {"loss": ("#0072B2", "o", "training"), "val_loss": ("#D55E00", "s", "validation")}
        for name, (color, marker, label) in styles.items():
            if name in self.names():
                ax.plot(self["epoch"], self[name], color=color, marker=marker, ms=3, label=label)
        ax.set(xlabel="epoch", ylabel="loss", yscale="log")
        ax.xaxis.get_major_locator().set_params(integer=True)
        ax.legend()
        return ax

    def __repr__(self) -> str:
        lines = [f"History of {len(self)} epochs"]
        if self.rows:
            values = (f"{k}={_short(v)}" for k, v in self.rows[-1].items())
            lines.append("last: " + ", ".join(values))
        return "\n".join(lines)


def _short(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
