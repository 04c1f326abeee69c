"""Padding layers."""

from __future__ import annotations

from typing import Any, ClassVar

from .. import ops
from .module import Module
from .sizes import Size, to_tuple

__all__ = [
    "CircularPad1d",
    "CircularPad2d",
    "ConstantPad1d",
    "ConstantPad2d",
    "ReflectionPad1d",
    "ReflectionPad2d",
    "ReplicationPad1d",
    "ReplicationPad2d",
    "ZeroPad1d",
    "ZeroPad2d",
]


class _Pad(Module):
    rank: ClassVar[int]
    mode: ClassVar[str] = "constant"

    def __init__(self, padding: Size) -> None:
        super().__init__()
        self.padding = to_tuple(padding, 2 * self.rank, f"{type(self).__name__}: padding")
        self.value: float | None = None

    def forward(self, input: Any) -> Any:
        """Pad the last axes.

        Parameters
        ----------
        input : array of shape (N, C, *spatial) or (C, *spatial)

        Returns
        -------
        array, each spatial axis longer by its two paddings
        """
        return ops.pad(input, self.padding, self.mode, self.value)

    def extra_repr(self) -> str:
        """The paddings."""
        if self.value is None:
            return f"{self.padding}"
        return f"padding={self.padding}, value={self.value}"


class ZeroPad1d(_Pad):
    """Zeros around the ends of one axis.

    Parameters
    ----------
    padding : int or (left, right)

    Raises
    ------
    ValueError
        If `padding` has the wrong number of entries.

    Examples
    --------
    >>> import numpy as np
    >>> from pyfast import nn
    >>> nn.ZeroPad1d(1)(np.zeros((1, 2, 4), np.float32)).shape
    (1, 2, 6)
    """

    rank = 1


class ZeroPad2d(_Pad):
    """Zeros around the ends of two axes.

    Parameters
    ----------
    padding : int or (left, right, top, bottom)

    Raises
    ------
    ValueError
        If `padding` has the wrong number of entries.

    Examples
    --------
    >>> import numpy as np
    >>> from pyfast import nn
    >>> nn.ZeroPad2d(1)(np.zeros((1, 2, 4, 4), np.float32)).shape
    (1, 2, 6, 6)
    """

    rank = 2


class ConstantPad1d(_Pad):
    """One value around the ends of one axis.

    Parameters
    ----------
    padding : int or (left, right)
    value : float

    Raises
    ------
    ValueError
        If `padding` has the wrong number of entries.

    Examples
    --------
    >>> import numpy as np
    >>> from pyfast import nn
    >>> nn.ConstantPad1d(1, 0.5)(np.zeros((1, 2, 4), np.float32)).shape
    (1, 2, 6)
    """

    rank = 1

    def __init__(self, padding: Size, value: float) -> None:
        super().__init__(padding)
        self.value = value


class ConstantPad2d(_Pad):
    """One value around the ends of two axes.

    Parameters
    ----------
    padding : int or (left, right, top, bottom)
    value : float

    Raises
    ------
    ValueError
        If `padding` has the wrong number of entries.

    Examples
    --------
    >>> import numpy as np
    >>> from pyfast import nn
    >>> nn.ConstantPad2d(1, 0.5)(np.zeros((1, 2, 4, 4), np.float32)).shape
    (1, 2, 6, 6)
    """

    rank = 2

    def __init__(self, padding: Size, value: float) -> None:
        super().__init__(padding)
        self.value = value


class ReflectionPad1d(_Pad):
    """The input mirrored at the ends of one axis.

    Parameters
    ----------
    padding : int or (left, right)

    Raises
    ------
    ValueError
        If `padding` has the wrong number of entries.

    Examples
    --------
    >>> import numpy as np
    >>> from pyfast import nn
    >>> nn.ReflectionPad1d(1)(np.zeros((1, 2, 4), np.float32)).shape
    (1, 2, 6)
    """

    rank = 1
    mode = "reflect"


class ReflectionPad2d(_Pad):
    """The input mirrored at the ends of two axes.

    Parameters
    ----------
    padding : int or (left, right, top, bottom)

    Raises
    ------
    ValueError
        If `padding` has the wrong number of entries.

    Examples
    --------
    >>> import numpy as np
    >>> from pyfast import nn
    >>> nn.ReflectionPad2d(1)(np.zeros((1, 2, 4, 4), np.float32)).shape
    (1, 2, 6, 6)
    """

    rank = 2
    mode = "reflect"


class ReplicationPad1d(_Pad):
    """The edge repeated at the ends of one axis.

    Parameters
    ----------
    padding : int or (left, right)

    Raises
    ------
    ValueError
        If `padding` has the wrong number of entries.

    Examples
    --------
    >>> import numpy as np
    >>> from pyfast import nn
    >>> nn.ReplicationPad1d(1)(np.zeros((1, 2, 4), np.float32)).shape
    (1, 2, 6)
    """

    rank = 1
    mode = "replicate"


class ReplicationPad2d(_Pad):
    """The edge repeated at the ends of two axes.

    Parameters
    ----------
    padding : int or (left, right, top, bottom)

    Raises
    ------
    ValueError
        If `padding` has the wrong number of entries.

    Examples
    --------
    >>> import numpy as np
    >>> from pyfast import nn
    >>> nn.ReplicationPad2d(1)(np.zeros((1, 2, 4, 4), np.float32)).shape
    (1, 2, 6, 6)
    """

    rank = 2
    mode = "replicate"


class CircularPad1d(_Pad):
    """The input continued from its other end at the ends of one axis.

    Parameters
    ----------
    padding : int or (left, right)

    Raises
    ------
    ValueError
        If `padding` has the wrong number of entries.

    Examples
    --------
    >>> import numpy as np
    >>> from pyfast import nn
    >>> nn.CircularPad1d(1)(np.zeros((1, 2, 4), np.float32)).shape
    (1, 2, 6)
    """

    rank = 1
    mode = "circular"


class CircularPad2d(_Pad):
    """The input continued from its other end at the ends of two axes.

    Parameters
    ----------
    padding : int or (left, right, top, bottom)

    Raises
    ------
    ValueError
        If `padding` has the wrong number of entries.

    Examples
    --------
    >>> import numpy as np
    >>> from pyfast import nn
    >>> nn.CircularPad2d(1)(np.zeros((1, 2, 4, 4), np.float32)).shape
    (1, 2, 6, 6)
    """

    rank = 2
    mode = "circular"
