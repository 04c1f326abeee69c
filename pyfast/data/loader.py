"""Batches, in an order that depends on a seed and the epoch alone."""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from ..random import default_generator
from .dataset import Dataset, TensorDataset

__all__ = ["DataLoader"]


class DataLoader:
    """Iterate over batches; each pass is one epoch.

    The order of epoch e is a permutation drawn from (seed, e) alone, so that a run can be repeated
    and, through :meth:`state_dict`, resumed in the middle of an epoch.

    Parameters
    ----------
    data : array, tuple or list of arrays, or Dataset
        Arrays of shape (N, ...), batched by one indexing operation each. A Dataset's items are
        fetched one by one and stacked.
    batch_size : int
        Items in a batch; the last one may be shorter.
    shuffle : bool
        Draw a new order every epoch.
    seed : int, optional
        Of the orders. Default: taken from the generator that ``pf.manual_seed`` seeds.
    drop_last : bool
        Leave out a last batch that is shorter.
    collate_fn : callable, optional
        From a list of a Dataset's items to a batch. Default: stack arrays, tuple by tuple.
    sampler : sequence of int, optional
        The order to use in every epoch, instead of shuffling.

    Attributes
    ----------
    epoch : int
        Number of the epoch that the next pass will be (or that a pass under way is).

    Raises
    ------
    ValueError
        If there is no data, lengths differ, `batch_size` is not positive, or `shuffle` and
        `sampler` are both given.
    IndexError
        If `sampler` has a number outside [0, N).

    Examples
    --------
    >>> import numpy as np
    >>> import pyfast as pf
    >>> loader = pf.data.DataLoader((np.arange(5), np.arange(5) ** 2), batch_size=2)
    >>> for x, y in loader:
    ...     print(x, y)
    [0 1] [0 1]
    [2 3] [4 9]
    [4] [16]
    """

    def __init__(
        self,
        data: Any,
        batch_size: int = 1,
        shuffle: bool = False,
        *,
        seed: int | None = None,
        drop_last: bool = False,
        collate_fn: Callable[[list[Any]], Any] | None = None,
        sampler: Sequence[int] | None = None,
    ) -> None:
        self.dataset, self._single = _to_dataset(data)
        self.batch_size = _positive("batch_size", batch_size)
        if shuffle and sampler is not None:
            raise ValueError("DataLoader: shuffle must be False when a sampler is given")
        if len(self.dataset) == 0:
            raise ValueError("DataLoader: data must not be empty")
        self.shuffle = shuffle
        drawn = default_generator.numpy().integers(2**63) if seed is None else seed
        self.seed = operator.index(drawn)
        if self.seed < 0:
            raise ValueError(f"DataLoader: seed must not be negative, got {seed}")
        self.drop_last = drop_last
        self.epoch = 0
        self._position = 0  # batches of this epoch that have been given out
        self._collate = collate_fn
        self._sampler = None if sampler is None else self._checked_sampler(sampler)

    def _checked_sampler(self, sampler: Sequence[int]) -> np.ndarray[Any, Any]:
        order = np.asarray(sampler, np.int64)
        n = len(self.dataset)
        if order.ndim != 1 or order.size == 0:
            raise ValueError(f"DataLoader: sampler must be a list of ints, got shape {order.shape}")
        if order.min() < 0 or order.max() >= n:
            raise IndexError(f"DataLoader: sampler must hold numbers in [0, {n})")
        return order

    def __len__(self) -> int:
        """Batches of one epoch."""
        n = len(self.dataset) if self._sampler is None else len(self._sampler)
        return n // self.batch_size if self.drop_last else -(-n // self.batch_size)

    def order(self, epoch: int) -> np.ndarray[Any, Any]:
        """The numbers of an epoch's items, in order.

        Parameters
        ----------
        epoch : int

        Returns
        -------
        array of shape (N,), int64
        """
        if self._sampler is not None:
            return self._sampler
        n = len(self.dataset)
        if not self.shuffle:
            return np.arange(n)
        return np.random.default_rng([self.seed, epoch]).permutation(n)

    def __iter__(self) -> Iterator[Any]:
        """One epoch, from where :meth:`load_state_dict` has put it, else from its beginning."""
        order = self.order(self.epoch)
        start, self._position = self._position, 0
        for batch in range(start, len(self)):
            at = batch * self.batch_size
            self._position = batch + 1
            yield self._fetch(order[at : at + self.batch_size])
        self.epoch += 1
        self._position = 0

    def _fetch(self, numbers: np.ndarray[Any, Any]) -> Any:
        if isinstance(self.dataset, TensorDataset) and self._collate is None:
            batch = self.dataset[numbers]
            return batch[0] if self._single else batch
        items = [self.dataset[int(i)] for i in numbers]
        return self._collate(items) if self._collate else _stack(items)

    def state_dict(self) -> dict[str, int]:
        """Where the loader is, to resume there.

        Returns
        -------
        dict
            seed, epoch, and the position: batches given out in this epoch.
        """
        return {"seed": self.seed, "epoch": self.epoch, "position": self._position}

    def load_state_dict(self, state: dict[str, int]) -> None:
        """Make the next pass continue where :meth:`state_dict` was taken.

        Parameters
        ----------
        state : dict

        Raises
        ------
        ValueError
            If the position is outside an epoch of this loader.
        """
        seed, epoch, position = (int(state[k]) for k in ("seed", "epoch", "position"))
        if seed < 0 or epoch < 0 or not 0 <= position <= len(self):
            raise ValueError(f"DataLoader: state does not belong to this loader: {state}")
        self.seed, self.epoch, self._position = seed, epoch, position


def _to_dataset(data: Any) -> tuple[Dataset, bool]:
    """The data as a dataset, and whether a batch is one array rather than a tuple."""
    if isinstance(data, tuple | list):
        return TensorDataset(*data), False
    if isinstance(data, np.ndarray) or hasattr(data, "__array__"):
        return TensorDataset(data), True
    if hasattr(data, "__len__") and hasattr(data, "__getitem__"):
        return data, False
    raise TypeError(f"DataLoader: data must be arrays or a dataset, got {type(data).__name__}")


def _positive(name: str, value: Any) -> int:
    number = operator.index(value)
    if number < 1:
        raise ValueError(f"DataLoader: {name} must be positive, got {value}")
    return number


def _stack(items: list[Any]) -> Any:
    if isinstance(items[0], tuple | list):
        return tuple(
            np.stack([np.asarray(v) for v in column]) for column in zip(*items, strict=True)
        )
    return np.stack([np.asarray(v) for v in items])
