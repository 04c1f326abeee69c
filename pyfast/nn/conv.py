"""Convolutions and transposed convolutions."""

from __future__ import annotations

import math
from typing import Any, ClassVar

import numpy as np

from .. import ops
from . import init
from .module import Module
from .parameter import Parameter
from .sizes import Size, to_tuple

__all__ = ["Conv1d", "Conv2d", "ConvTranspose1d", "ConvTranspose2d"]


class _ConvBase(Module):
    """Settings, parameters and initialisation of all convolutions."""

    rank: ClassVar[int]
    transposed: ClassVar[bool] = False
    bias: Parameter | None

    def _setup(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: Size,
        stride: Size,
        dilation: Size,
        groups: int,
    ) -> None:
        name = type(self).__name__
        if groups < 1 or in_channels % groups or out_channels % groups:
            raise ValueError(
                f"{name}: groups must divide in_channels {in_channels} and out_channels "
                f"{out_channels}, got {groups}"
            )
        self.in_channels = in_channels
        self.out_channels = out_channels
        self.kernel_size = to_tuple(kernel_size, self.rank, f"{name}: kernel_size")
        self.stride = to_tuple(stride, self.rank, f"{name}: stride")
        self.dilation = to_tuple(dilation, self.rank, f"{name}: dilation")
        self.groups = groups

    def _make_parameters(self, bias: bool, dtype: Any) -> None:
        first, second = self.out_channels, self.in_channels
        if self.transposed:
            first, second = second, first
        shape = (first, second // self.groups, *self.kernel_size)
        self.weight = Parameter(np.empty(shape, dtype))
        values = Parameter(np.empty(self.out_channels, dtype)) if bias else None
        self.register_parameter("bias", values)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw weight and bias anew."""
        init.kaiming_uniform_(self.weight, a=math.sqrt(5))
        if self.bias is not None:
            fan_in = math.prod(self.weight.shape[1:])
            bound = 1 / math.sqrt(fan_in) if fan_in else 0.0
            init.uniform_(self.bias, -bound, bound)

    def _common_repr(self) -> str:
        return (
            f"{self.in_channels}, {self.out_channels}, kernel_size={self.kernel_size}, "
            f"stride={self.stride}"
        )

    def _tail_repr(self) -> str:
        parts = []
        if self.dilation != (1,) * self.rank:
            parts.append(f", dilation={self.dilation}")
        if self.groups != 1:
            parts.append(f", groups={self.groups}")
        if self.bias is None:
            parts.append(", bias=False")
        return "".join(parts)


class _Conv(_ConvBase):
    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: Size,
        stride: Size = 1,
        padding: Size | str = 0,
        dilation: Size = 1,
        groups: int = 1,
        bias: bool = True,
        padding_mode: str = "zeros",
        *,
        activation: str | None = None,
        dtype: Any = np.float32,
    ) -> None:
        super().__init__()
        self._setup(in_channels, out_channels, kernel_size, stride, dilation, groups)
        name = type(self).__name__
        self.padding = (
            padding
            if isinstance(padding, str)
            else to_tuple(padding, self.rank, f"{name}: padding")
        )
        if padding_mode not in ("zeros", "reflect", "replicate", "circular"):
            raise ValueError(
                f"{name}: padding_mode must be 'zeros', 'reflect', 'replicate' or 'circular', "
                f"got {padding_mode!r}"
            )
        self.padding_mode = padding_mode
        self.activation = activation
        self._make_parameters(bias, dtype)

    def _pads(self) -> list[int]:
        """What ops.pad is given for the modes that are not zeros: last axis first."""
        if self.padding == "valid":
            return [0] * (2 * self.rank)
        pads = []
        for i in reversed(range(self.rank)):
            if self.padding == "same":
                total = self.dilation[i] * (self.kernel_size[i] - 1)
                pads += [total // 2, total - total // 2]
            else:
                pads += [int(self.padding[i])] * 2
        return pads

    def _apply(self, op: Any, input: Any, activation: str | None = None) -> Any:
        padding: Any = self.padding
        if self.padding_mode != "zeros":
            input, padding = ops.pad(input, self._pads(), mode=self.padding_mode), 0
        settings = (self.stride, padding, self.dilation, self.groups)
        activation = activation or self.activation
        return op(input, self.weight, self.bias, *settings, activation=activation)

    def extra_repr(self) -> str:
        """The layer's settings, those at their defaults left out."""
        text = self._common_repr()
        if self.padding != (0,) * self.rank:
            text += f", padding={self.padding}"
        text += self._tail_repr()
        if self.padding_mode != "zeros":
            text += f", padding_mode={self.padding_mode}"
        return text + (f", activation={self.activation}" if self.activation else "")


class Conv1d(_Conv):
    """Convolution (cross-correlation) over one axis.

    Parameters
    ----------
    in_channels, out_channels : int
    kernel_size, stride, dilation : int or (int,)
    padding : int, (int,), "same" or "valid"
    groups : int
        Channels are cut into this many groups that do not see each other.
    bias : bool
    padding_mode : str
        "zeros", "reflect", "replicate" or "circular".
    activation : str, optional
        Fused: "relu", "gelu", "silu", ...
    dtype : dtype

    Attributes
    ----------
    weight : Parameter of shape (out_channels, in_channels / groups, K)
    bias : Parameter of shape (out_channels,), or None

    Raises
    ------
    ValueError
        If `groups` does not divide the channels or a size has the wrong number of entries.

    Examples
    --------
    >>> import numpy as np
    >>> from pyfast import nn
    >>> nn.Conv1d(2, 4, 3)(np.zeros((1, 2, 10), np.float32)).shape
    (1, 4, 8)
    """

    rank = 1

    def forward(self, input: Any) -> Any:
        """Apply the layer.

        Parameters
        ----------
        input : array of shape (N, in_channels, L) or (in_channels, L)

        Returns
        -------
        array of shape (N, out_channels, L_out) or (out_channels, L_out)
        """
        return self._apply(ops.conv1d, input)

    def _forward_activated(self, input: Any, activation: str) -> Any:
        return self._apply(ops.conv1d, input, activation)


class Conv2d(_Conv):
    """Convolution (cross-correlation) over two axes.

    Parameters
    ----------
    in_channels, out_channels : int
    kernel_size, stride, dilation : int or (int, int)
    padding : int, (int, int), "same" or "valid"
    groups : int
        Channels are cut into this many groups that do not see each other.
    bias : bool
    padding_mode : str
        "zeros", "reflect", "replicate" or "circular".
    activation : str, optional
        Fused: "relu", "gelu", "silu", ...
    dtype : dtype

    Attributes
    ----------
    weight : Parameter of shape (out_channels, in_channels / groups, KH, KW)
    bias : Parameter of shape (out_channels,), or None

    Raises
    ------
    ValueError
        If `groups` does not divide the channels or a size has the wrong number of entries.

    Examples
    --------
    >>> import numpy as np
    >>> from pyfast import nn
    >>> nn.Conv2d(3, 8, 3, padding=1)(np.zeros((1, 3, 6, 6), np.float32)).shape
    (1, 8, 6, 6)
    """

    rank = 2

    def forward(self, input: Any) -> Any:
        """Apply the layer.

        Parameters
        ----------
        input : array of shape (N, in_channels, H, W) or (in_channels, H, W)

        Returns
        -------
        array of shape (N, out_channels, H_out, W_out) or (out_channels, H_out, W_out)
        """
        return self._apply(ops.conv2d, input)

    def _forward_activated(self, input: Any, activation: str) -> Any:
        return self._apply(ops.conv2d, input, activation)


class _ConvTranspose(_ConvBase):
    transposed = True

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: Size,
        stride: Size = 1,
        padding: Size = 0,
        output_padding: Size = 0,
        groups: int = 1,
        bias: bool = True,
        dilation: Size = 1,
        padding_mode: str = "zeros",
        *,
        dtype: Any = np.float32,
    ) -> None:
        super().__init__()
        name = type(self).__name__
        self._setup(in_channels, out_channels, kernel_size, stride, dilation, groups)
        if padding_mode != "zeros":
            raise ValueError(f"{name}: padding_mode must be 'zeros', got {padding_mode!r}")
        self.padding = to_tuple(padding, self.rank, f"{name}: padding")
        self.output_padding = to_tuple(output_padding, self.rank, f"{name}: output_padding")
        self._make_parameters(bias, dtype)

    def _apply(self, op: Any, input: Any, output_size: Any) -> Any:
        extra = self.output_padding if output_size is None else self._extra(input, output_size)
        settings = (self.stride, self.padding, extra, self.groups, self.dilation)
        return op(input, self.weight, self.bias, *settings)

    def _extra(self, input: Any, output_size: Any) -> tuple[int, ...]:
        """The output padding that leads to the size asked for."""
        wanted = tuple(output_size)[-self.rank :]
        extra = []
        for i in range(self.rank):
            reach = self.dilation[i] * (self.kernel_size[i] - 1) + 1
            least = (input.shape[i - self.rank] - 1) * self.stride[i] - 2 * self.padding[i] + reach
            extra.append(wanted[i] - least)
            if not 0 <= extra[i] < max(self.stride[i], self.dilation[i]):
                raise ValueError(
                    f"{type(self).__name__}: output_size {wanted} cannot be reached, axis {i} "
                    f"starts at {least}"
                )
        return tuple(extra)

    def extra_repr(self) -> str:
        """The layer's settings, those at their defaults left out."""
        text = self._common_repr()
        for name in ("padding", "output_padding"):
            value = getattr(self, name)
            text += f", {name}={value}" if value != (0,) * self.rank else ""
        return text + self._tail_repr()


