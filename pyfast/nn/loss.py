"""Losses as modules."""

from __future__ import annotations

from typing import Any, ClassVar

from .. import ops
from .._tensor import Tensor
from .module import Module

__all__ = [
    "BCELoss",
    "BCEWithLogitsLoss",
    "CrossEntropyLoss",
    "HuberLoss",
    "KLDivLoss",
    "L1Loss",
    "MSELoss",
    "NLLLoss",
    "SmoothL1Loss",
]


class _Loss(Module):
    """The op named `_op` between two arrays; its settings are attributes, named in `_settings`."""

    _op: ClassVar[str]
    _settings: ClassVar[tuple[str, ...]] = ("reduction",)

    def __init__(self, reduction: str = "mean") -> None:
        super().__init__()
        self.reduction = reduction

    def forward(self, input: Any, target: Any) -> Any:
        """Compute the loss.

        Parameters
        ----------
        input, target : array of the same shape

        Returns
        -------
        array of shape (), or of the shape of `input` without a reduction
        """
        settings = {name: getattr(self, name) for name in self._settings}
        return getattr(ops, self._op)(input, target, **settings)


class MSELoss(_Loss):
    """Mean of squared differences.

    Parameters
    ----------
    reduction : str
        "mean", "sum" or "none".

    Examples
    --------
    >>> import numpy as np
    >>> from pyfast import nn
    >>> float(nn.MSELoss()(np.array([1.0, 3.0]), np.array([1.0, 1.0])))
    2.0
    """

    _op = "mse_loss"


class L1Loss(_Loss):
    """Mean of absolute differences.

    Parameters
    ----------
    reduction : str
        "mean", "sum" or "none".

    Examples
    --------
    >>> import numpy as np
    >>> from pyfast import nn
    >>> float(nn.L1Loss()(np.array([1.0, 3.0]), np.array([1.0, 1.0])))
    1.0
    """

    _op = "l1_loss"


class SmoothL1Loss(_Loss):
    """Squared differences below `beta`, absolute ones above (Girshick, ICCV 2015).

    Parameters
    ----------
    reduction : str
        "mean", "sum" or "none".
    beta : float

    Examples
    --------
    >>> import numpy as np
    >>> from pyfast import nn
    >>> float(nn.SmoothL1Loss()(np.array([1.0, 3.0]), np.array([1.0, 1.0])))
    0.75
    """

    _op = "smooth_l1_loss"
    _settings = ("reduction", "beta")

    def __init__(self, reduction: str = "mean", beta: float = 1.0) -> None:
        super().__init__(reduction)
        self.beta = beta


class HuberLoss(_Loss):
    """Squared differences below `delta`, absolute ones above (Huber, 1964).

    Parameters
    ----------
    reduction : str
        "mean", "sum" or "none".
    delta : float

    Examples
    --------
    >>> import numpy as np
    >>> from pyfast import nn
    >>> float(nn.HuberLoss()(np.array([1.0, 3.0]), np.array([1.0, 1.0])))
    0.75
    """

    _op = "huber_loss"
    _settings = ("reduction", "delta")

    def __init__(self, reduction: str = "mean", delta: float = 1.0) -> None:
        super().__init__(reduction)
        self.delta = delta


class KLDivLoss(_Loss):
    """Kullback-Leibler divergence of target probabilities from predicted log-probabilities.

    Parameters
    ----------
    reduction : str
        "mean", "batchmean" (the true divergence), "sum" or "none".
    log_target : bool
        Whether targets are log-probabilities, too.

    Examples
    --------
    >>> import numpy as np
    >>> from pyfast import nn
    >>> p = np.array([[0.25, 0.75]])
    >>> float(nn.KLDivLoss("batchmean")(np.log(p), p))
    0.0
    """

    _op = "kl_div"
    _settings = ("reduction", "log_target")

    def __init__(self, reduction: str = "mean", log_target: bool = False) -> None:
        super().__init__(reduction)
        self.log_target = log_target


class _WeightedLoss(_Loss):
    weight: Tensor | None

    def __init__(self, weight: Any = None, reduction: str = "mean") -> None:
        super().__init__(reduction)
        self.register_buffer("weight", weight)


