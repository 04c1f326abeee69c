"""New tensors: from data, of one value, in steps, random.

Made from nothing they are float32, PyTorch's default; from data they take NumPy's dtype.
"""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any

import numpy as np

from ._tensor import Tensor
from .autograd import Variable
from .random import Generator, default_generator

__all__ = [
    "arange",
    "as_tensor",
    "empty",
    "eye",
    "from_dlpack",
    "from_numpy",
    "full",
    "full_like",
    "linspace",
    "ones",
    "ones_like",
    "rand",
    "rand_like",
    "randint",
    "randn",
    "randn_like",
    "randperm",
    "tensor",
    "zeros",
    "zeros_like",
]


def _shape(size: tuple[Any, ...]) -> tuple[int, ...]:
    """``zeros(2, 3)`` and ``zeros((2, 3))`` alike."""
    if len(size) == 1 and isinstance(size[0], tuple | list):
        size = tuple(size[0])
    return tuple([operator.index(n) for n in size])


def tensor(data: Any, dtype: Any = None, requires_grad: bool = False) -> Tensor:
    """Copy data into a new tensor.

    Parameters
    ----------
    data : array, Tensor, nested list or scalar
        Python floats give float64, as in NumPy.
    dtype : dtype, optional
    requires_grad : bool

    Returns
    -------
    Tensor

    Examples
    --------
    >>> tensor([[1, 2], [3, 4]], dtype="float32")
    Tensor([[1., 2.],
            [3., 4.]])
    """
    value = data._data if isinstance(data, Variable) else data
    return Tensor(np.array(value, dtype, order="C"), requires_grad)


def as_tensor(data: Any, dtype: Any = None) -> Tensor:
    """See data as a tensor, copied only where it must be.

    Parameters
    ----------
    data : array, Tensor, nested list or scalar
    dtype : dtype, optional

    Returns
    -------
    Tensor
        `data` itself when it is a Tensor of that dtype.

    Examples
    --------
    >>> import numpy as np
    >>> x = np.zeros(2)
    >>> as_tensor(x).numpy() is x
    True
    """
    if isinstance(data, Tensor):
        return data if dtype is None else data.astype(dtype)
    return Tensor(data, dtype=dtype)


def from_numpy(array: Any) -> Tensor:
    """See an ndarray as a tensor that shares its memory.

    Parameters
    ----------
    array : ndarray

    Returns
    -------
    Tensor

    Raises
    ------
    TypeError
        If `array` is no ndarray.

    Examples
    --------
    >>> import numpy as np
    >>> from_numpy(np.zeros(2, np.float32))
    Tensor([0., 0.])
    """
    if not isinstance(array, np.ndarray):
        raise TypeError(f"from_numpy: array must be an ndarray, got {type(array).__name__}")
    return Tensor(array)


def from_dlpack(array: Any) -> Tensor:
    """See another library's array on the CPU as a tensor that shares its memory.

    Parameters
    ----------
    array : object with ``__dlpack__``

    Returns
    -------
    Tensor

    Examples
    --------
    >>> import numpy as np
    >>> from_dlpack(np.zeros(2, np.float32))
    Tensor([0., 0.])
    """
    return Tensor(np.from_dlpack(array))


def _filled(make: Callable[..., Any], size: Any, dtype: Any, requires_grad: bool) -> Tensor:
    return Tensor(make(_shape(size), dtype=dtype), requires_grad)


def zeros(*size: Any, dtype: Any = np.float32, requires_grad: bool = False) -> Tensor:
    """A tensor of zeros.

    Parameters
    ----------
    *size : int, or one tuple of int
    dtype : dtype
    requires_grad : bool

    Returns
    -------
    Tensor of shape `size`

    Examples
    --------
    >>> zeros(2)
    Tensor([0., 0.])
    """
    return _filled(np.zeros, size, dtype, requires_grad)


