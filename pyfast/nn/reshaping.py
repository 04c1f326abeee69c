"""Layers that only move elements: Flatten, Unflatten, Unfold, Fold."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from .. import ops
from .module import Module
from .sizes import Size

__all__ = ["Flatten", "Fold", "Unflatten", "Unfold"]


class Flatten(Module):
    """Several axes made one; by default all but the first.

    Parameters
    ----------
    start_dim, end_dim : int
        The first and the last of them.

    Examples
    --------
    >>> import numpy as np
    >>> from pyfast import nn
    >>> nn.Flatten()(np.zeros((2, 3, 4))).shape
    (2, 12)
    """

    def __init__(self, start_dim: int = 1, end_dim: int = -1) -> None:
        super().__init__()
        self.start_dim = start_dim
        self.end_dim = end_dim

    def forward(self, input: Any) -> Any:
        """Flatten.

        Parameters
        ----------
        input : array

        Returns
        -------
        array
            A view where strides allow.
        """
        n = len(input.shape)
        for dim in (self.start_dim, self.end_dim):
            if not -n <= dim < n:
                raise IndexError(f"Flatten: dim must be in [{-n}, {n - 1}], got {dim}")
        first, last = self.start_dim % n, self.end_dim % n
        middle = 1
        for length in input.shape[first : last + 1]:
            middle *= length
        return input.reshape(*input.shape[:first], middle, *input.shape[last + 1 :])

    def extra_repr(self) -> str:
        """The axes."""
        return f"start_dim={self.start_dim}, end_dim={self.end_dim}"


class Unflatten(Module):
    """One axis made several.

    Parameters
    ----------
    dim : int
    unflattened_size : sequence of int
        One may be -1.

    Examples
    --------
    >>> import numpy as np
    >>> from pyfast import nn
    >>> nn.Unflatten(1, (3, 4))(np.zeros((2, 12))).shape
    (2, 3, 4)
    """

    def __init__(self, dim: int, unflattened_size: Sequence[int]) -> None:
        super().__init__()
        self.dim = dim
        self.unflattened_size = tuple(unflattened_size)

    def forward(self, input: Any) -> Any:
        """Unflatten.

        Parameters
        ----------
        input : array

        Returns
        -------
        array
            A view where strides allow.
        """
        n = len(input.shape)
        if not -n <= self.dim < n:
            raise IndexError(f"Unflatten: dim must be in [{-n}, {n - 1}], got {self.dim}")
        at = self.dim % n
        size = list(self.unflattened_size)
        if -1 in size:
            rest = 1
            for length in size:
                rest *= length
            size[size.index(-1)] = input.shape[at] // max(-rest, 1)
        return input.reshape(*input.shape[:at], *size, *input.shape[at + 1 :])

    def extra_repr(self) -> str:
        """The axis and its lengths."""
        return f"dim={self.dim}, unflattened_size={self.unflattened_size}"


class Unfold(Module):
    """Every window of an image as a column: im2col.

    Parameters
    ----------
    kernel_size, dilation, padding, stride : int or (int, int)

    Examples
    --------
    >>> import numpy as np
    >>> from pyfast import nn
    >>> nn.Unfold(2)(np.zeros((1, 3, 4, 4), np.float32)).shape
    (1, 12, 9)
    """

    def __init__(
        self, kernel_size: Size, dilation: Size = 1, padding: Size = 0, stride: Size = 1
    ) -> None:
        super().__init__()
        self.kernel_size = kernel_size
        self.dilation = dilation
        self.padding = padding
        self.stride = stride

    def forward(self, input: Any) -> Any:
        """Unfold.

        Parameters
        ----------
        input : array of shape (N, C, H, W) or (C, H, W)

        Returns
        -------
        array of shape (N, C * KH * KW, windows) or (C * KH * KW, windows)
        """
        settings = (self.kernel_size, self.dilation, self.padding, self.stride)
        return ops.unfold(input, *settings)

    def extra_repr(self) -> str:
        """The windows."""
        return (
            f"kernel_size={self.kernel_size}, dilation={self.dilation}, padding={self.padding}, "
            f"stride={self.stride}"
        )


class Fold(Module):
    """Columns added up into an image: col2im, the transpose of :class:`Unfold`.

    Parameters
    ----------
    output_size, kernel_size, dilation, padding, stride : int or (int, int)

    Examples
    --------
    >>> import numpy as np
    >>> from pyfast import nn
    >>> nn.Fold(4, 2)(np.zeros((1, 12, 9), np.float32)).shape
    (1, 3, 4, 4)
    """

    def __init__(
        self,
        output_size: Size,
        kernel_size: Size,
        dilation: Size = 1,
        padding: Size = 0,
        stride: Size = 1,
    ) -> None:
        super().__init__()
        self.output_size = output_size
        self.kernel_size = kernel_size
        self.dilation = dilation
        self.padding = padding
        self.stride = stride

    def forward(self, input: Any) -> Any:
        """Fold.

        Parameters
        ----------
        input : array of shape (N, C * KH * KW, windows) or (C * KH * KW, windows)

        Returns
        -------
        array of shape (N, C, *output_size) or (C, *output_size)
        """
        settings = (self.kernel_size, self.dilation, self.padding, self.stride)
        return ops.fold(input, self.output_size, *settings)

    def extra_repr(self) -> str:
        """The image and the windows."""
        return (
            f"output_size={self.output_size}, kernel_size={self.kernel_size}, "
            f"dilation={self.dilation}, padding={self.padding}, stride={self.stride}"
        )
