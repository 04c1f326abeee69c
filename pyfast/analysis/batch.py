"""What the batch size changes: time, the loss reached, accuracy, the sharpness of the minimum."""

from __future__ import annotations

import copy
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np

from .. import ops
from .._tensor import Tensor
from ..data import DataLoader
from ..nn.module import Module
from ..random import manual_seed
from .curvature import checked_count

__all__ = ["BatchSizeRun", "BatchSizeTradeoff", "batch_size_tradeoff"]

Array = np.ndarray[Any, Any]
Split = tuple[Array, Array]
Loss = Callable[[Any, Any], Any]


@dataclass(frozen=True)
class BatchSizeRun:
    """One training with one batch size and seed.

    Attributes
    ----------
    batch_size, seed, updates : int
    seconds_per_update, seconds_per_epoch : float
        Medians; wall time of training alone.
    train_loss, train_accuracy, test_loss, test_accuracy : float
        In evaluation mode, at the end.
    sharpness : float
        Largest eigenvalue of the training loss's Hessian at the end; NaN where not asked for.
    """

    batch_size: int
    seed: int
    updates: int
    seconds_per_update: float
    seconds_per_epoch: float
    train_loss: float
    train_accuracy: float
    test_loss: float
    test_accuracy: float
    sharpness: float


@dataclass(frozen=True)
class BatchSizeTradeoff:
    """All runs; ``print`` it for a table of means over seeds.

    Attributes
    ----------
    runs : list of BatchSizeRun
    """

    runs: list[BatchSizeRun]

    @property
    def batch_sizes(self) -> list[int]:
        """Those tried, ascending."""
        return sorted({run.batch_size for run in self.runs})

    def values(self, field: str) -> Array:
        """One measured quantity.

        Parameters
        ----------
        field : str
            Name of an attribute of :class:`BatchSizeRun`.

        Returns
        -------
        array of shape (sizes, seeds)

        Raises
        ------
        ValueError
            If there is no such quantity.
        """
        if field not in {f.name for f in fields(BatchSizeRun)}:
            raise ValueError(f"BatchSizeTradeoff: field must be one of a run's, got {field!r}")
        return np.array(
            [[getattr(r, field) for r in self.runs if r.batch_size == b] for b in self.batch_sizes]
        )

    def __str__(self) -> str:
        lines = [
            "  batch  updates  ms/update  s/epoch  train loss  train acc  test loss  test acc"
            "  sharpness"
        ]
        for i, b in enumerate(self.batch_sizes):
            mean = {f.name: float(self.values(f.name)[i].mean()) for f in fields(BatchSizeRun)}
            lines.append(
                f"{b:>7}  {mean['updates']:>7.0f}  {1e3 * mean['seconds_per_update']:>9.2f}"
                f"  {mean['seconds_per_epoch']:>7.3f}  {mean['train_loss']:>10.4f}"
                f"  {mean['train_accuracy']:>9.2%}  {mean['test_loss']:>9.4f}"
                f"  {mean['test_accuracy']:>8.2%}  {mean['sharpness']:>9.2f}"
            )
        return "\n".join(lines)


def batch_size_tradeoff(
    make_model: Callable[[], Module],
    train: Split,
    test: Split,
    batch_sizes: Sequence[int],
    *,
    optimizer: Callable[[Any, int], Any],
    epochs: int = 20,
    updates: int | None = None,
    loss: Loss = ops.cross_entropy,
    seeds: Sequence[int] = (0,),
    measure_sharpness: bool = True,
    progress: bool | None = None,
) -> BatchSizeTradeoff:
    """Train one model with several batch sizes and measure what differs.

    Every run with a seed starts from the same weights; batches are drawn anew every epoch.

    Parameters
    ----------
    make_model : callable
        Makes a Module that gives logits of shape (N, classes).
    train, test : (inputs, labels)
        Inputs of shape (N, ...), float32; labels of shape (N,), integers.
    batch_sizes : sequence of int
        From 1 to the number of training samples.
    optimizer : callable
        Makes the optimizer from parameters and the batch size:
        ``lambda p, b: pf.optim.SGD(p, lr=0.05)``.
    epochs : int
        The same for all sizes, so that small batches make more updates; ignored with `updates`.
    updates : int, optional
        Make this many updates with every size instead.
    loss : callable
        Of logits and labels; a mean over the batch.
    seeds : sequence of int
        One training each.
    measure_sharpness : bool
        Whether to compute the Hessian's largest eigenvalue, in float64, over all training data.
    progress : bool, optional
        Show a bar. Default: in a terminal, after a second.

    Returns
    -------
    BatchSizeTradeoff

    Raises
    ------
    ValueError
        If there are no samples, sizes or seeds, lengths differ, a size is out of range, or
        training reaches a loss that is not finite.
    ImportError
        If sharpness is measured and SciPy is not installed.

    Examples
    --------
    >>> import numpy as np
    >>> import pyfast as pf
    >>> rng = np.random.default_rng(0)
    >>> x = rng.standard_normal((64, 2)).astype(np.float32)
    >>> data = x, (x[:, 0] > 0).astype(np.int64)
    >>> result = pf.analysis.batch_size_tradeoff(
    ...     lambda: pf.nn.Linear(2, 2), data, data, [8, 64], epochs=5,
    ...     optimizer=lambda p, b: pf.optim.SGD(p, lr=0.5),
    ... )
    >>> result.values("updates").ravel().tolist()
    [40, 5]
    """
    from tqdm import tqdm

    op = "batch_size_tradeoff"
    for name, (inputs, labels) in (("train", train), ("test", test)):
        if len(inputs) == 0 or len(inputs) != len(labels):
            raise ValueError(
                f"{op}: {name} must hold as many inputs as labels, at least one; got "
                f"{len(inputs)} and {len(labels)}"
            )
    sizes = [_checked_size(op, b, len(train[0])) for b in batch_sizes]
    if not sizes or not len(seeds):
        raise ValueError(f"{op}: batch_sizes and seeds must not be empty")
    checked_count(op, "epochs", epochs)
    runs = []
    jobs = [(b, s) for b in sizes for s in seeds]
    hidden = None if progress is None else not progress
    with tqdm(jobs, desc=op, unit="run", disable=hidden, delay=1) as bar:
        for b, seed in bar:
            bar.set_postfix(batch_size=b)
            passes = epochs if updates is None else _passes(updates, b, len(train[0]))
            manual_seed(seed)
            model = make_model()
            times = _train(model, train, b, passes, updates, optimizer, loss, seed)
            runs.append(_measured(model, train, test, b, seed, times, loss, measure_sharpness))
    return BatchSizeTradeoff(runs)


