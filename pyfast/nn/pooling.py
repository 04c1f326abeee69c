"""Pooling layers: windows or a fixed output size; maximum or mean."""

from __future__ import annotations

from typing import Any, ClassVar

from .. import ops
from .module import Module
from .sizes import to_tuple

__all__ = [
    "AdaptiveAvgPool1d",
    "AdaptiveAvgPool2d",
    "AdaptiveMaxPool1d",
    "AdaptiveMaxPool2d",
    "AvgPool1d",
    "AvgPool2d",
    "MaxPool1d",
    "MaxPool2d",
]


class _MaxPool(Module):
    _op: ClassVar[str]

    def __init__(
        self,
        kernel_size: Any,
        stride: Any = None,
        padding: Any = 0,
        dilation: Any = 1,
        return_indices: bool = False,
        ceil_mode: bool = False,
    ) -> None:
        super().__init__()
        self.kernel_size = kernel_size
        self.stride = kernel_size if stride is None else stride
        self.padding = padding
        self.dilation = dilation
        self.return_indices = return_indices
        self.ceil_mode = ceil_mode

    def forward(self, input: Any) -> Any:
        """Take the maximum of each window.

        Parameters
        ----------
        input : array of shape (N, C, *spatial) or (C, *spatial)

        Returns
        -------
        array, or (array, indices) with `return_indices`
        """
        return getattr(ops, self._op)(
            input,
            self.kernel_size,
            self.stride,
            self.padding,
            self.dilation,
            ceil_mode=self.ceil_mode,
            return_indices=self.return_indices,
        )

    def extra_repr(self) -> str:
        """The layer's settings."""
        return (
            f"kernel_size={self.kernel_size}, stride={self.stride}, padding={self.padding}, "
            f"dilation={self.dilation}, ceil_mode={self.ceil_mode}"
        )


class MaxPool1d(_MaxPool):
    """Maximum over windows of one axis.

    Parameters
    ----------
    kernel_size, stride, padding, dilation : int
        `stride` is `kernel_size` by default.
    return_indices : bool
        Also return where each maximum stood.
    ceil_mode : bool
        Let the last window hang over the edge.

    Examples
    --------
    >>> import numpy as np
    >>> from pyfast import nn
    >>> nn.MaxPool1d(2)(np.zeros((1, 3, 8), np.float32)).shape
    (1, 3, 4)
    """

    _op = "max_pool1d"


class MaxPool2d(_MaxPool):
    """Maximum over windows of two axes.

    Parameters
    ----------
    kernel_size, stride, padding, dilation : int or (int, int)
        `stride` is `kernel_size` by default.
    return_indices : bool
        Also return where each maximum stood.
    ceil_mode : bool
        Let the last window hang over the edge.

    Examples
    --------
    >>> import numpy as np
    >>> from pyfast import nn
    >>> nn.MaxPool2d(2)(np.zeros((1, 3, 8, 8), np.float32)).shape
    (1, 3, 4, 4)
    """

    _op = "max_pool2d"


class AvgPool1d(Module):
    """Mean over windows of one axis.

    Parameters
    ----------
    kernel_size, stride, padding : int
        `stride` is `kernel_size` by default.
    ceil_mode : bool
        Let the last window hang over the edge.
    count_include_pad : bool
        Whether padding counts in the mean.

    Examples
    --------
    >>> import numpy as np
    >>> from pyfast import nn
    >>> nn.AvgPool1d(2)(np.zeros((1, 3, 8), np.float32)).shape
    (1, 3, 4)
    """

    def __init__(
        self,
        kernel_size: Any,
        stride: Any = None,
        padding: Any = 0,
        ceil_mode: bool = False,
        count_include_pad: bool = True,
    ) -> None:
        super().__init__()
        self.kernel_size = self._sizes(kernel_size)
        self.stride = self._sizes(kernel_size if stride is None else stride)
        self.padding = self._sizes(padding)
        self.ceil_mode = ceil_mode
        self.count_include_pad = count_include_pad

    def _sizes(self, value: Any) -> Any:
        return to_tuple(value, 1, "AvgPool1d: a size")

    def _settings(self) -> tuple[Any, Any, Any, bool, bool]:
        sizes = (self.kernel_size, self.stride, self.padding)
        return (*sizes, self.ceil_mode, self.count_include_pad)

    def forward(self, input: Any) -> Any:
        """Take the mean of each window.

        Parameters
        ----------
        input : array of shape (N, C, L) or (C, L)

        Returns
        -------
        array of shape (N, C, L_out) or (C, L_out)
        """
        return ops.avg_pool1d(input, *self._settings())

    def extra_repr(self) -> str:
        """The layer's settings."""
        return f"kernel_size={self.kernel_size}, stride={self.stride}, padding={self.padding}"


