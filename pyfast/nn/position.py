"""Where a token stands: sinusoidal, learned and rotary positions."""

from __future__ import annotations

from typing import Any

import numpy as np

from .. import ops
from .._tensor import Tensor
from ..autograd import Variable
from ..ops.heads import Rotate
from . import init
from .module import Module
from .parameter import Parameter

__all__ = ["LearnedPositionalEncoding", "RotaryPositionalEmbedding", "SinusoidalPositionalEncoding"]


def rows_at(positions: Any, length: int, limit: int, layer: str) -> Any:
    """The rows of a position table that `length` tokens need: a slice, or an array of indices.

    Parameters
    ----------
    positions : int, or integers of shape (length,) or (batch, length)
        An int is the position of the first token.
    length, limit : int
        Of the tokens, and of the table.
    layer : str
        Begins the messages.

    Returns
    -------
    slice or ndarray

    Raises
    ------
    ValueError
        If a position is negative or beyond the table, or the shape does not fit.
    TypeError
        If they are not integers.

    Examples
    --------
    >>> rows_at(2, 3, 10, "layer")
    slice(2, 5, None)
    """
    if isinstance(positions, int | np.integer):
        first, last = int(positions), int(positions) + length - 1
        rows: Any = slice(first, first + length)
    else:
        rows = positions._data if isinstance(positions, Variable) else np.asarray(positions)
        if rows.dtype.kind not in "iu":
            raise TypeError(f"{layer}: positions must be integers, got {rows.dtype}")
        if rows.ndim not in (1, 2) or rows.shape[-1] != length:
            raise ValueError(
                f"{layer}: positions must have shape ({length},) or (batch, {length}), "
                f"got {rows.shape}"
            )
        first, last = (int(rows.min()), int(rows.max())) if rows.size else (0, -1)
    if first < 0 or last >= limit:
        worst = first if first < 0 else last
        raise ValueError(f"{layer}: positions must be in [0, {limit}), got {worst}")
    return rows


class SinusoidalPositionalEncoding(Module):
    r"""Adds a fixed vector of sines and cosines for each position.

    .. math:: p_{t, 2i} = \sin(t / b^{2i/E}), \quad p_{t, 2i+1} = \cos(t / b^{2i/E})

    (Vaswani et al., "Attention is all you need", 2017, section 3.5.) The table is no part of the
    state.

    Parameters
    ----------
    embedding_dim : int
        E, even.
    max_positions : int
        Rows of the table.
    base : float
        b in the formula.
    dtype : dtype

    Raises
    ------
    ValueError
        If `embedding_dim` is odd or a size is not positive.

    Examples
    --------
    >>> import numpy as np
    >>> from pyfast import nn
    >>> position = nn.SinusoidalPositionalEncoding(4, max_positions=10)
    >>> position(np.zeros((1, 2, 4), np.float32)).numpy().round(2)
    array([[[0.  , 1.  , 0.  , 1.  ],
            [0.84, 0.54, 0.01, 1.  ]]], dtype=float32)
    """

    table: Tensor

    def __init__(
        self,
        embedding_dim: int,
        max_positions: int = 5000,
        base: float = 10000.0,
        dtype: Any = np.float32,
    ) -> None:
        super().__init__()
        _check_sizes(type(self).__name__, "embedding_dim", embedding_dim, max_positions)
        self.embedding_dim = embedding_dim
        self.max_positions = max_positions
        self.base = base
        angles = _angles(embedding_dim, max_positions, base)
        table = np.stack([np.sin(angles), np.cos(angles)], -1).reshape(max_positions, embedding_dim)
        self.register_buffer("table", table.astype(dtype), persistent=False)

    def forward(self, input: Any, positions: Any = 0) -> Any:
        """Add the positions.

        Parameters
        ----------
        input : array of shape (..., length, embedding_dim)
        positions : int, or integers of shape (length,) or (batch, length)
            Of the first token, or of each. Default: 0, 1, 2, ...

        Returns
        -------
        Tensor of the shape of `input`

        Raises
        ------
        ValueError
            If a position is beyond the table.
        """
        rows = rows_at(positions, input.shape[-2], self.max_positions, type(self).__name__)
        return _tensor(input) + self.table.data[rows]

    def extra_repr(self) -> str:
        """The table's size."""
        return f"{self.embedding_dim}, max_positions={self.max_positions}"


