"""Initialisers: they fill a tensor in place, without the tape, and return it."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from .._tensor import Tensor
from ..random import Generator, default_generator

__all__ = [
    "calculate_gain",
    "constant_",
    "dirac_",
    "eye_",
    "kaiming_normal_",
    "kaiming_uniform_",
    "normal_",
    "ones_",
    "orthogonal_",
    "sparse_",
    "trunc_normal_",
    "uniform_",
    "xavier_normal_",
    "xavier_uniform_",
    "zeros_",
]

_GAINS: dict[str, Callable[[float], float]] = {
    **dict.fromkeys(
        ("linear", "sigmoid", "conv1d", "conv2d", "conv_transpose1d", "conv_transpose2d"),
        lambda param: 1.0,
    ),
    "tanh": lambda param: 5 / 3,
    "relu": lambda param: math.sqrt(2),
    "leaky_relu": lambda param: math.sqrt(2 / (1 + param**2)),
    "selu": lambda param: 3 / 4,
}


def calculate_gain(nonlinearity: str, param: float | None = None) -> float:
    """The factor by which a layer's weights make up for what its nonlinearity takes away.

    Parameters
    ----------
    nonlinearity : str
        "linear", "conv1d", "conv2d", "sigmoid", "tanh", "relu", "leaky_relu", "selu", ...
    param : float, optional
        Slope of leaky_relu; 0.01 by default.

    Returns
    -------
    float

    Raises
    ------
    ValueError
        If the name is not known.

    Examples
    --------
    >>> round(calculate_gain("relu"), 4)
    1.4142
    """
    if nonlinearity not in _GAINS:
        raise ValueError(f"calculate_gain: unknown nonlinearity {nonlinearity!r}")
    return _GAINS[nonlinearity](0.01 if param is None else float(param))


def _fans(op: str, tensor: Tensor) -> tuple[int, int]:
    """Connections into and out of one unit of a weight of shape (out, in, *kernel)."""
    if tensor.ndim < 2:
        raise ValueError(f"{op}: tensor must have at least 2 dimensions, got {tensor.ndim}")
    field = math.prod(tensor.shape[2:])
    return tensor.shape[1] * field, tensor.shape[0] * field


def _fan(op: str, tensor: Tensor, mode: str) -> int:
    fans = dict(zip(("fan_in", "fan_out"), _fans(op, tensor), strict=True))
    if mode not in fans:
        raise ValueError(f"{op}: mode must be 'fan_in' or 'fan_out', got {mode!r}")
    return fans[mode]


def _source(generator: Generator | None) -> np.random.Generator:
    return (generator or default_generator).numpy()


def _fill(tensor: Tensor, values: Any) -> Tensor:
    tensor.data[...] = values
    return tensor


def uniform_(
    tensor: Tensor, a: float = 0.0, b: float = 1.0, generator: Generator | None = None
) -> Tensor:
    """Fill with uniform numbers of [a, b).

    Parameters
    ----------
    tensor : Tensor
    a, b : float
    generator : Generator, optional

    Returns
    -------
    Tensor
        `tensor`.

    Examples
    --------
    >>> import pyfast as pf
    >>> bool((uniform_(pf.empty(9), 2, 3) >= 2).all())
    True
    """
    return _fill(tensor, a + (b - a) * _source(generator).random(tensor.shape))


def normal_(
    tensor: Tensor, mean: float = 0.0, std: float = 1.0, generator: Generator | None = None
) -> Tensor:
    """Fill with normal numbers.

    Parameters
    ----------
    tensor : Tensor
    mean, std : float
    generator : Generator, optional

    Returns
    -------
    Tensor
        `tensor`.

    Examples
    --------
    >>> import pyfast as pf
    >>> normal_(pf.empty(2, 3)).shape
    (2, 3)
    """
    return _fill(tensor, mean + std * _source(generator).standard_normal(tensor.shape))


def trunc_normal_(
    tensor: Tensor,
    mean: float = 0.0,
    std: float = 1.0,
    a: float = -2.0,
    b: float = 2.0,
    generator: Generator | None = None,
) -> Tensor:
    """Fill with normal numbers, drawn again where they fall outside [a, b].

    Parameters
    ----------
    tensor : Tensor
    mean, std : float
    a, b : float
        Bounds of the values themselves, not in units of `std`.
    generator : Generator, optional

    Returns
    -------
    Tensor
        `tensor`.

    Raises
    ------
    ValueError
        If nothing, or next to nothing, of the distribution lies within the bounds.

    Examples
    --------
    >>> import pyfast as pf
    >>> bool((trunc_normal_(pf.empty(99), a=-0.5, b=0.5).abs() <= 0.5).all())
    True
    """
    low, high = (a - mean) / std, (b - mean) / std
    inside = 0.5 * (math.erf(high / math.sqrt(2)) - math.erf(low / math.sqrt(2)))
    if not inside > 1e-3:
        raise ValueError(f"trunc_normal_: [{a}, {b}] is too far from mean {mean} with std {std}")
    source = _source(generator)
    values = source.standard_normal(tensor.size)
    outside = np.flatnonzero((values < low) | (values > high))
    while outside.size:
        values[outside] = source.standard_normal(outside.size)
        redrawn = values[outside]
        outside = outside[(redrawn < low) | (redrawn > high)]
    return _fill(tensor, np.clip(mean + std * values, a, b).reshape(tensor.shape))


def constant_(tensor: Tensor, val: float) -> Tensor:
    """Fill with one value.

    Parameters
    ----------
    tensor : Tensor
    val : float

    Returns
    -------
    Tensor
        `tensor`.

    Examples
    --------
    >>> import pyfast as pf
    >>> constant_(pf.empty(2), 0.5)
    Tensor([0.5, 0.5])
    """
    return _fill(tensor, val)


def ones_(tensor: Tensor) -> Tensor:
    """Fill with ones.

    Parameters
    ----------
    tensor : Tensor

    Returns
    -------
    Tensor
        `tensor`.

    Examples
    --------
    >>> import pyfast as pf
    >>> ones_(pf.empty(2))
    Tensor([1., 1.])
    """
    return _fill(tensor, 1)


def zeros_(tensor: Tensor) -> Tensor:
    """Fill with zeros.

    Parameters
    ----------
    tensor : Tensor

    Returns
    -------
    Tensor
        `tensor`.

    Examples
    --------
    >>> import pyfast as pf
    >>> zeros_(pf.empty(2))
    Tensor([0., 0.])
    """
    return _fill(tensor, 0)


def eye_(tensor: Tensor) -> Tensor:
    """Make a matrix the identity.

    Parameters
    ----------
    tensor : Tensor of shape (n, m)

    Returns
    -------
    Tensor
        `tensor`.

    Raises
    ------
    ValueError
        If it is no matrix.

    Examples
    --------
    >>> import pyfast as pf
    >>> eye_(pf.empty(2, 2))
    Tensor([[1., 0.],
            [0., 1.]])
    """
    if tensor.ndim != 2:
        raise ValueError(f"eye_: tensor must have 2 dimensions, got {tensor.ndim}")
    return _fill(tensor, np.eye(tensor.shape[0], tensor.shape[1]))


def dirac_(tensor: Tensor, groups: int = 1) -> Tensor:
    """Make a convolution pass its input channels through.

    Parameters
    ----------
    tensor : Tensor of shape (out_channels, in_channels / groups, *kernel), 3 to 5 dimensions
    groups : int

    Returns
    -------
    Tensor
        `tensor`.

    Raises
    ------
    ValueError
        For another number of dimensions, or if `groups` does not divide out_channels.

    Examples
    --------
    >>> import pyfast as pf
    >>> dirac_(pf.empty(1, 1, 3)).tolist()
    [[[0.0, 1.0, 0.0]]]
    """
    if tensor.ndim not in (3, 4, 5):
        raise ValueError(f"dirac_: tensor must have 3, 4 or 5 dimensions, got {tensor.ndim}")
    if groups < 1 or tensor.shape[0] % groups:
        raise ValueError(f"dirac_: groups must divide {tensor.shape[0]} channels, got {groups}")
    zeros_(tensor)
    centre = tuple(n // 2 for n in tensor.shape[2:])
    per_group = tensor.shape[0] // groups
    for out in range(tensor.shape[0]):
        if out % per_group < tensor.shape[1]:
            tensor.data[(out, out % per_group, *centre)] = 1
    return tensor


def xavier_uniform_(
    tensor: Tensor, gain: float = 1.0, generator: Generator | None = None
) -> Tensor:
    """Fill with uniform numbers that keep the variance alike forwards and backwards.

    Bound ``gain * sqrt(6 / (fan_in + fan_out))`` (Glorot and Bengio, AISTATS 2010, eq. 16).

    Parameters
    ----------
    tensor : Tensor of shape (out, in, *kernel)
    gain : float
    generator : Generator, optional

    Returns
    -------
    Tensor
        `tensor`.

    Raises
    ------
    ValueError
        If it has fewer than 2 dimensions.

    Examples
    --------
    >>> import pyfast as pf
    >>> bool((xavier_uniform_(pf.empty(3, 3)).abs() <= 1).all())
    True
    """
    bound = gain * math.sqrt(6.0 / max(sum(_fans("xavier_uniform_", tensor)), 1))
    return uniform_(tensor, -bound, bound, generator)


def xavier_normal_(tensor: Tensor, gain: float = 1.0, generator: Generator | None = None) -> Tensor:
    """Fill with normal numbers that keep the variance alike forwards and backwards.

    Deviation ``gain * sqrt(2 / (fan_in + fan_out))`` (Glorot and Bengio, AISTATS 2010).

    Parameters
    ----------
    tensor : Tensor of shape (out, in, *kernel)
    gain : float
    generator : Generator, optional

    Returns
    -------
    Tensor
        `tensor`.

    Raises
    ------
    ValueError
        If it has fewer than 2 dimensions.

    Examples
    --------
    >>> import pyfast as pf
    >>> xavier_normal_(pf.empty(3, 3)).shape
    (3, 3)
    """
    std = gain * math.sqrt(2.0 / max(sum(_fans("xavier_normal_", tensor)), 1))
    return normal_(tensor, 0.0, std, generator)


def kaiming_uniform_(
    tensor: Tensor,
    a: float = 0.0,
    mode: str = "fan_in",
    nonlinearity: str = "leaky_relu",
    generator: Generator | None = None,
) -> Tensor:
    """Fill with uniform numbers that keep the variance through rectifiers.

    Bound ``gain * sqrt(3 / fan)`` (He, Zhang, Ren and Sun, ICCV 2015, section 2.2).

    Parameters
    ----------
    tensor : Tensor of shape (out, in, *kernel)
    a : float
        Slope of leaky_relu below 0.
    mode : str
        "fan_in" keeps the variance forwards, "fan_out" backwards.
    nonlinearity : str
        See :func:`calculate_gain`.
    generator : Generator, optional

    Returns
    -------
    Tensor
        `tensor`.

    Raises
    ------
    ValueError
        If it has fewer than 2 dimensions, or for an unknown mode or nonlinearity.

    Examples
    --------
    >>> import pyfast as pf
    >>> bool((kaiming_uniform_(pf.empty(3, 6)).abs() <= 1).all())
    True
    """
    fan = _fan("kaiming_uniform_", tensor, mode)
    bound = calculate_gain(nonlinearity, a) * math.sqrt(3.0 / max(fan, 1))
    return uniform_(tensor, -bound, bound, generator)


def kaiming_normal_(
    tensor: Tensor,
    a: float = 0.0,
    mode: str = "fan_in",
    nonlinearity: str = "leaky_relu",
    generator: Generator | None = None,
) -> Tensor:
    """Fill with normal numbers that keep the variance through rectifiers.

    Deviation ``gain / sqrt(fan)`` (He, Zhang, Ren and Sun, ICCV 2015, section 2.2).

    Parameters
    ----------
    tensor : Tensor of shape (out, in, *kernel)
    a : float
        Slope of leaky_relu below 0.
    mode : str
        "fan_in" keeps the variance forwards, "fan_out" backwards.
    nonlinearity : str
        See :func:`calculate_gain`.
    generator : Generator, optional

    Returns
    -------
    Tensor
        `tensor`.

    Raises
    ------
    ValueError
        If it has fewer than 2 dimensions, or for an unknown mode or nonlinearity.

    Examples
    --------
    >>> import pyfast as pf
    >>> kaiming_normal_(pf.empty(3, 6), mode="fan_out", nonlinearity="relu").shape
    (3, 6)
    """
    fan = _fan("kaiming_normal_", tensor, mode)
    std = calculate_gain(nonlinearity, a) / math.sqrt(max(fan, 1))
    return normal_(tensor, 0.0, std, generator)


def orthogonal_(tensor: Tensor, gain: float = 1.0, generator: Generator | None = None) -> Tensor:
    """Make a matrix orthogonal, trailing dimensions taken as one.

    Q of the QR decomposition of a normal matrix, its signs those of R's diagonal (Saxe, McClelland
    and Ganguli, ICLR 2014; Mezzadri, *Notices of the AMS* 54, 2007).

    Parameters
    ----------
    tensor : Tensor of shape (rows, *columns)
    gain : float
    generator : Generator, optional

    Returns
    -------
    Tensor
        `tensor`.

    Raises
    ------
    ValueError
        If it has fewer than 2 dimensions.

    Examples
    --------
    >>> import numpy as np
    >>> import pyfast as pf
    >>> q = orthogonal_(pf.empty(3, 3))
    >>> bool(np.allclose((q @ q.T).numpy(), np.eye(3), atol=1e-6))
    True
    """
    if tensor.ndim < 2:
        raise ValueError(f"orthogonal_: tensor must have at least 2 dimensions, got {tensor.ndim}")
    if tensor.size == 0:
        return tensor
    rows, columns = tensor.shape[0], tensor.size // tensor.shape[0]
    flat = _source(generator).standard_normal((max(rows, columns), min(rows, columns)))
    q, r = np.linalg.qr(flat)
    q *= np.sign(np.diag(r))
    return _fill(tensor, gain * (q if rows >= columns else q.T).reshape(tensor.shape))


def sparse_(
    tensor: Tensor, sparsity: float, std: float = 0.01, generator: Generator | None = None
) -> Tensor:
    """Fill a matrix with normal numbers, then a fraction of each column with zeros.

    Martens, ICML 2010, section 5.

    Parameters
    ----------
    tensor : Tensor of shape (n, m)
    sparsity : float
        The fraction of each column that is 0, rounded up.
    std : float
    generator : Generator, optional

    Returns
    -------
    Tensor
        `tensor`.

    Raises
    ------
    ValueError
        If it is no matrix.

    Examples
    --------
    >>> import pyfast as pf
    >>> int((sparse_(pf.empty(10, 3), 0.2) == 0).sum().item())
    6
    """
    if tensor.ndim != 2:
        raise ValueError(f"sparse_: tensor must have 2 dimensions, got {tensor.ndim}")
    source = _source(generator)
    values = std * source.standard_normal(tensor.shape)
    zeros = math.ceil(sparsity * tensor.shape[0])
    for column in range(tensor.shape[1]):
        values[source.permutation(tensor.shape[0])[:zeros], column] = 0
    return _fill(tensor, values)