class ConvTranspose1d(_ConvTranspose):
    """Transposed convolution over one axis: the gradient of Conv1d as a layer.

    Parameters
    ----------
    in_channels, out_channels : int
    kernel_size, stride, padding, output_padding : int or (int,)
    groups : int
    bias : bool
    dilation : int or (int,)
    padding_mode : str
        Only "zeros".
    dtype : dtype

    Attributes
    ----------
    weight : Parameter of shape (in_channels, out_channels / groups, K)
    bias : Parameter of shape (out_channels,), or None

    Raises
    ------
    ValueError
        If `groups` does not divide the channels or a size has the wrong number of entries.

    Examples
    --------
    >>> import numpy as np
    >>> from pyfast import nn
    >>> nn.ConvTranspose1d(2, 4, 3, stride=2)(np.zeros((1, 2, 5), np.float32)).shape
    (1, 4, 11)
    """

    rank = 1

    def forward(self, input: Any, output_size: Any = None) -> Any:
        """Apply the layer.

        Parameters
        ----------
        input : array of shape (N, in_channels, L) or (in_channels, L)
        output_size : sequence of int, optional
            Which of the lengths that the stride leaves open is wanted.

        Returns
        -------
        array of shape (N, out_channels, L_out) or (out_channels, L_out)
        """
        return self._apply(ops.conv_transpose1d, input, output_size)


