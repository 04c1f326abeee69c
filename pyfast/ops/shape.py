"""Views, indexing, joining and cutting of Tensors, on NumPy."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

import numpy as np

from ..autograd import Function, Variable, as_data, sum_to

__all__ = ["cat", "chunk", "split", "stack"]


class Reshape(Function):
    """The same elements in another shape."""

    @staticmethod
    def forward(ctx: Any, x: Any, shape: tuple[int, ...]) -> Any:
        """A view where strides allow, else a copy."""
        ctx.shape = x.shape
        return x.reshape(shape)

    @staticmethod
    def backward(ctx: Any, grad: Any) -> Any:
        """Shaped back."""
        return grad.reshape(ctx.shape), None


class Permute(Function):
    """Axes in another order."""

    @staticmethod
    def forward(ctx: Any, x: Any, axes: tuple[int, ...]) -> Any:
        """A view."""
        ctx.axes = axes
        return np.transpose(x, axes)

    @staticmethod
    def backward(ctx: Any, grad: Any) -> Any:
        """Axes back in place."""
        order = [a % grad.ndim for a in ctx.axes]
        return np.transpose(grad, tuple(np.argsort(order).tolist())), None


class Broadcast(Function):
    """Stretched to a larger shape."""

    @staticmethod
    def forward(ctx: Any, x: Any, shape: tuple[int, ...]) -> Any:
        """A read-only view with strides of 0."""
        ctx.shape = x.shape
        return np.broadcast_to(x, shape)

    @staticmethod
    def backward(ctx: Any, grad: Any) -> Any:
        """Summed over what was stretched."""
        return sum_to(grad, ctx.shape), None


class Tile(Function):
    """Repeated along axes."""

    @staticmethod
    def forward(ctx: Any, x: Any, repeats: tuple[int, ...]) -> Any:
        """`repeats` has at least as many entries as `x` has axes."""
        ctx.how = x.shape, repeats
        return np.tile(x, repeats)

    @staticmethod
    def backward(ctx: Any, grad: Any) -> Any:
        """Summed over the repeats."""
        shape, repeats = ctx.how
        full = (1,) * (len(repeats) - len(shape)) + shape
        apart = [n for pair in zip(repeats, full, strict=True) for n in pair]
        total = grad.reshape(apart).sum(axis=tuple(range(0, 2 * len(full), 2)))
        return total.reshape(shape), None


class Cast(Function):
    """Another dtype."""

    @staticmethod
    def forward(ctx: Any, x: Any, dtype: Any) -> Any:
        """A copy."""
        return x.astype(dtype)

    @staticmethod
    def backward(ctx: Any, grad: Any) -> Any:
        """The tape casts gradients to the dtype of their tensor."""
        return grad, None


class Clone(Function):
    """A C-contiguous copy."""

    @staticmethod
    def forward(ctx: Any, x: Any) -> Any:
        """The copy."""
        return x.copy(order="C")

    @staticmethod
    def backward(ctx: Any, grad: Any) -> Any:
        """Passed on."""
        return grad


def _selects_once(index: Any) -> bool:
    """Whether no element can be chosen twice: slices, ints and boolean masks only."""
    parts = index if isinstance(index, tuple) else (index,)
    return all(
        p is None
        or p is Ellipsis
        or isinstance(p, int | slice | np.integer)
        or (isinstance(p, np.ndarray) and p.dtype == bool)
        for p in parts
    )


def plain_index(index: Any) -> Any:
    """An index with Tensors in it replaced by their arrays.

    Parameters
    ----------
    index : whatever stands between the brackets

    Returns
    -------
    what NumPy takes
    """
    if isinstance(index, Variable):
        return index._data
    if isinstance(index, tuple | list):
        return type(index)([plain_index(i) for i in index])
    return index


class GetItem(Function):
    """Everything NumPy allows between brackets."""

    @staticmethod
    def forward(ctx: Any, x: Any, index: Any) -> Any:
        """A view for slices and ints, else a copy."""
        ctx.how = x.shape, index
        return x[index]

    @staticmethod
    def backward(ctx: Any, grad: Any) -> Any:
        """Put back among zeros; added up where an element was chosen more than once."""
        shape, index = ctx.how
        full = np.zeros_like(grad, order="C", shape=shape)
        if _selects_once(index):
            full[index] = grad
        else:
            np.add.at(full, index, grad)
        return full, None


class Cat(Function):
    """Joined along an axis."""

    @staticmethod
    def forward(ctx: Any, axis: int, *arrays: Any) -> Any:
        """The joined array."""
        ctx.axis = axis
        ctx.ends = np.cumsum([a.shape[axis] for a in arrays if a.ndim])[:-1].tolist()
        return np.concatenate(arrays, axis=axis)

    @staticmethod
    def backward(ctx: Any, grad: Any) -> Any:
        """Cut apart again."""
        return (None, *np.split(grad, ctx.ends, axis=ctx.axis))


class Stack(Function):
    """Joined along a new axis."""

    @staticmethod
    def forward(ctx: Any, axis: int, *arrays: Any) -> Any:
        """The stacked array."""
        ctx.axis = axis
        return np.stack(arrays, axis=axis)

    @staticmethod
    def backward(ctx: Any, grad: Any) -> Any:
        """Taken apart again."""
        return (None, *np.moveaxis(grad, ctx.axis, 0))


def _join(function: type[Function], tensors: Sequence[Any], dim: int) -> Any:
    values = [t if isinstance(t, Variable) else as_data(t) for t in tensors]
    if any(isinstance(v, Variable) for v in values):
        return function.apply(dim, *values)
    return function.run(dim, *values)


def cat(tensors: Sequence[Any], dim: int = 0) -> Any:
    """Join tensors along an axis they have.

    Parameters
    ----------
    tensors : sequence of Tensors or arrays
        Of the same shape but for axis `dim`.
    dim : int

    Returns
    -------
    Tensor or array
        A Tensor when any of them is one.

    Raises
    ------
    ValueError
        If the shapes do not fit or there is nothing to join.

    Examples
    --------
    >>> import numpy as np
    >>> cat([np.zeros((1, 2)), np.ones((1, 2))])
    array([[0., 0.],
           [1., 1.]])
    """
    return _join(Cat, tensors, dim)


def stack(tensors: Sequence[Any], dim: int = 0) -> Any:
    """Join tensors of one shape along a new axis.

    Parameters
    ----------
    tensors : sequence of Tensors or arrays of the same shape
    dim : int
        Where the new axis stands in the result.

    Returns
    -------
    Tensor or array
        A Tensor when any of them is one.

    Raises
    ------
    ValueError
        If the shapes differ or there is nothing to stack.

    Examples
    --------
    >>> import numpy as np
    >>> stack([np.zeros(2), np.ones(2)], dim=1)
    array([[0., 1.],
           [0., 1.]])
    """
    return _join(Stack, tensors, dim)


def split(
    tensor: Any, split_size_or_sections: int | Sequence[int], dim: int = 0
) -> tuple[Any, ...]:
    """Cut a tensor along an axis into views.

    Parameters
    ----------
    tensor : Tensor or array
    split_size_or_sections : int or sequence of int
        Length of each piece (the last may be shorter), or all lengths.
    dim : int

    Returns
    -------
    tuple of Tensors or arrays

    Raises
    ------
    ValueError
        If a length is not positive or the lengths do not add up.

    Examples
    --------
    >>> import numpy as np
    >>> [len(piece) for piece in split(np.arange(5), 2)]
    [2, 2, 1]
    """
    n = tensor.shape[dim]
    if isinstance(split_size_or_sections, int):
        size = split_size_or_sections
        if size <= 0:
            raise ValueError(f"split: split_size must be positive, got {size}")
        sections = [min(size, n - i) for i in range(0, n, size)] or [0]
    else:
        sections = list(split_size_or_sections)
        if sum(sections) != n or min(sections, default=0) < 0:
            raise ValueError(f"split: sections must add up to {n}, got {sections}")
    before = (slice(None),) * (dim % tensor.ndim)
    starts = np.cumsum([0, *sections]).tolist()
    return tuple([tensor[(*before, slice(a, b))] for a, b in itertools.pairwise(starts)])


def chunk(input: Any, chunks: int, dim: int = 0) -> tuple[Any, ...]:
    """Cut a tensor along an axis into at most `chunks` pieces of equal length but for the last.

    Parameters
    ----------
    input : Tensor or array
    chunks : int
    dim : int

    Returns
    -------
    tuple of Tensors or arrays

    Raises
    ------
    ValueError
        If `chunks` is not positive.

    Examples
    --------
    >>> import numpy as np
    >>> [len(piece) for piece in chunk(np.arange(5), 3)]
    [2, 2, 1]
    """
    if chunks <= 0:
        raise ValueError(f"chunk: chunks must be positive, got {chunks}")
    return split(input, max(1, -(-input.shape[dim] // chunks)), dim)


class Move(Function):
    """The same values on another device."""

    @staticmethod
    def forward(ctx: Any, x: Any, device: str) -> Any:
        """A copy there."""
        from ..cuda.frameworks import device_of, move

        ctx.device = device_of(x)
        return move(x, device)

    @staticmethod
    def backward(ctx: Any, grad: Any) -> Any:
        """The gradient goes back to where the input lies."""
        from ..cuda.frameworks import move

        return move(grad, ctx.device), None