class AvgPool2d(AvgPool1d):
    """Mean over windows of two axes.

    Parameters
    ----------
    kernel_size, stride, padding : int or (int, int)
        `stride` is `kernel_size` by default.
    ceil_mode : bool
        Let the last window hang over the edge.
    count_include_pad : bool
        Whether padding counts in the mean.
    divisor_override : int, optional
        Divide by this instead of the window's size.

    Examples
    --------
    >>> import numpy as np
    >>> from pyfast import nn
    >>> nn.AvgPool2d(2)(np.zeros((1, 3, 8, 8), np.float32)).shape
    (1, 3, 4, 4)
    """

    def __init__(
        self,
        kernel_size: Any,
        stride: Any = None,
        padding: Any = 0,
        ceil_mode: bool = False,
        count_include_pad: bool = True,
        divisor_override: int | None = None,
    ) -> None:
        super().__init__(kernel_size, stride, padding, ceil_mode, count_include_pad)
        self.divisor_override = divisor_override

    def _sizes(self, value: Any) -> Any:
        return value

    def forward(self, input: Any) -> Any:
        """Take the mean of each window.

        Parameters
        ----------
        input : array of shape (N, C, H, W) or (C, H, W)

        Returns
        -------
        array of shape (N, C, H_out, W_out) or (C, H_out, W_out)
        """
        return ops.avg_pool2d(input, *self._settings(), self.divisor_override)


class _Adaptive(Module):
    def __init__(self, output_size: Any) -> None:
        super().__init__()
        self.output_size = output_size

    def extra_repr(self) -> str:
        """The layer's output size."""
        return f"output_size={self.output_size}"


class AdaptiveAvgPool1d(_Adaptive):
    """Means that make an axis as long as asked.

    Parameters
    ----------
    output_size : int

    Examples
    --------
    >>> import numpy as np
    >>> from pyfast import nn
    >>> nn.AdaptiveAvgPool1d(3)(np.zeros((1, 2, 8), np.float32)).shape
    (1, 2, 3)
    """

    def forward(self, input: Any) -> Any:
        """Pool.

        Parameters
        ----------
        input : array of shape (N, C, L) or (C, L)

        Returns
        -------
        array of shape (N, C, output_size) or (C, output_size)
        """
        return ops.adaptive_avg_pool1d(input, self.output_size)


class AdaptiveAvgPool2d(_Adaptive):
    """Means that make two axes as long as asked.

    Parameters
    ----------
    output_size : int, or two, of which None keeps an axis

    Examples
    --------
    >>> import numpy as np
    >>> from pyfast import nn
    >>> nn.AdaptiveAvgPool2d((1, None))(np.zeros((1, 2, 8, 8), np.float32)).shape
    (1, 2, 1, 8)
    """

    def forward(self, input: Any) -> Any:
        """Pool.

        Parameters
        ----------
        input : array of shape (N, C, H, W) or (C, H, W)

        Returns
        -------
        array of shape (N, C, *output_size) or (C, *output_size)
        """
        return ops.adaptive_avg_pool2d(input, self.output_size)


class AdaptiveMaxPool1d(_Adaptive):
    """Maxima that make an axis as long as asked.

    Parameters
    ----------
    output_size : int
    return_indices : bool
        Also return where each maximum stood.

    Examples
    --------
    >>> import numpy as np
    >>> from pyfast import nn
    >>> nn.AdaptiveMaxPool1d(3)(np.zeros((1, 2, 8), np.float32)).shape
    (1, 2, 3)
    """

    _op: ClassVar[str] = "adaptive_max_pool1d"

    def __init__(self, output_size: Any, return_indices: bool = False) -> None:
        super().__init__(output_size)
        self.return_indices = return_indices

    def forward(self, input: Any) -> Any:
        """Pool.

        Parameters
        ----------
        input : array of shape (N, C, *spatial) or (C, *spatial)

        Returns
        -------
        array, or (array, indices) with `return_indices`
        """
        return getattr(ops, self._op)(input, self.output_size, self.return_indices)


class AdaptiveMaxPool2d(AdaptiveMaxPool1d):
    """Maxima that make two axes as long as asked.

    Parameters
    ----------
    output_size : int, or two, of which None keeps an axis
    return_indices : bool
        Also return where each maximum stood.

    Examples
    --------
    >>> import numpy as np
    >>> from pyfast import nn
    >>> nn.AdaptiveMaxPool2d(1)(np.zeros((1, 2, 8, 8), np.float32)).shape
    (1, 2, 1, 1)
    """

    _op = "adaptive_max_pool2d"