def ones(*size: Any, dtype: Any = np.float32, requires_grad: bool = False) -> Tensor:
    """A tensor of ones.

    Parameters
    ----------
    *size : int, or one tuple of int
    dtype : dtype
    requires_grad : bool

    Returns
    -------
    Tensor of shape `size`

    Examples
    --------
    >>> ones(2)
    Tensor([1., 1.])
    """
    return _filled(np.ones, size, dtype, requires_grad)


def empty(*size: Any, dtype: Any = np.float32, requires_grad: bool = False) -> Tensor:
    """A tensor whose values are not set.

    Parameters
    ----------
    *size : int, or one tuple of int
    dtype : dtype
    requires_grad : bool

    Returns
    -------
    Tensor of shape `size`

    Examples
    --------
    >>> empty(2, 3).shape
    (2, 3)
    """
    return _filled(np.empty, size, dtype, requires_grad)


def full(size: Any, fill_value: Any, dtype: Any = None, requires_grad: bool = False) -> Tensor:
    """A tensor of one value.

    Parameters
    ----------
    size : int or tuple of int
    fill_value : number
    dtype : dtype, optional
        Default: float32 for a Python float, else NumPy's choice.
    requires_grad : bool

    Returns
    -------
    Tensor of shape `size`

    Examples
    --------
    >>> full((2,), 0.5)
    Tensor([0.5, 0.5])
    """
    if dtype is None and isinstance(fill_value, float):
        dtype = np.float32
    shape = _shape(tuple(size) if isinstance(size, tuple | list) else (size,))
    return Tensor(np.full(shape, fill_value, dtype), requires_grad)


def zeros_like(input: Any, dtype: Any = None) -> Tensor:
    """Zeros of the shape and dtype of another.

    Parameters
    ----------
    input : Tensor or array
    dtype : dtype, optional

    Returns
    -------
    Tensor

    Examples
    --------
    >>> zeros_like(ones(2))
    Tensor([0., 0.])
    """
    return Tensor(np.zeros(input.shape, dtype or input.dtype))


def ones_like(input: Any, dtype: Any = None) -> Tensor:
    """Ones of the shape and dtype of another.

    Parameters
    ----------
    input : Tensor or array
    dtype : dtype, optional

    Returns
    -------
    Tensor

    Examples
    --------
    >>> ones_like(zeros(2))
    Tensor([1., 1.])
    """
    return Tensor(np.ones(input.shape, dtype or input.dtype))


def full_like(input: Any, fill_value: Any, dtype: Any = None) -> Tensor:
    """One value in the shape and dtype of another.

    Parameters
    ----------
    input : Tensor or array
    fill_value : number
    dtype : dtype, optional

    Returns
    -------
    Tensor

    Examples
    --------
    >>> full_like(zeros(2), 3)
    Tensor([3., 3.])
    """
    return Tensor(np.full(input.shape, fill_value, dtype or input.dtype))


def arange(start: Any, end: Any = None, step: Any = 1, dtype: Any = None) -> Tensor:
    """Numbers from `start` up to but without `end`.

    Parameters
    ----------
    start, end, step : number
        With one argument only, from 0 up to it.
    dtype : dtype, optional
        Default: int64, or float32 where any of the three is a float.

    Returns
    -------
    Tensor of shape (n,)

    Examples
    --------
    >>> arange(3).tolist(), arange(0, 1, 0.5)
    ([0, 1, 2], Tensor([0. , 0.5]))
    """
    if end is None:
        start, end = 0, start
    if dtype is None:
        whole = all(isinstance(v, int | np.integer) for v in (start, end, step))
        dtype = np.int64 if whole else np.float32
    return Tensor(np.arange(start, end, step).astype(dtype))


def linspace(start: float, end: float, steps: int, dtype: Any = np.float32) -> Tensor:
    """Numbers at equal distances, both ends included.

    Parameters
    ----------
    start, end : float
    steps : int
    dtype : dtype

    Returns
    -------
    Tensor of shape (steps,)

    Examples
    --------
    >>> linspace(0, 1, 3)
    Tensor([0. , 0.5, 1. ])
    """
    return Tensor(np.linspace(start, end, steps, dtype=dtype))


