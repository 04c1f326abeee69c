"""Activations as modules."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np

from .. import ops
from . import init
from .module import Module
from .parameter import Parameter

__all__ = [
    "CELU",
    "ELU",
    "GELU",
    "GLU",
    "Hardshrink",
    "Hardsigmoid",
    "Hardswish",
    "Hardtanh",
    "LeakyReLU",
    "LogSigmoid",
    "LogSoftmax",
    "Mish",
    "PReLU",
    "ReLU",
    "ReLU6",
    "SELU",
    "SiLU",
    "Sigmoid",
    "Softmax",
    "Softmin",
    "Softplus",
    "Softshrink",
    "Softsign",
    "Tanh",
    "Tanhshrink",
    "Threshold",
]


class _Activation(Module):
    """The op named `_op`; its settings are attributes, named in `_settings`."""

    _op: ClassVar[str]
    _settings: ClassVar[tuple[str, ...]] = ()

    def forward(self, input: Any) -> Any:
        """Apply the activation.

        Parameters
        ----------
        input : array of any shape

        Returns
        -------
        array of the shape of `input`; GLU halves one axis
        """
        settings = {name: getattr(self, name) for name in self._settings}
        return getattr(ops, self._op)(input, **settings)

    def extra_repr(self) -> str:
        """The activation's settings."""
        return ", ".join(f"{name}={getattr(self, name)!r}" for name in self._settings)


class _PlainActivation(_Activation):
    """An activation with no setting but PyTorch's `inplace`."""

    def __init__(self, inplace: bool = False) -> None:
        super().__init__()


class ReLU(_PlainActivation):
    """max(0, x).

    Parameters
    ----------
    inplace : bool
        Taken as PyTorch takes it, without effect: results are new arrays.

    Examples
    --------
    >>> import numpy as np
    >>> from pyfast import nn
    >>> nn.ReLU()(np.ones((2, 4), np.float32)).shape
    (2, 4)
    """

    _op = "relu"


class ReLU6(_PlainActivation):
    """min(max(0, x), 6).

    Parameters
    ----------
    inplace : bool
        Taken as PyTorch takes it, without effect: results are new arrays.

    Examples
    --------
    >>> import numpy as np
    >>> from pyfast import nn
    >>> nn.ReLU6()(np.ones((2, 4), np.float32)).shape
    (2, 4)
    """

    _op = "relu6"


class GELU(_Activation):
    """x Φ(x), Φ the normal distribution (Hendrycks and Gimpel, 2016).

    Parameters
    ----------
    approximate : str
        "none" or "tanh".

    Examples
    --------
    >>> import numpy as np
    >>> from pyfast import nn
    >>> nn.GELU()(np.ones((2, 4), np.float32)).shape
    (2, 4)
    """

    _op = "gelu"
    _settings = ("approximate",)

    def __init__(self, approximate: str = "none") -> None:
        super().__init__()
        self.approximate = approximate


class SiLU(_PlainActivation):
    """x / (1 + exp(-x)), also called swish.

    Parameters
    ----------
    inplace : bool
        Taken as PyTorch takes it, without effect: results are new arrays.

    Examples
    --------
    >>> import numpy as np
    >>> from pyfast import nn
    >>> nn.SiLU()(np.ones((2, 4), np.float32)).shape
    (2, 4)
    """

    _op = "silu"


class ELU(_Activation):
    """x above 0, alpha (exp(x) - 1) below (Clevert et al., ICLR 2016).

    Parameters
    ----------
    alpha : float
    inplace : bool
        Taken as PyTorch takes it, without effect: results are new arrays.

    Examples
    --------
    >>> import numpy as np
    >>> from pyfast import nn
    >>> nn.ELU()(np.ones((2, 4), np.float32)).shape
    (2, 4)
    """

    _op = "elu"
    _settings = ("alpha",)

    def __init__(self, alpha: float = 1.0, inplace: bool = False) -> None:
        super().__init__()
        self.alpha = alpha


class SELU(_PlainActivation):
    """ELU scaled so that activations normalise themselves (Klambauer et al., NeurIPS 2017).

    Parameters
    ----------
    inplace : bool
        Taken as PyTorch takes it, without effect: results are new arrays.

    Examples
    --------
    >>> import numpy as np
    >>> from pyfast import nn
    >>> nn.SELU()(np.ones((2, 4), np.float32)).shape
    (2, 4)
    """

    _op = "selu"


class CELU(_Activation):
    """max(0, x) + min(0, alpha (exp(x / alpha) - 1)) (Barron, 2017).

    Parameters
    ----------
    alpha : float
    inplace : bool
        Taken as PyTorch takes it, without effect: results are new arrays.

    Examples
    --------
    >>> import numpy as np
    >>> from pyfast import nn
    >>> nn.CELU()(np.ones((2, 4), np.float32)).shape
    (2, 4)
    """

    _op = "celu"
    _settings = ("alpha",)

    def __init__(self, alpha: float = 1.0, inplace: bool = False) -> None:
        super().__init__()
        self.alpha = alpha