class LearnedPositionalEncoding(Module):
    """Adds a learned vector for each position (Gehring et al., ICML 2017, section 3.1).

    Parameters
    ----------
    embedding_dim : int
    max_positions : int
        Rows of the table.
    dtype : dtype

    Attributes
    ----------
    weight : Parameter of shape (max_positions, embedding_dim)
        Starts normal with standard deviation 0.02, as in BERT and GPT-2.

    Raises
    ------
    ValueError
        If a size is not positive.

    Examples
    --------
    >>> import numpy as np
    >>> from pyfast import nn
    >>> nn.LearnedPositionalEncoding(4, max_positions=10)(np.zeros((1, 3, 4), np.float32)).shape
    (1, 3, 4)
    """

    def __init__(
        self, embedding_dim: int, max_positions: int = 512, dtype: Any = np.float32
    ) -> None:
        super().__init__()
        for name, size in (("embedding_dim", embedding_dim), ("max_positions", max_positions)):
            if size <= 0:
                raise ValueError(f"{type(self).__name__}: {name} must be positive, got {size}")
        self.embedding_dim = embedding_dim
        self.max_positions = max_positions
        self.weight = Parameter(np.empty((max_positions, embedding_dim), dtype))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw the table anew."""
        init.normal_(self.weight, std=0.02)

    def forward(self, input: Any, positions: Any = 0) -> Any:
        """Add the positions.

        Parameters
        ----------
        input : array of shape (..., length, embedding_dim)
        positions : int, or integers of shape (length,) or (batch, length)
            Of the first token, or of each. Default: 0, 1, 2, ...

        Returns
        -------
        Tensor of the shape of `input`

        Raises
        ------
        ValueError
            If a position is beyond the table.
        """
        rows = rows_at(positions, input.shape[-2], self.max_positions, type(self).__name__)
        if isinstance(rows, slice):
            return _tensor(input) + self.weight[rows]
        return _tensor(input) + ops.embedding(rows, self.weight)

    def extra_repr(self) -> str:
        """The table's size."""
        return f"{self.embedding_dim}, max_positions={self.max_positions}"


class RotaryPositionalEmbedding(Module):
    r"""Turns queries and keys by angles that grow with their positions.

    Features i and i + D/2 of each head are turned by :math:`t\,b^{-2i/D}` at position t, so that
    their product depends on the distance alone (Su et al., "RoFormer", 2021, section 3.2).

    Parameters
    ----------
    head_dim : int
        D, even.
    max_positions : int
        Rows of the table of angles, which is no part of the state.
    base : float
        b in the formula.
    interleaved : bool
        Turn neighbours 2i and 2i + 1, as the paper writes it; the default is how Llama's weights
        are laid out.
    dtype : dtype

    Raises
    ------
    ValueError
        If `head_dim` is odd or a size is not positive.

    Examples
    --------
    >>> import numpy as np
    >>> from pyfast import nn
    >>> turn = nn.RotaryPositionalEmbedding(2, max_positions=4)
    >>> turn(np.array([[[1.0, 0.0], [1.0, 0.0]]], np.float32)).numpy().round(2)
    array([[[1.  , 0.  ],
            [0.54, 0.84]]], dtype=float32)
    """

    cos: Tensor
    sin: Tensor

    def __init__(
        self,
        head_dim: int,
        max_positions: int = 2048,
        base: float = 10000.0,
        interleaved: bool = False,
        dtype: Any = np.float32,
    ) -> None:
        super().__init__()
        _check_sizes(type(self).__name__, "head_dim", head_dim, max_positions)
        self.head_dim = head_dim
        self.max_positions = max_positions
        self.base = base
        self.interleaved = interleaved
        angles = _angles(head_dim, max_positions, base)
        self.register_buffer("cos", np.cos(angles).astype(dtype), persistent=False)
        self.register_buffer("sin", np.sin(angles).astype(dtype), persistent=False)

    def forward(self, input: Any, positions: Any = 0) -> Any:
        """Turn queries or keys.

        Parameters
        ----------
        input : array of shape (..., heads, length, head_dim) or (..., length, head_dim)
        positions : int, or integers of shape (length,) or (batch, length)
            Of the first token, or of each. Default: 0, 1, 2, ... With a batch axis, `input` must
            have a head axis.

        Returns
        -------
        Tensor of the shape of `input`

        Raises
        ------
        ValueError
            If a position is beyond the table, or the last axis is not `head_dim`.
        """
        name = type(self).__name__
        if input.shape[-1] != self.head_dim:
            raise ValueError(f"{name}: input must end in {self.head_dim}, got shape {input.shape}")
        rows = rows_at(positions, input.shape[-2], self.max_positions, name)
        cos, sin = self.cos.data[rows], self.sin.data[rows]
        if cos.ndim == 3:  # one row of positions per sequence, the same for its heads
            cos, sin = cos[:, None], sin[:, None]
        return Rotate.apply(_tensor(input), cos, sin, self.interleaved)

    def extra_repr(self) -> str:
        """The settings."""
        text = f"{self.head_dim}, max_positions={self.max_positions}, base={self.base}"
        return text + (", interleaved=True" if self.interleaved else "")


def _check_sizes(layer: str, name: str, width: int, max_positions: int) -> None:
    if width <= 0 or width % 2:
        raise ValueError(f"{layer}: {name} must be positive and even, got {width}")
    if max_positions <= 0:
        raise ValueError(f"{layer}: max_positions must be positive, got {max_positions}")


def _angles(width: int, positions: int, base: float) -> Any:
    """Position t times b^(-2i/width), in float64: (positions, width / 2)."""
    return np.outer(np.arange(positions), base ** (-np.arange(0, width, 2) / width))


def _tensor(value: Any) -> Any:
    return value if isinstance(value, Tensor) else Tensor(value)
