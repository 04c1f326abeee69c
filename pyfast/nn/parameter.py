"""The tensors a module owns and an optimizer changes."""

from __future__ import annotations

from typing import Any

from .._tensor import Tensor

__all__ = ["Parameter"]


class Parameter(Tensor):
    """A tensor that becomes one of a module's parameters when it is assigned to it.

    Parameters
    ----------
    data : array or Tensor
        Not copied.
    requires_grad : bool
        Default: True.

    Examples
    --------
    >>> import numpy as np
    >>> from pyfast import nn
    >>> layer = nn.Module()
    >>> layer.scale = nn.Parameter(np.ones(3, np.float32))
    >>> [name for name, _ in layer.named_parameters()]
    ['scale']
    """

    def __init__(self, data: Any, requires_grad: bool = True) -> None:
        super().__init__(data, requires_grad)