def _checked_size(op: str, size: Any, samples: int) -> int:
    number = checked_count(op, "a batch size", size)
    if number > samples:
        raise ValueError(f"{op}: a batch size must be at most the {samples} samples, got {number}")
    return number


def _passes(updates: int, batch_size: int, samples: int) -> int:
    return -(-checked_count("batch_size_tradeoff", "updates", updates) * batch_size // samples)


def _train(
    model: Module,
    data: Split,
    batch_size: int,
    epochs: int,
    updates: int | None,
    make_optimizer: Callable[[Any, int], Any],
    loss: Loss,
    seed: int,
) -> list[list[float]]:
    """Train; the seconds of each update, by epoch."""
    loader = DataLoader(data, batch_size=batch_size, shuffle=True, seed=seed)
    optimizer = make_optimizer(model.parameters(), batch_size)
    times: list[list[float]] = []
    left = updates if updates is not None else epochs * len(loader)
    while left:
        epoch: list[float] = []
        times.append(epoch)
        for inputs, labels in loader:
            start = time.perf_counter()
            value = loss(model(Tensor(inputs)), labels)
            optimizer.zero_grad()
            value.backward()
            optimizer.step()
            epoch.append(time.perf_counter() - start)
            if not np.isfinite(value.item()):
                raise ValueError(
                    f"batch_size_tradeoff: loss is {value.item()} with batch size {batch_size} in "
                    f"epoch {len(times)}; take a smaller learning rate"
                )
            left -= 1
            if not left:
                break
    return times


def _measured(
    model: Module,
    train: Split,
    test: Split,
    batch_size: int,
    seed: int,
    times: list[list[float]],
    loss: Loss,
    with_sharpness: bool,
) -> BatchSizeRun:
    model.eval()
    train_loss, train_accuracy = _score(model, train, loss)
    test_loss, test_accuracy = _score(model, test, loss)
    per_update = float(np.median([t for epoch in times for t in epoch]))
    whole = [sum(e) for e in times if len(e) == len(times[0])]
    return BatchSizeRun(
        batch_size=batch_size,
        seed=seed,
        updates=sum(map(len, times)),
        seconds_per_update=per_update,
        seconds_per_epoch=float(np.median(whole)),
        train_loss=train_loss,
        train_accuracy=train_accuracy,
        test_loss=test_loss,
        test_accuracy=test_accuracy,
        sharpness=_sharpness(model, train, loss) if with_sharpness else float("nan"),
    )


def _score(model: Module, data: Split, loss: Loss) -> tuple[float, float]:
    inputs, labels = data
    logits = np.concatenate(
        [np.asarray(model(inputs[i : i + 256])) for i in range(0, len(inputs), 256)]
    )
    return float(loss(logits, labels)), float(np.mean(logits.argmax(1) == labels))


def _sharpness(model: Module, data: Split, loss: Loss) -> float:
    from .curvature import sharpness

    twin = copy.deepcopy(model).double()
    inputs, labels = np.asarray(data[0], np.float64), data[1]
    return sharpness(lambda: loss(twin(Tensor(inputs)), labels), twin, tol=1e-3, progress=False)
