"""Dropout layers: active in training only."""

from __future__ import annotations

from typing import Any

from .. import ops
from .module import Module

__all__ = ["AlphaDropout", "Dropout", "Dropout1d", "Dropout2d"]


class _Dropout(Module):
    _op: str

    def __init__(self, p: float = 0.5, inplace: bool = False) -> None:
        super().__init__()
        if not 0 <= p <= 1:
            raise ValueError(f"{type(self).__name__}: p must be in [0, 1], got {p}")
        self.p = p

    def forward(self, input: Any) -> Any:
        """Drop at random in training; return the input itself in evaluation, or where p is 0.

        Parameters
        ----------
        input : array

        Returns
        -------
        array of the shape of `input`
        """
        if not self.training or self.p == 0:  # no copy: a Transformer comes here thrice a layer
            return input
        return getattr(ops, self._op)(input, self.p, True)

    def extra_repr(self) -> str:
        """The probability, in PyTorch's words."""
        return f"p={self.p}, inplace=False"


class Dropout(_Dropout):
    """Each element is 0 with probability p, else divided by 1 - p (Srivastava et al., 2014).

    Parameters
    ----------
    p : float
    inplace : bool
        Taken as PyTorch takes it, without effect: results are new arrays.

    Raises
    ------
    ValueError
        If `p` is not in [0, 1].

    Examples
    --------
    >>> import numpy as np
    >>> from pyfast import nn
    >>> nn.Dropout(0.5).eval()(np.ones(3, np.float32))
    array([1., 1., 1.], dtype=float32)
    """

    _op = "dropout"


class Dropout1d(_Dropout):
    """Whole channels of (N, C, L) or (C, L) inputs are dropped (Tompson et al., CVPR 2015).

    Parameters
    ----------
    p : float
    inplace : bool
        Taken as PyTorch takes it, without effect: results are new arrays.

    Raises
    ------
    ValueError
        If `p` is not in [0, 1].

    Examples
    --------
    >>> import numpy as np
    >>> from pyfast import nn
    >>> nn.Dropout1d(0.5)(np.ones((2, 3, 4), np.float32)).shape
    (2, 3, 4)
    """

    _op = "dropout1d"


class Dropout2d(_Dropout):
    """Whole channels of (N, C, H, W) or (C, H, W) inputs are dropped (Tompson et al., CVPR 2015).

    Parameters
    ----------
    p : float
    inplace : bool
        Taken as PyTorch takes it, without effect: results are new arrays.

    Raises
    ------
    ValueError
        If `p` is not in [0, 1].

    Examples
    --------
    >>> import numpy as np
    >>> from pyfast import nn
    >>> nn.Dropout2d(0.5)(np.ones((2, 3, 4, 4), np.float32)).shape
    (2, 3, 4, 4)
    """

    _op = "dropout2d"


class AlphaDropout(_Dropout):
    """Dropout that keeps mean and variance behind SELU (Klambauer et al., NeurIPS 2017).

    Parameters
    ----------
    p : float
    inplace : bool
        Taken as PyTorch takes it, without effect: results are new arrays.

    Raises
    ------
    ValueError
        If `p` is not in [0, 1].

    Examples
    --------
    >>> import numpy as np
    >>> from pyfast import nn
    >>> nn.AlphaDropout(0.1)(np.ones((2, 3), np.float32)).shape
    (2, 3)
    """

    _op = "alpha_dropout"