class CrossEntropyLoss(_WeightedLoss):
    """Cross-entropy of logits with class labels or class probabilities.

    Parameters
    ----------
    weight : array of shape (C,), optional
        Of each class.
    ignore_index : int
        The label that counts for nothing.
    reduction : str
        "mean", "sum" or "none".
    label_smoothing : float
        Share of the target that is spread over all classes.

    Examples
    --------
    >>> import numpy as np
    >>> from pyfast import nn
    >>> loss = nn.CrossEntropyLoss()(np.zeros((1, 2)), np.array([1]))
    >>> round(float(loss), 4)
    0.6931
    """

    def __init__(
        self,
        weight: Any = None,
        ignore_index: int = -100,
        reduction: str = "mean",
        label_smoothing: float = 0.0,
    ) -> None:
        super().__init__(weight, reduction)
        self.ignore_index = ignore_index
        self.label_smoothing = label_smoothing

    def forward(self, input: Any, target: Any) -> Any:
        """Compute the loss.

        Parameters
        ----------
        input : array of shape (N, C, *) or (C,)
        target : integers of shape (N, *), or probabilities of the shape of `input`

        Returns
        -------
        array of shape (), or (N, *) without a reduction
        """
        return ops.cross_entropy(
            input,
            target,
            self.weight,
            ignore_index=self.ignore_index,
            reduction=self.reduction,
            label_smoothing=self.label_smoothing,
        )


class NLLLoss(_WeightedLoss):
    """Negative log-likelihood of class labels under predicted log-probabilities.

    Parameters
    ----------
    weight : array of shape (C,), optional
        Of each class.
    ignore_index : int
        The label that counts for nothing.
    reduction : str
        "mean", "sum" or "none".

    Examples
    --------
    >>> import numpy as np
    >>> from pyfast import nn
    >>> float(nn.NLLLoss()(np.array([[-1.0, -2.0]]), np.array([1])))
    2.0
    """

    def __init__(
        self, weight: Any = None, ignore_index: int = -100, reduction: str = "mean"
    ) -> None:
        super().__init__(weight, reduction)
        self.ignore_index = ignore_index

    def forward(self, input: Any, target: Any) -> Any:
        """Compute the loss.

        Parameters
        ----------
        input : array of shape (N, C, *) or (C,)
        target : integers of shape (N, *)

        Returns
        -------
        array of shape (), or (N, *) without a reduction
        """
        return ops.nll_loss(
            input,
            target,
            self.weight,
            ignore_index=self.ignore_index,
            reduction=self.reduction,
        )


class BCELoss(_WeightedLoss):
    """Cross-entropy of probabilities with targets in [0, 1].

    Parameters
    ----------
    weight : array, optional
        Broadcast to the input.
    reduction : str
        "mean", "sum" or "none".

    Examples
    --------
    >>> import numpy as np
    >>> from pyfast import nn
    >>> round(float(nn.BCELoss()(np.array([0.5]), np.array([1.0]))), 4)
    0.6931
    """

    _op = "binary_cross_entropy"
    _settings = ("weight", "reduction")


class BCEWithLogitsLoss(_WeightedLoss):
    """Cross-entropy of logits with targets in [0, 1], sigmoid included.

    Parameters
    ----------
    weight : array, optional
        Broadcast to the input.
    reduction : str
        "mean", "sum" or "none".
    pos_weight : array, optional
        Of the positive targets.

    Examples
    --------
    >>> import numpy as np
    >>> from pyfast import nn
    >>> round(float(nn.BCEWithLogitsLoss()(np.array([0.0]), np.array([1.0]))), 4)
    0.6931
    """

    _op = "binary_cross_entropy_with_logits"
    _settings = ("weight", "reduction", "pos_weight")
    pos_weight: Tensor | None

    def __init__(self, weight: Any = None, reduction: str = "mean", pos_weight: Any = None) -> None:
        super().__init__(weight, reduction)
        self.register_buffer("pos_weight", pos_weight)