def eye(n: int, m: int | None = None, dtype: Any = np.float32) -> Tensor:
    """Ones on the diagonal.

    Parameters
    ----------
    n, m : int
        Rows and columns; square when `m` is left out.
    dtype : dtype

    Returns
    -------
    Tensor of shape (n, m)

    Examples
    --------
    >>> eye(2)
    Tensor([[1., 0.],
            [0., 1.]])
    """
    return Tensor(np.eye(n, m, dtype=dtype))


def _source(generator: Generator | None) -> np.random.Generator:
    return (generator or default_generator).numpy()


def _check_random(name: str, dtype: Any) -> None:
    if np.dtype(dtype) not in (np.float32, np.float64):
        raise TypeError(f"{name}: dtype must be float32 or float64, got {np.dtype(dtype)}")


def rand(
    *size: Any,
    generator: Generator | None = None,
    dtype: Any = np.float32,
    requires_grad: bool = False,
) -> Tensor:
    """Uniform numbers in [0, 1).

    Parameters
    ----------
    *size : int, or one tuple of int
    generator : Generator, optional
        Default: the one :func:`pyfast.manual_seed` seeds.
    dtype : dtype
        float32 or float64.
    requires_grad : bool

    Returns
    -------
    Tensor of shape `size`

    Raises
    ------
    TypeError
        For another dtype.

    Examples
    --------
    >>> rand(2, 3).shape
    (2, 3)
    """
    _check_random("rand", dtype)
    return Tensor(np.asarray(_source(generator).random(_shape(size), dtype)), requires_grad)


def randn(
    *size: Any,
    generator: Generator | None = None,
    dtype: Any = np.float32,
    requires_grad: bool = False,
) -> Tensor:
    """Normal numbers of mean 0 and variance 1.

    Parameters
    ----------
    *size : int, or one tuple of int
    generator : Generator, optional
        Default: the one :func:`pyfast.manual_seed` seeds.
    dtype : dtype
        float32 or float64.
    requires_grad : bool

    Returns
    -------
    Tensor of shape `size`

    Raises
    ------
    TypeError
        For another dtype.

    Examples
    --------
    >>> randn(2, 3).shape
    (2, 3)
    """
    _check_random("randn", dtype)
    values = _source(generator).standard_normal(_shape(size), dtype)
    return Tensor(np.asarray(values), requires_grad)


def rand_like(input: Any) -> Tensor:
    """Uniform numbers in [0, 1) in the shape and dtype of another; see :func:`rand`.

    Parameters
    ----------
    input : Tensor or array

    Returns
    -------
    Tensor

    Examples
    --------
    >>> rand_like(zeros(2)).shape
    (2,)
    """
    return rand(input.shape, dtype=input.dtype)


def randn_like(input: Any) -> Tensor:
    """Normal numbers in the shape and dtype of another; see :func:`randn`.

    Parameters
    ----------
    input : Tensor or array

    Returns
    -------
    Tensor

    Examples
    --------
    >>> randn_like(zeros(2)).shape
    (2,)
    """
    return randn(input.shape, dtype=input.dtype)


def randint(low: int, high: int, size: Any, generator: Generator | None = None) -> Tensor:
    """Whole numbers, each of [low, high) as likely.

    Parameters
    ----------
    low, high : int
    size : int or tuple of int
    generator : Generator, optional

    Returns
    -------
    Tensor of shape `size`, int64

    Examples
    --------
    >>> randint(0, 10, (2,)).dtype
    dtype('int64')
    """
    return Tensor(_source(generator).integers(low, high, size))


def randperm(n: int, generator: Generator | None = None) -> Tensor:
    """The numbers 0 to n-1 in random order.

    Parameters
    ----------
    n : int
    generator : Generator, optional

    Returns
    -------
    Tensor of shape (n,), int64

    Examples
    --------
    >>> sorted(randperm(3).tolist())
    [0, 1, 2]
    """
    return Tensor(_source(generator).permutation(n).astype(np.int64))