class LeakyReLU(_Activation):
    """x above 0, negative_slope x below.

    Parameters
    ----------
    negative_slope : float
    inplace : bool
        Taken as PyTorch takes it, without effect: results are new arrays.

    Examples
    --------
    >>> import numpy as np
    >>> from pyfast import nn
    >>> nn.LeakyReLU()(np.ones((2, 4), np.float32)).shape
    (2, 4)
    """

    _op = "leaky_relu"
    _settings = ("negative_slope",)

    def __init__(self, negative_slope: float = 0.01, inplace: bool = False) -> None:
        super().__init__()
        self.negative_slope = negative_slope


class Sigmoid(_Activation):
    """1 / (1 + exp(-x)).

    Examples
    --------
    >>> import numpy as np
    >>> from pyfast import nn
    >>> nn.Sigmoid()(np.ones((2, 4), np.float32)).shape
    (2, 4)
    """

    _op = "sigmoid"


class LogSigmoid(_Activation):
    """Logarithm of the sigmoid.

    Examples
    --------
    >>> import numpy as np
    >>> from pyfast import nn
    >>> nn.LogSigmoid()(np.ones((2, 4), np.float32)).shape
    (2, 4)
    """

    _op = "logsigmoid"


class Tanh(_Activation):
    """Hyperbolic tangent.

    Examples
    --------
    >>> import numpy as np
    >>> from pyfast import nn
    >>> nn.Tanh()(np.ones((2, 4), np.float32)).shape
    (2, 4)
    """

    _op = "tanh"


class Tanhshrink(_Activation):
    """x - tanh(x).

    Examples
    --------
    >>> import numpy as np
    >>> from pyfast import nn
    >>> nn.Tanhshrink()(np.ones((2, 4), np.float32)).shape
    (2, 4)
    """

    _op = "tanhshrink"


class Softplus(_Activation):
    """log(1 + exp(beta x)) / beta, linear above the threshold.

    Parameters
    ----------
    beta : float
    threshold : float
        Of beta x.

    Examples
    --------
    >>> import numpy as np
    >>> from pyfast import nn
    >>> nn.Softplus()(np.ones((2, 4), np.float32)).shape
    (2, 4)
    """

    _op = "softplus"
    _settings = ("beta", "threshold")

    def __init__(self, beta: float = 1.0, threshold: float = 20.0) -> None:
        super().__init__()
        self.beta = beta
        self.threshold = threshold


class Softsign(_Activation):
    """x / (1 + |x|).

    Examples
    --------
    >>> import numpy as np
    >>> from pyfast import nn
    >>> nn.Softsign()(np.ones((2, 4), np.float32)).shape
    (2, 4)
    """

    _op = "softsign"


class Mish(_PlainActivation):
    """x tanh(softplus(x)) (Misra, 2019).

    Parameters
    ----------
    inplace : bool
        Taken as PyTorch takes it, without effect: results are new arrays.

    Examples
    --------
    >>> import numpy as np
    >>> from pyfast import nn
    >>> nn.Mish()(np.ones((2, 4), np.float32)).shape
    (2, 4)
    """

    _op = "mish"


class Hardswish(_PlainActivation):
    """x min(max(0, x + 3), 6) / 6 (Howard et al., ICCV 2019).

    Parameters
    ----------
    inplace : bool
        Taken as PyTorch takes it, without effect: results are new arrays.

    Examples
    --------
    >>> import numpy as np
    >>> from pyfast import nn
    >>> nn.Hardswish()(np.ones((2, 4), np.float32)).shape
    (2, 4)
    """

    _op = "hardswish"


class Hardsigmoid(_PlainActivation):
    """min(max(0, x + 3), 6) / 6.

    Parameters
    ----------
    inplace : bool
        Taken as PyTorch takes it, without effect: results are new arrays.

    Examples
    --------
    >>> import numpy as np
    >>> from pyfast import nn
    >>> nn.Hardsigmoid()(np.ones((2, 4), np.float32)).shape
    (2, 4)
    """

    _op = "hardsigmoid"


class Hardtanh(_Activation):
    """x kept within [min_val, max_val].

    Parameters
    ----------
    min_val : float
    max_val : float
    inplace : bool
        Taken as PyTorch takes it, without effect: results are new arrays.

    Examples
    --------
    >>> import numpy as np
    >>> from pyfast import nn
    >>> nn.Hardtanh()(np.ones((2, 4), np.float32)).shape
    (2, 4)
    """

    _op = "hardtanh"
    _settings = ("min_val", "max_val")

    def __init__(self, min_val: float = -1.0, max_val: float = 1.0, inplace: bool = False) -> None:
        super().__init__()
        self.min_val = min_val
        self.max_val = max_val


