"""Outputs, losses and scores of a model, in evaluation mode and without gradients."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np

from .._tensor import Tensor
from ..autograd import no_grad
from ..data import DataLoader
from ..extras import missing_extra
from ..nn import Module
from ..random import default_generator

__all__ = ["evaluate", "predict"]

Array = np.ndarray[Any, Any]
Metric = Callable[[Array, Array], float]


def predict(model: Module, inputs: Any, batch_size: int = 256) -> Array:
    """The model's outputs, batch by batch.

    Parameters
    ----------
    model : Module
        Put into evaluation mode meanwhile.
    inputs : array, or tuple of arrays, of shape (N, ...)
    batch_size : int

    Returns
    -------
    array of shape (N, ...)

    Raises
    ------
    ValueError
        If there are no inputs.

    Examples
    --------
    >>> import numpy as np
    >>> import pyfast as pf
    >>> pf.training.predict(pf.nn.Linear(3, 2), np.zeros((5, 3), np.float32)).shape
    (5, 2)
    """
    arrays = inputs if isinstance(inputs, tuple | list) else (inputs,)
    loader = DataLoader(tuple(arrays), batch_size, seed=0)
    with evaluation(model):
        return np.concatenate([forward(model, batch).data for batch in loader])


def evaluate(
    model: Module,
    loss: Callable[..., Any],
    data: Iterable[Any],
    metrics: Mapping[str, Metric | str] | Iterable[str] | None = None,
    *,
    targets: int = 1,
) -> dict[str, float]:
    """The mean loss, and scikit-learn's scores, over a set of data.

    Parameters
    ----------
    model : Module
        Put into evaluation mode meanwhile.
    loss : callable
        ``loss(output, target)``, a mean over the batch.
    data : DataLoader, iterable of batches, or tuple of arrays
        Batches are ``(input, ..., target)``.
    metrics : dict of name to function or str, or list of str, optional
        ``f(target, prediction)``, or a name in sklearn.metrics: ``"accuracy"`` is accuracy_score.
        The prediction is the largest output's index where targets are integers.
    targets : int
        How many of a batch's last members go to the loss.

    Returns
    -------
    dict
        ``"loss"`` and the metrics.

    Raises
    ------
    ValueError
        If there are no batches, or a metric is unknown.

    Examples
    --------
    >>> import numpy as np
    >>> import pyfast as pf
    >>> model = pf.nn.Linear(2, 3)
    >>> x, y = np.zeros((4, 2), np.float32), np.zeros(4, np.int64)
    >>> sorted(pf.training.evaluate(model, pf.ops.cross_entropy, (x, y), ["accuracy"]))
    ['accuracy', 'loss']
    """
    functions = named_metrics(metrics)
    loader = as_loader(data, 256)
    total, count = 0.0, 0
    wanted: list[Array] = []
    got: list[Array] = []
    with evaluation(model):
        for batch in loader:
            inputs, aims = split_batch(batch, targets)
            output = forward(model, inputs)
            size = len(np.asarray(aims[0]))
            total += float(loss(output, *aims)) * size
            count += size
            if functions:
                wanted.append(np.asarray(aims[0]))
                got.append(predictions(output.data, wanted[-1]))
    if not count:
        raise ValueError("evaluate: data must not be empty")
    scores = {"loss": total / count}
    for name, function in functions.items():
        scores[name] = float(function(np.concatenate(wanted), np.concatenate(got)))
    return scores


@contextmanager
def evaluation(model: Module) -> Iterator[None]:
    """Evaluation mode without gradients; each module goes back to the mode it was in."""
    modes = [(module, module.training) for module in model.modules()]
    model.eval()
    try:
        with no_grad():
            yield
    finally:
        for module, mode in modes:
            object.__setattr__(module, "training", mode)


def forward(model: Module, inputs: Iterable[Any]) -> Tensor:
    """The model's output; floating inputs are wrapped as Tensors."""
    output = model(*(Tensor(x) if getattr(x, "dtype", None) in _FLOATS else x for x in inputs))
    return output if isinstance(output, Tensor) else Tensor(output)


_FLOATS = (np.dtype(np.float32), np.dtype(np.float64))


def split_batch(batch: Any, targets: int) -> tuple[tuple[Any, ...], tuple[Any, ...]]:
    """What goes into the model, and what goes to the loss."""
    if not isinstance(batch, tuple | list) or len(batch) <= targets:
        raise ValueError(
            f"a batch must be a tuple of inputs and then {targets} for the loss, "
            f"got {type(batch).__name__}"
        )
    return tuple(batch[:-targets]), tuple(batch[-targets:])


def predictions(output: Array, target: Array) -> Array:
    """The most probable class where the targets are class numbers, else the output itself."""
    if target.dtype.kind in "iub" and output.ndim == target.ndim + 1:
        return np.asarray(output.argmax(1))
    return output


def as_loader(data: Any, batch_size: int, shuffle: bool = False) -> Any:
    """Batches: arrays are put into a DataLoader, everything else is taken as it is."""
    arrays = isinstance(data, tuple | list) and all(isinstance(a, np.ndarray) for a in data)
    if not arrays:
        return data
    seed = int(default_generator.numpy().integers(2**31)) if shuffle else 0
    return DataLoader(data, batch_size, shuffle, seed=seed)


def named_metrics(metrics: Any) -> dict[str, Metric]:
    """Functions by name, those of scikit-learn looked up."""
    if metrics is None:
        return {}
    if not isinstance(metrics, Mapping):
        metrics = {name: name for name in metrics}
    return {name: _metric(f) if isinstance(f, str) else f for name, f in metrics.items()}


def _metric(name: str) -> Metric:
    problem = missing_extra(["sklearn"], "train")
    if problem:
        raise ImportError(f"metrics: {problem}")
    import sklearn.metrics

    for candidate in (name, f"{name}_score"):
        found = getattr(sklearn.metrics, candidate, None)
        if callable(found):
            return found
    raise ValueError(f"metrics: scikit-learn has no metric {name!r}")
