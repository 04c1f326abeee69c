"""fit, and the Trainer whose steps it calls."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from .._tensor import Tensor
from ..data import DataLoader
from ..io import save
from ..nn import Module
from ..nn.utils import clip_grad_norm_, clip_grad_value_
from ..optim import Optimizer
from ..optim.lr_scheduler import LRScheduler, ReduceLROnPlateau
from ..random import get_rng_state, set_rng_state
from .checkpoint import TrainingState, load_checkpoint, save_checkpoint
from .divergence import DivergenceError, first_non_finite
from .evaluate import as_loader, evaluate, evaluation, forward, named_metrics, split_batch
from .history import History
from .log import TensorBoardLog, write_logs
from .stopping import EarlyStopping

__all__ = ["Trainer", "fit"]

_CHECKPOINT = "checkpoint.safetensors"


@dataclass
class _Progress:
    """Where training is; with the state of model and optimizer all that a resumed run needs."""

    epoch: int = 0  # whole epochs done
    step: int = 0  # updates done
    loss_sum: float = 0.0  # over the samples of the epoch under way
    samples: int = 0


class Trainer:
    """The training loop in pieces: :meth:`step`, :meth:`epoch`, :meth:`run`, :meth:`save`.

    :func:`fit` makes one and runs it, and says what the parameters mean.

    Attributes
    ----------
    history : History
    best_weights : dict or None
        The state_dict of the best epoch so far, when there is validation.
    steps : int
        Updates done.
    """

    def __init__(
        self,
        model: Module,
        loss: Callable[..., Any],
        optimizer: Optimizer,
        data: Any,
        *,
        batch_size: int = 32,
        validation: Any = None,
        metrics: Any = None,
        scheduler: Any = None,
        schedule_every: str = "epoch",
        clip_norm: float | None = None,
        clip_value: float | None = None,
        accumulate: int = 1,
        patience: int | None = None,
        monitor: str | None = None,
        mode: str = "min",
        min_delta: float = 0.0,
        best_weights: bool = True,
        folder: str | Path | None = None,
        checkpoint_every: int | None = None,
        tensorboard: bool | None = None,
        targets: int = 1,
    ) -> None:
        self.model, self.loss, self.optimizer = model, loss, optimizer
        self.loader = as_loader(data, batch_size, shuffle=True)
        self.validation = None if validation is None else as_loader(validation, 256)
        self.metrics = named_metrics(metrics)
        self.scheduler, self.schedule_every = scheduler, schedule_every
        self.clip_norm, self.clip_value = clip_norm, clip_value
        self.accumulate, self.targets = accumulate, targets
        self.monitor = monitor or ("loss" if validation is None else "val_loss")
        self.stopping = EarlyStopping(patience, mode, min_delta)
        self.keep_best = best_weights and validation is not None
        self.folder = None if folder is None else Path(folder)
        self.checkpoint_every, self.tensorboard = checkpoint_every, tensorboard
        self.history = History()
        self.best_weights: dict[str, Any] | None = None
        self._progress = _Progress()
        self._checkpoint: Path | None = None  # the last one written or read
        self._check()

    def _check(self) -> None:
        """All that can be refused before the first batch."""
        self._check_parts()
        for i, group in enumerate(self.optimizer.param_groups):
            if self.scheduler is None and not group["lr"] > 0:
                raise ValueError(f"fit: lr must be positive, got {group['lr']} in group {i}")
        self.accumulate = _count("accumulate", self.accumulate)
        self.targets = _count("targets", self.targets)
        for name in ("clip_norm", "clip_value"):
            limit = getattr(self, name)
            if limit is not None and not limit > 0:
                raise ValueError(f"fit: {name} must be positive, got {limit!r}")
        if self.metrics and self.validation is None:
            raise ValueError("fit: metrics need validation data")
        if self.schedule_every not in ("epoch", "step"):
            raise ValueError(
                f"fit: schedule_every must be 'epoch' or 'step', got {self.schedule_every!r}"
            )
        if hasattr(self.loader, "__len__") and len(self.loader) == 0:
            raise ValueError("fit: data must have at least one batch, got an empty loader")
        if self.checkpoint_every is not None:
            self.checkpoint_every = _count("checkpoint_every", self.checkpoint_every)
            if self.folder is None:
                raise ValueError("fit: checkpoint_every needs a folder")
            if not isinstance(self.loader, DataLoader):
                raise ValueError("fit: checkpoint_every needs data in a DataLoader or in arrays")

    def _check_parts(self) -> None:
        """Model, loss, optimizer and schedule, and that they are each other's."""
        if not isinstance(self.model, Module):
            raise TypeError(f"fit: model must be a Module, got {type(self.model).__name__}")
        if not callable(self.loss):
            raise TypeError(f"fit: loss must be callable, got {self.loss!r}")
        if not isinstance(self.optimizer, Optimizer):
            got = type(self.optimizer).__name__
            raise TypeError(f"fit: optimizer must be an Optimizer, got {got}")
        own = {id(p) for p in self.model.parameters()}
        if own.isdisjoint(id(p) for p in self._parameters()):
            raise ValueError("fit: optimizer must hold parameters of model, got another model's")
        if self.scheduler is None:
            return
        if not isinstance(self.scheduler, LRScheduler | ReduceLROnPlateau):
            got = type(self.scheduler).__name__
            raise TypeError(f"fit: scheduler must be a schedule of pf.optim, got {got}")
        if self.scheduler.optimizer is not self.optimizer:
            raise ValueError("fit: scheduler must be one of optimizer, got another optimizer's")

    @property
    def steps(self) -> int:
        """Updates done."""
        return self._progress.step

    # -- one update ------------------------------------------------------------------------------

    def backward(self, batch: Any, share: float = 1.0) -> float:
        """Forward and backward of one batch; gradients are added up.

        Parameters
        ----------
        batch : tuple
            ``(input, ..., target)``.
        share : float
            What the loss is multiplied by.

        Returns
        -------
        float
            The loss.

        Raises
        ------
        DivergenceError
            If it is not finite.
        """
        inputs, aims = split_batch(batch, self.targets)
        before = get_rng_state()
        loss = self.loss(forward(self.model, inputs), *aims)
        if not isinstance(loss, Tensor) or loss.data.size != 1:
            got = f"shape {loss.shape}" if isinstance(loss, Tensor) else repr(loss)
            raise TypeError(f"fit: loss must return a Tensor of one value, got {got}")
        value = float(loss)
        if not math.isfinite(value):
            set_rng_state(before)  # so that dropout drops the same
            layer = first_non_finite(self.model, lambda: forward(self.model, inputs))
            raise DivergenceError(f"loss is {value}", self.steps + 1, layer, self._checkpoint)
        (loss if share == 1 else loss * share).backward()
        return value

    def step(self, batches: Iterable[Any]) -> float:
        """One update from one batch or, accumulating, from several.

        Parameters
        ----------
        batches : iterable of tuple
            Their gradients are averaged.

        Returns
        -------
        float
            The mean loss over their samples.
        """
        batches = list(batches)
        self.optimizer.zero_grad()
        total, samples = 0.0, 0
        for batch in batches:
            size = len(np.asarray(batch[-1]))
            total += self.backward(batch, 1 / len(batches)) * size
            samples += size
        if self.clip_norm is not None:
            clip_grad_norm_(self._parameters(), self.clip_norm)
        if self.clip_value is not None:
            clip_grad_value_(self._parameters(), self.clip_value)
        self.optimizer.step()
        if self.scheduler is not None and self.schedule_every == "step":
            self.scheduler.step()
        self._progress.step += 1
        self._progress.loss_sum += total
        self._progress.samples += samples
        return total / samples

    def _parameters(self) -> list[Tensor]:
        return [p for group in self.optimizer.param_groups for p in group["params"]]

    # -- one epoch -------------------------------------------------------------------------------

    def epoch(self, bar: Any = None) -> dict[str, Any]:
        """One epoch, or what is left of it: updates, validation, schedule, a row of the history.

        Parameters
        ----------
        bar : tqdm, optional
            Shows the loss and is moved on.

        Returns
        -------
        dict
            The row.
        """
        start = time.perf_counter()
        self.model.train()
        for group in self._groups():
            loss = self.step(group)
            if bar is not None:
                bar.set_postfix(loss=f"{loss:.4f}", refresh=False)
                bar.update(len(group))
            if self.checkpoint_every and self.steps % self.checkpoint_every == 0:
                self.save()
        return self._finish_epoch(time.perf_counter() - start)

    def _groups(self) -> Iterator[list[Any]]:
        """Batches by the update; the loader is not asked beyond a group's last one.

        Asked for one more at the end of an epoch it would move on to the next, and a checkpoint
        between the last update and the end of the epoch would have it there.
        """
        group: list[Any] = []
        for batch in self.loader:
            group.append(batch)
            if len(group) == self.accumulate or self._at_end():
                yield group
                group = []
        if group:
            yield group

    def _at_end(self) -> bool:
        loader = self.loader
        return isinstance(loader, DataLoader) and loader.state_dict()["position"] == len(loader)

    def _finish_epoch(self, seconds: float) -> dict[str, Any]:
        progress = self._progress
        if not progress.samples:
            raise ValueError("fit: data must have at least one batch, got none")
        row: dict[str, Any] = {
            "epoch": progress.epoch + 1,
            "step": progress.step,
            "loss": progress.loss_sum / progress.samples,
        }
        if self.validation is not None:
            scores = evaluate(
                self.model, self.loss, self.validation, self.metrics, targets=self.targets
            )
            self._check_validation(scores["loss"])
            row |= {f"val_{name}": score for name, score in scores.items()}
        row |= {"lr": float(self.optimizer.param_groups[0]["lr"]), "seconds": seconds}
        self.history.append(row)
        progress.epoch += 1
        progress.loss_sum, progress.samples = 0.0, 0
        self._judge(row)
        return row

    def _check_validation(self, loss: float) -> None:
        """As for the training loss: one that is no number stops, and nothing is judged by it."""
        if math.isfinite(loss):
            return
        itself = "the loss itself"
        with evaluation(self.model):
            inputs = (split_batch(batch, self.targets)[0] for batch in self.validation or ())
            runs = (partial(forward, self.model, i) for i in inputs)
            places = (first_non_finite(self.model, run) for run in runs)
            place = next((p for p in places if p != itself), itself)
        raise DivergenceError(f"validation loss is {loss}", self.steps, place, self._checkpoint)

    def _judge(self, row: Mapping[str, Any]) -> None:
        """Early stopping, the best weights, and schedules that go by epochs."""
        if self.monitor not in row:
            raise ValueError(f"fit: monitor must be one of {sorted(row)}, got {self.monitor!r}")
        if self.stopping.update(row[self.monitor]) and self.keep_best:
            state = self.model.state_dict()
            self.best_weights = {name: value.data.copy() for name, value in state.items()}
        if isinstance(self.scheduler, ReduceLROnPlateau):
            self.scheduler.step(row[self.monitor])
        elif self.scheduler is not None and self.schedule_every == "epoch":
            self.scheduler.step()

    # -- all of it -------------------------------------------------------------------------------

    def run(
        self,
        epochs: int,
        *,
        progress: bool = True,
        on_epoch: Callable[[Trainer], Any] | None = None,
    ) -> History:
        """Train up to a number of epochs, counted from the very beginning.

        Parameters
        ----------
        epochs : int
        progress : bool
            Show a bar.
        on_epoch : callable, optional
            Called with the trainer after every epoch.

        Returns
        -------
        History
        """
        from tqdm import tqdm

        epochs = _count("epochs", epochs, least=0)
        board = self._open_logs()
        total = (epochs - self._progress.epoch) * len(self.loader) if _sized(self.loader) else None
        try:
            with tqdm(total=total, unit="batch", disable=not progress) as bar:
                while self._progress.epoch < epochs and not self.stopping.should_stop:
                    bar.set_description(f"epoch {self._progress.epoch + 1}/{epochs}")
                    self.epoch(bar)
                    write_logs(self.folder, self.history, board)
                    if self.checkpoint_every:
                        self.save()
                    if on_epoch is not None:
                        on_epoch(self)
        finally:
            if board is not None:
                board.close()
        if self.best_weights is not None:
            self.model.load_state_dict(self.best_weights)
        if self.folder is not None:
            save(self.model.state_dict(), self.folder / "model.safetensors")
        return self.history

    def _open_logs(self) -> TensorBoardLog | None:
        if self.folder is None:
            return None
        self.folder.mkdir(parents=True, exist_ok=True)
        wanted = self.tensorboard
        if wanted is None:
            wanted = TensorBoardLog.installed()
        return TensorBoardLog(self.folder) if wanted else None

    # -- checkpoints -----------------------------------------------------------------------------

    def _state(self) -> TrainingState:
        extra = {
            "progress": dict(self._progress.__dict__),
            "history": self.history.rows,
            "stopping": self.stopping.state_dict(),
            "best_weights": self.best_weights,
        }
        fixed = {"accumulate": self.accumulate, "schedule_every": self.schedule_every}
        loader = self.loader if isinstance(self.loader, DataLoader) else None
        return TrainingState(self.model, self.optimizer, self.scheduler, loader, extra, fixed)

    def save(self, path: str | Path | None = None) -> Path:
        """Write a checkpoint, between updates.

        Parameters
        ----------
        path : path, optional
            Default: ``checkpoint.safetensors`` in the folder.

        Returns
        -------
        Path

        Raises
        ------
        DivergenceError
            If a parameter is not finite: the old file stays.
        OSError
            If it cannot be written; the old file is intact.
        ValueError
            If there is neither a path nor a folder.
        """
        target = self._path(path)
        for name, parameter in self.model.named_parameters():
            if not np.isfinite(parameter.data).all():
                place = f"parameter {name}"
                raise DivergenceError("weights diverged", self.steps, place, self._checkpoint)
        target.parent.mkdir(parents=True, exist_ok=True)
        save_checkpoint(target, self._state())
        self._checkpoint = target
        return target

    def resume(self, path: str | Path | None = None) -> bool:
        """Go on from a checkpoint, if there is one.

        Parameters
        ----------
        path : path, optional
            Default: ``checkpoint.safetensors`` in the folder.

        Returns
        -------
        bool
            Whether there was one.

        Raises
        ------
        ValueError
            If it is of another model, optimizer, schedule, loader or accumulation: see
            :func:`load_checkpoint`. Nothing has changed then.
        """
        source = self._path(path)
        for name in (source.name, "history.csv", "model.safetensors"):
            for torn in source.parent.glob(f".{name}.*"):  # left by a run that was killed
                with suppress(OSError):
                    torn.unlink()
        if not source.exists():
            return False
        extra = load_checkpoint(source, self._state())
        self._progress = _Progress(**extra["progress"])
        self.history = History(extra["history"])
        self.stopping.load_state_dict(extra["stopping"])
        self.best_weights = extra["best_weights"]
        self._checkpoint = source
        return True

    def _path(self, path: str | Path | None) -> Path:
        if path is not None:
            return Path(path)
        if self.folder is None:
            raise ValueError("Trainer: needs a path or a folder for checkpoints")
        return self.folder / _CHECKPOINT