class Hardshrink(_Activation):
    """x where |x| > lambd, else 0.

    Parameters
    ----------
    lambd : float

    Examples
    --------
    >>> import numpy as np
    >>> from pyfast import nn
    >>> nn.Hardshrink()(np.ones((2, 4), np.float32)).shape
    (2, 4)
    """

    _op = "hardshrink"
    _settings = ("lambd",)

    def __init__(self, lambd: float = 0.5) -> None:
        super().__init__()
        self.lambd = lambd

    def extra_repr(self) -> str:
        """The bound."""
        return str(self.lambd)


class Softshrink(_Activation):
    """x moved towards 0 by lambd, at most to 0.

    Parameters
    ----------
    lambd : float

    Examples
    --------
    >>> import numpy as np
    >>> from pyfast import nn
    >>> nn.Softshrink()(np.ones((2, 4), np.float32)).shape
    (2, 4)
    """

    _op = "softshrink"
    _settings = ("lambd",)

    def __init__(self, lambd: float = 0.5) -> None:
        super().__init__()
        self.lambd = lambd

    def extra_repr(self) -> str:
        """The bound."""
        return str(self.lambd)


class Threshold(_Activation):
    """x above the threshold, else the value.

    Parameters
    ----------
    threshold : float
    value : float
    inplace : bool
        Taken as PyTorch takes it, without effect: results are new arrays.

    Examples
    --------
    >>> import numpy as np
    >>> from pyfast import nn
    >>> nn.Threshold(0.0, 0.0)(np.ones((2, 4), np.float32)).shape
    (2, 4)
    """

    _op = "threshold"
    _settings = ("threshold", "value")

    def __init__(self, threshold: float, value: float, inplace: bool = False) -> None:
        super().__init__()
        self.threshold = threshold
        self.value = value


class GLU(_Activation):
    """First half times the sigmoid of the second, along dim (Dauphin et al., ICML 2017).

    Parameters
    ----------
    dim : int
        The axis that is halved.

    Examples
    --------
    >>> import numpy as np
    >>> from pyfast import nn
    >>> nn.GLU()(np.ones((2, 4), np.float32)).shape
    (2, 2)
    """

    _op = "glu"
    _settings = ("dim",)

    def __init__(self, dim: int = -1) -> None:
        super().__init__()
        self.dim = dim


class Softmax(_Activation):
    """Exponentials along dim, scaled so that they add up to one.

    Parameters
    ----------
    dim : int

    Examples
    --------
    >>> import numpy as np
    >>> from pyfast import nn
    >>> nn.Softmax()(np.ones((2, 4), np.float32)).shape
    (2, 4)
    """

    _op = "softmax"
    _settings = ("dim",)

    def __init__(self, dim: int = -1) -> None:
        super().__init__()
        self.dim = dim


class Softmin(_Activation):
    """Softmax of -x.

    Parameters
    ----------
    dim : int

    Examples
    --------
    >>> import numpy as np
    >>> from pyfast import nn
    >>> nn.Softmin()(np.ones((2, 4), np.float32)).shape
    (2, 4)
    """

    _op = "softmin"
    _settings = ("dim",)

    def __init__(self, dim: int = -1) -> None:
        super().__init__()
        self.dim = dim


class LogSoftmax(_Activation):
    """Logarithm of softmax.

    Parameters
    ----------
    dim : int

    Examples
    --------
    >>> import numpy as np
    >>> from pyfast import nn
    >>> nn.LogSoftmax()(np.ones((2, 4), np.float32)).shape
    (2, 4)
    """

    _op = "log_softmax"
    _settings = ("dim",)

    def __init__(self, dim: int = -1) -> None:
        super().__init__()
        self.dim = dim


class PReLU(Module):
    """x above 0, a learned slope times x below (He et al., ICCV 2015).

    Parameters
    ----------
    num_parameters : int
        One slope for all, or one for each channel (axis 1).
    init : float
        What the slopes start from.
    dtype : dtype

    Attributes
    ----------
    weight : Parameter of shape (num_parameters,)

    Examples
    --------
    >>> import numpy as np
    >>> from pyfast import nn
    >>> nn.PReLU(4)(np.ones((2, 4), np.float32)).shape
    (2, 4)
    """

    def __init__(
        self, num_parameters: int = 1, init: float = 0.25, dtype: Any = np.float32
    ) -> None:
        super().__init__()
        self.num_parameters = num_parameters
        self.init = init
        self.weight = Parameter(np.empty(num_parameters, dtype))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Set all slopes to their first value."""
        init.constant_(self.weight, self.init)

    def forward(self, input: Any) -> Any:
        """Apply the activation.

        Parameters
        ----------
        input : array of shape (N, C, *)

        Returns
        -------
        array of the shape of `input`
        """
        return ops.prelu(input, self.weight)

    def extra_repr(self) -> str:
        """The number of slopes."""
        return f"num_parameters={self.num_parameters}"
