"""Where the epochs are written to: a CSV file always, TensorBoard's events if it is installed."""

from __future__ import annotations

import importlib.util
import time
import warnings
from pathlib import Path
from typing import Any

from .history import History

__all__ = ["TensorBoardLog", "write_logs"]


class TensorBoardLog:
    """Scalars as TensorBoard's events, by the tensorboard package alone.

    Parameters
    ----------
    folder : Path
    """

    def __init__(self, folder: Path) -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of its own imports
            from tensorboard.summary.writer.event_file_writer import EventFileWriter

            self._writer = EventFileWriter(str(folder))

    @staticmethod
    def installed() -> bool:
        """Whether the tensorboard package is here."""
        return importlib.util.find_spec("tensorboard") is not None

    def write(self, row: dict[str, Any], step: int) -> None:
        """One epoch: every number but the epoch's own."""
        from tensorboard.compat.proto.event_pb2 import Event
        from tensorboard.compat.proto.summary_pb2 import Summary

        values = [
            Summary.Value(tag=name, simple_value=float(value))
            for name, value in row.items()
            if name != "epoch"
        ]
        event = Event(wall_time=time.time(), step=step, summary=Summary(value=values))
        self._writer.add_event(event)
        self._writer.flush()

    def close(self) -> None:
        """Flush and close the file."""
        self._writer.close()


def write_logs(folder: Path | None, history: History, board: TensorBoardLog | None) -> None:
    """Write the last epoch of a history to what is there."""
    if folder is not None:
        history.to_csv(folder / "history.csv")
    if board is not None:
        board.write(history.rows[-1], int(history.rows[-1]["step"]))