def _count(name: str, value: Any, least: int = 1) -> int:
    if not isinstance(value, int | np.integer):
        raise TypeError(f"fit: {name} must be an int, got {value!r}")
    if value < least:
        what = "positive" if least == 1 else "at least 0"
        raise ValueError(f"fit: {name} must be {what}, got {value}")
    return int(value)


def _sized(loader: Any) -> bool:
    return hasattr(loader, "__len__")


def fit(
    model: Module,
    loss: Callable[..., Any],
    optimizer: Optimizer,
    data: Any,
    *,
    epochs: int = 10,
    batch_size: int = 32,
    validation: Any = None,
    metrics: Any = None,
    scheduler: Any = None,
    schedule_every: str = "epoch",
    clip_norm: float | None = None,
    clip_value: float | None = None,
    accumulate: int = 1,
    patience: int | None = None,
    monitor: str | None = None,
    mode: str = "min",
    min_delta: float = 0.0,
    best_weights: bool = True,
    folder: str | Path | None = None,
    checkpoint_every: int | None = None,
    resume: bool = False,
    tensorboard: bool | None = None,
    targets: int = 1,
    progress: bool = True,
    on_epoch: Callable[[Trainer], Any] | None = None,
) -> History:
    """Train a model.

    Parameters
    ----------
    model : Module
    loss : callable
        ``loss(output, target)``, a mean over the batch: ``pf.ops.cross_entropy``.
    optimizer : Optimizer
    data : DataLoader, tuple of arrays, or iterable of batches
        Batches are ``(input, ..., target)``. Arrays of shape (N, ...) are shuffled every epoch.
    epochs : int
        In all: a resumed run does what is left of them.
    batch_size : int
        For data given as arrays.
    validation : like `data`, optional
        Looked at after every epoch.
    metrics : dict of name to function or str, or list of str, optional
        Scores of the validation data, scikit-learn's: see :func:`evaluate`.
    scheduler : LRScheduler or ReduceLROnPlateau, optional
    schedule_every : {"epoch", "step"}
        What the schedule counts: epochs or updates.
    clip_norm, clip_value : float, optional
        Clip gradients by their norm, or component by component.
    accumulate : int
        Batches whose gradients are averaged for one update.
    patience : int, optional
        Stop after so many epochs without improvement of the monitored value.
    monitor : str, optional
        A column of the history. Default: ``"val_loss"``, without validation ``"loss"``.
    mode : {"min", "max"}
        Whether a smaller or larger monitored value is better.
    min_delta : float
        What counts as an improvement.
    best_weights : bool
        End with the weights of the epoch whose monitored value was best, if there is validation.
    folder : path, optional
        For ``history.csv``, TensorBoard's events, ``checkpoint.safetensors``, and at the end
        ``model.safetensors``.
    checkpoint_every : int, optional
        Updates between checkpoints; there is one after each epoch too.
    resume : bool
        Go on from the folder's checkpoint, if there is one. The result is bit for bit that of a run
        that was never stopped, given the same data and the same functions.
    tensorboard : bool, optional
        Default: if the tensorboard package is installed.
    targets : int
        How many of a batch's last members go to the loss.
    progress : bool
        Show a bar.
    on_epoch : callable, optional
        Called with the :class:`Trainer` after every epoch.

    Returns
    -------
    History

    Raises
    ------
    ValueError
        If a setting is out of range, there are no data, or the checkpoint belongs to another model.
    DivergenceError
        If the loss or a weight is no longer finite: it names the step, the layer and the last good
        checkpoint.
    OSError
        If the folder cannot be written; the last checkpoint is intact.

    Examples
    --------
    >>> import numpy as np
    >>> import pyfast as pf
    >>> _ = pf.manual_seed(0)
    >>> x = np.linspace(-1, 1, 64, dtype=np.float32)[:, None]
    >>> model = pf.nn.Sequential(pf.nn.Linear(1, 16), pf.nn.Tanh(), pf.nn.Linear(16, 1))
    >>> optimizer = pf.optim.Adam(model.parameters(), lr=0.01)
    >>> history = pf.training.fit(
    ...     model, pf.ops.mse_loss, optimizer, (x, x**2), epochs=100, progress=False
    ... )
    >>> history["loss"][-1] < 0.01
    True
    """
    trainer = Trainer(
        model,
        loss,
        optimizer,
        data,
        batch_size=batch_size,
        validation=validation,
        metrics=metrics,
        scheduler=scheduler,
        schedule_every=schedule_every,
        clip_norm=clip_norm,
        clip_value=clip_value,
        accumulate=accumulate,
        patience=patience,
        monitor=monitor,
        mode=mode,
        min_delta=min_delta,
        best_weights=best_weights,
        folder=folder,
        checkpoint_every=checkpoint_every,
        tensorboard=tensorboard,
        targets=targets,
    )
    if resume:
        if folder is None:
            raise ValueError("fit: resume needs a folder")
        trainer.resume()
    return trainer.run(epochs, progress=progress, on_epoch=on_epoch)