class ConvTranspose2d(_ConvTranspose):
    """Transposed convolution over two axes: the gradient of Conv2d as a layer.

    Parameters
    ----------
    in_channels, out_channels : int
    kernel_size, stride, padding, output_padding : int or (int, int)
    groups : int
    bias : bool
    dilation : int or (int, int)
    padding_mode : str
        Only "zeros".
    dtype : dtype

    Attributes
    ----------
    weight : Parameter of shape (in_channels, out_channels / groups, KH, KW)
    bias : Parameter of shape (out_channels,), or None

    Raises
    ------
    ValueError
        If `groups` does not divide the channels or a size has the wrong number of entries.

    Examples
    --------
    >>> import numpy as np
    >>> from pyfast import nn
    >>> nn.ConvTranspose2d(2, 4, 2, stride=2)(np.zeros((1, 2, 5, 5), np.float32)).shape
    (1, 4, 10, 10)
    """

    rank = 2

    def forward(self, input: Any, output_size: Any = None) -> Any:
        """Apply the layer.

        Parameters
        ----------
        input : array of shape (N, in_channels, H, W) or (in_channels, H, W)
        output_size : sequence of int, optional
            Which of the sizes that the stride leaves open is wanted.

        Returns
        -------
        array of shape (N, out_channels, H_out, W_out) or (out_channels, H_out, W_out)
        """
        return self._apply(ops.conv_transpose2d, input, output_size)
