"""Layers that multiply by a matrix, and Identity."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from .. import ops
from . import init
from .module import Module
from .parameter import Parameter

__all__ = ["Identity", "Linear"]


class Identity(Module):
    """Returns its input; takes and ignores any arguments.

    Examples
    --------
    >>> from pyfast import nn
    >>> nn.Identity(54, unused=0.1)(3)
    3
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__()

    def forward(self, input: Any) -> Any:
        """Return the input.

        Parameters
        ----------
        input : anything

        Returns
        -------
        `input`
        """
        return input


class Linear(Module):
    r"""A fully connected layer: :math:`y = \mathrm{activation}(x W^T + b)`.

    Weight and bias start uniform in :math:`\pm 1/\sqrt{\text{in\_features}}`, as in PyTorch.

    Parameters
    ----------
    in_features, out_features : int
    bias : bool
    activation : str, optional
        Fused: "relu", "gelu", "silu", ...; see :func:`pyfast.ops.linear`.
    dtype : dtype

    Attributes
    ----------
    weight : Parameter of shape (out_features, in_features)
    bias : Parameter of shape (out_features,), or None

    Examples
    --------
    >>> import numpy as np
    >>> from pyfast import nn
    >>> nn.Linear(3, 2)(np.zeros((5, 3), np.float32)).shape
    (5, 2)
    """

    def __init__(
        self,
        in_features: int,
        out_features: int,
        bias: bool = True,
        *,
        activation: str | None = None,
        dtype: Any = np.float32,
    ) -> None:
        super().__init__()
        self.in_features = in_features
        self.out_features = out_features
        self.activation = activation
        self.weight = Parameter(np.empty((out_features, in_features), dtype))
        self.register_parameter("bias", Parameter(np.empty(out_features, dtype)) if bias else None)
        self.reset_parameters()

    bias: Parameter | None

    def reset_parameters(self) -> None:
        """Draw weight and bias anew."""
        init.kaiming_uniform_(self.weight, a=math.sqrt(5))
        if self.bias is not None:
            bound = 1 / math.sqrt(self.in_features) if self.in_features > 0 else 0.0
            init.uniform_(self.bias, -bound, bound)

    def forward(self, input: Any) -> Any:
        """Apply the layer.

        Parameters
        ----------
        input : array of shape (..., in_features)

        Returns
        -------
        array of shape (..., out_features)
        """
        return ops.linear(input, self.weight, self.bias, activation=self.activation)

    def _forward_activated(self, input: Any, activation: str) -> Any:
        return ops.linear(input, self.weight, self.bias, activation=activation)

    def extra_repr(self) -> str:
        """The layer's sizes."""
        text = f"in_features={self.in_features}, out_features={self.out_features}"
        text += f", bias={self.bias is not None}"
        return text + (f", activation={self.activation}" if self.activation else "")
