"""Normalisation layers."""

from __future__ import annotations

import operator
from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np

from .. import ops
from .._tensor import Tensor
from . import init
from .module import Module
from .parameter import Parameter

__all__ = [
    "BatchNorm1d",
    "BatchNorm2d",
    "GroupNorm",
    "InstanceNorm1d",
    "InstanceNorm2d",
    "LayerNorm",
    "RMSNorm",
]


class _RunningNorm(Module):
    """Affine parameters and running statistics of batch and instance norm."""

    ranks: ClassVar[tuple[int, ...]]
    weight: Parameter | None
    bias: Parameter | None
    running_mean: Tensor | None
    running_var: Tensor | None
    num_batches_tracked: Tensor | None

    def __init__(
        self,
        num_features: int,
        eps: float,
        momentum: float | None,
        affine: bool,
        track_running_stats: bool,
        bias: bool,
        dtype: Any,
    ) -> None:
        super().__init__()
        self.num_features = num_features
        self.eps = eps
        self.momentum = momentum
        self.affine = affine
        self.track_running_stats = track_running_stats
        n = num_features
        self.register_parameter("weight", Parameter(np.empty(n, dtype)) if affine else None)
        has_bias = affine and bias
        self.register_parameter("bias", Parameter(np.empty(n, dtype)) if has_bias else None)
        track = track_running_stats
        self.register_buffer("running_mean", np.zeros(n, dtype) if track else None)
        self.register_buffer("running_var", np.ones(n, dtype) if track else None)
        self.register_buffer("num_batches_tracked", np.array(0) if track else None)
        self.reset_parameters()

    def reset_running_stats(self) -> None:
        """Set the running mean to 0, the running variance to 1 and the count to 0."""
        if self.running_mean is not None and self.running_var is not None:
            self.running_mean.zero_()
            self.running_var.fill_(1)
        if self.num_batches_tracked is not None:
            self.num_batches_tracked.zero_()

    def reset_parameters(self) -> None:
        """Forget the statistics; weight becomes 1, bias 0."""
        self.reset_running_stats()
        if self.weight is not None:
            init.ones_(self.weight)
        if self.bias is not None:
            init.zeros_(self.bias)

    def _check(self, input: Any) -> None:
        if np.ndim(input) not in self.ranks:
            raise ValueError(
                f"{type(self).__name__}: input must have {' or '.join(map(str, self.ranks))} "
                f"dimensions, got {np.ndim(input)}"
            )

    def _statistics(self) -> tuple[Any, Any]:
        """The arrays that the op reads, or updates in place."""
        if self.running_mean is None or self.running_var is None:
            return None, None
        return self.running_mean.data, self.running_var.data

    def extra_repr(self) -> str:
        """The layer's settings."""
        return (
            f"{self.num_features}, eps={self.eps}, momentum={self.momentum}, "
            f"affine={self.affine}, bias={self.bias is not None}, "
            f"track_running_stats={self.track_running_stats}"
        )


class _BatchNorm(_RunningNorm):
    def __init__(
        self,
        num_features: int,
        eps: float = 1e-5,
        momentum: float | None = 0.1,
        affine: bool = True,
        track_running_stats: bool = True,
        *,
        bias: bool = True,
        activation: str | None = None,
        dtype: Any = np.float32,
    ) -> None:
        super().__init__(num_features, eps, momentum, affine, track_running_stats, bias, dtype)
        self.activation = activation

    def _count(self) -> float:
        """Count a training batch; the momentum that it gets."""
        if self.num_batches_tracked is None:
            return 0.0 if self.momentum is None else self.momentum
        self.num_batches_tracked.data[...] += 1
        if self.momentum is None:
            return 1.0 / self.num_batches_tracked.item()
        return self.momentum

    def forward(self, input: Any) -> Any:
        """Normalise each channel over the batch, or by the running statistics.

        Parameters
        ----------
        input : array of shape (N, num_features, *spatial)

        Returns
        -------
        array of the shape of `input`

        Raises
        ------
        ValueError
            For another number of dimensions, or if there is one value a channel in training.
        """
        return self._forward_activated(input, self.activation)

    def _forward_activated(self, input: Any, activation: str | None) -> Any:
        self._check(input)
        mean, variance = self._statistics()
        training = self.training or mean is None
        momentum = self._count() if self.training else 0.0
        return ops.batch_norm(
            input,
            mean,
            variance,
            self.weight,
            self.bias,
            training,
            momentum,
            self.eps,
            activation=activation,
        )

    def extra_repr(self) -> str:
        """The layer's settings."""
        fused = f", activation={self.activation}" if self.activation else ""
        return super().extra_repr() + fused


class BatchNorm1d(_BatchNorm):
    """Batch normalisation of (N, C) or (N, C, L) inputs.

    In training by the batch's mean and variance, which also move the running statistics; in
    evaluation by those (Ioffe and Szegedy, ICML 2015, algorithms 1 and 2).

    Parameters
    ----------
    num_features : int
    eps : float
        Added to the variance.
    momentum : float or None
        Weight of the newest batch in the running statistics; None: their plain mean so far.
    affine : bool
        Whether there is a weight.
    track_running_stats : bool
        False: batch statistics in evaluation, too.
    bias : bool
        Whether there is a bias beside the weight.
    activation : str, optional
        Fused: "relu", ...
    dtype : dtype

    Attributes
    ----------
    weight, bias : Parameter of shape (num_features,), or None
    running_mean, running_var : Tensor of shape (num_features,), or None
    num_batches_tracked : Tensor of shape (), int64, or None

    Examples
    --------
    >>> import numpy as np
    >>> from pyfast import nn
    >>> nn.BatchNorm1d(3)(np.zeros((4, 3), np.float32)).shape
    (4, 3)
    """

    ranks = (2, 3)


class BatchNorm2d(_BatchNorm):
    """Batch normalisation of (N, C, H, W) inputs; see :class:`BatchNorm1d`.

    Parameters
    ----------
    num_features : int
    eps : float
        Added to the variance.
    momentum : float or None
        Weight of the newest batch in the running statistics; None: their plain mean so far.
    affine : bool
        Whether there is a weight.
    track_running_stats : bool
        False: batch statistics in evaluation, too.
    bias : bool
        Whether there is a bias beside the weight.
    activation : str, optional
        Fused: "relu", ...
    dtype : dtype

    Attributes
    ----------
    weight, bias : Parameter of shape (num_features,), or None
    running_mean, running_var : Tensor of shape (num_features,), or None
    num_batches_tracked : Tensor of shape (), int64, or None

    Examples
    --------
    >>> import numpy as np
    >>> from pyfast import nn
    >>> nn.BatchNorm2d(3)(np.zeros((4, 3, 2, 2), np.float32)).shape
    (4, 3, 2, 2)
    """

    ranks = (4,)


class _InstanceNorm(_RunningNorm):
    def __init__(
        self,
        num_features: int,
        eps: float = 1e-5,
        momentum: float = 0.1,
        affine: bool = False,
        track_running_stats: bool = False,
        *,
        bias: bool = True,
        dtype: Any = np.float32,
    ) -> None:
        super().__init__(num_features, eps, momentum, affine, track_running_stats, bias, dtype)

    def forward(self, input: Any) -> Any:
        """Normalise each channel of each sample.

        Parameters
        ----------
        input : array of shape (N, num_features, *spatial) or (num_features, *spatial)

        Returns
        -------
        array of the shape of `input`

        Raises
        ------
        ValueError
            For another number of dimensions, or if there is one value a channel in training.
        """
        self._check(input)
        single = np.ndim(input) == self.ranks[0]
        batch = input[None] if single else input
        mean, variance = self._statistics()
        by_input = self.training or mean is None
        momentum = 0.0 if self.momentum is None else self.momentum
        affine = (self.weight, self.bias)
        output = ops.instance_norm(batch, mean, variance, *affine, by_input, momentum, self.eps)
        return output[0] if single else output


class InstanceNorm1d(_InstanceNorm):
    """Instance normalisation of (N, C, L) or (C, L) inputs.

    Each channel of each sample by its own mean and variance (Ulyanov et al., 2016).

    Parameters
    ----------
    num_features : int
    eps : float
        Added to the variance.
    momentum : float
        Weight of the newest batch in the running statistics.
    affine : bool
        Whether there is a weight.
    track_running_stats : bool
        Keep running statistics and use them in evaluation.
    bias : bool
        Whether there is a bias beside the weight.
    dtype : dtype

    Examples
    --------
    >>> import numpy as np
    >>> from pyfast import nn
    >>> nn.InstanceNorm1d(3)(np.zeros((2, 3, 5), np.float32)).shape
    (2, 3, 5)
    """

    ranks = (2, 3)


class InstanceNorm2d(_InstanceNorm):
    """Instance normalisation of (N, C, H, W) or (C, H, W) inputs; see :class:`InstanceNorm1d`.

    Parameters
    ----------
    num_features : int
    eps : float
        Added to the variance.
    momentum : float
        Weight of the newest batch in the running statistics.
    affine : bool
        Whether there is a weight.
    track_running_stats : bool
        Keep running statistics and use them in evaluation.
    bias : bool
        Whether there is a bias beside the weight.
    dtype : dtype

    Examples
    --------
    >>> import numpy as np
    >>> from pyfast import nn
    >>> nn.InstanceNorm2d(3)(np.zeros((2, 3, 5, 5), np.float32)).shape
    (2, 3, 5, 5)
    """

    ranks = (3, 4)


def _shape(normalized_shape: int | Sequence[int]) -> tuple[int, ...]:
    if isinstance(normalized_shape, Sequence):
        return tuple(map(operator.index, normalized_shape))
    return (operator.index(normalized_shape),)


class LayerNorm(Module):
    """Normalisation over the last axes of each sample (Ba, Kiros and Hinton, 2016).

    Parameters
    ----------
    normalized_shape : int or sequence of int
        Lengths of the last axes.
    eps : float
        Added to the variance.
    elementwise_affine : bool
        Whether there is a weight.
    bias : bool
        Whether there is a bias beside it.
    dtype : dtype

    Attributes
    ----------
    weight, bias : Parameter of shape `normalized_shape`, or None

    Examples
    --------
    >>> import numpy as np
    >>> from pyfast import nn
    >>> nn.LayerNorm(4)(np.zeros((2, 3, 4), np.float32)).shape
    (2, 3, 4)
    """

    weight: Parameter | None
    bias: Parameter | None

    def __init__(
        self,
        normalized_shape: int | Sequence[int],
        eps: float = 1e-5,
        elementwise_affine: bool = True,
        bias: bool = True,
        dtype: Any = np.float32,
    ) -> None:
        super().__init__()
        self.normalized_shape = shape = _shape(normalized_shape)
        self.eps = eps
        self.elementwise_affine = elementwise_affine
        has_bias = elementwise_affine and bias
        weight = Parameter(np.ones(shape, dtype)) if elementwise_affine else None
        self.register_parameter("weight", weight)
        self.register_parameter("bias", Parameter(np.zeros(shape, dtype)) if has_bias else None)

    def reset_parameters(self) -> None:
        """Weight becomes 1, bias 0."""
        if self.weight is not None:
            init.ones_(self.weight)
        if self.bias is not None:
            init.zeros_(self.bias)

    def forward(self, input: Any) -> Any:
        """Normalise.

        Parameters
        ----------
        input : array of shape (*, *normalized_shape)

        Returns
        -------
        array of the shape of `input`
        """
        return ops.layer_norm(input, self.normalized_shape, self.weight, self.bias, self.eps)

    def extra_repr(self) -> str:
        """The layer's settings."""
        affine = f"elementwise_affine={self.elementwise_affine}, bias={self.bias is not None}"
        return f"{self.normalized_shape}, eps={self.eps}, {affine}"


class RMSNorm(Module):
    """Division by the root mean square over the last axes (Zhang and Sennrich, NeurIPS 2019).

    Parameters
    ----------
    normalized_shape : int or sequence of int
        Lengths of the last axes.
    eps : float, optional
        Added to the mean square; the dtype's epsilon by default.
    elementwise_affine : bool
        Whether there is a weight.
    dtype : dtype

    Attributes
    ----------
    weight : Parameter of shape `normalized_shape`, or None

    Examples
    --------
    >>> import numpy as np
    >>> from pyfast import nn
    >>> nn.RMSNorm(4)(np.zeros((2, 4), np.float32)).shape
    (2, 4)
    """

    weight: Parameter | None

    def __init__(
        self,
        normalized_shape: int | Sequence[int],
        eps: float | None = None,
        elementwise_affine: bool = True,
        dtype: Any = np.float32,
    ) -> None:
        super().__init__()
        self.normalized_shape = _shape(normalized_shape)
        self.eps = eps
        self.elementwise_affine = elementwise_affine
        weight = Parameter(np.ones(self.normalized_shape, dtype)) if elementwise_affine else None
        self.register_parameter("weight", weight)

    def reset_parameters(self) -> None:
        """Weight becomes 1."""
        if self.weight is not None:
            init.ones_(self.weight)

    def forward(self, input: Any) -> Any:
        """Normalise.

        Parameters
        ----------
        input : array of shape (*, *normalized_shape)

        Returns
        -------
        array of the shape of `input`
        """
        return ops.rms_norm(input, self.normalized_shape, self.weight, self.eps)

    def extra_repr(self) -> str:
        """The layer's settings."""
        affine = f"elementwise_affine={self.elementwise_affine}"
        return f"{self.normalized_shape}, eps={self.eps}, {affine}"


class GroupNorm(Module):
    """Normalisation over groups of channels of each sample (Wu and He, ECCV 2018).

    Parameters
    ----------
    num_groups, num_channels : int
    eps : float
        Added to the variance.
    affine : bool
        Whether there is a weight.
    bias : bool
        Whether there is a bias beside it.
    dtype : dtype

    Attributes
    ----------
    weight, bias : Parameter of shape (num_channels,), or None

    Raises
    ------
    ValueError
        If `num_groups` does not divide `num_channels`.

    Examples
    --------
    >>> import numpy as np
    >>> from pyfast import nn
    >>> nn.GroupNorm(2, 6)(np.zeros((3, 6, 4, 4), np.float32)).shape
    (3, 6, 4, 4)
    """

    weight: Parameter | None
    bias: Parameter | None

    def __init__(
        self,
        num_groups: int,
        num_channels: int,
        eps: float = 1e-5,
        affine: bool = True,
        *,
        bias: bool = True,
        dtype: Any = np.float32,
    ) -> None:
        super().__init__()
        if num_groups < 1 or num_channels % num_groups:
            raise ValueError(
                f"GroupNorm: num_groups must divide {num_channels} channels, got {num_groups}"
            )
        self.num_groups = num_groups
        self.num_channels = num_channels
        self.eps = eps
        self.affine = affine
        ones, zeros = np.ones(num_channels, dtype), np.zeros(num_channels, dtype)
        self.register_parameter("weight", Parameter(ones) if affine else None)
        self.register_parameter("bias", Parameter(zeros) if affine and bias else None)

    def reset_parameters(self) -> None:
        """Weight becomes 1, bias 0."""
        if self.weight is not None:
            init.ones_(self.weight)
        if self.bias is not None:
            init.zeros_(self.bias)

    def forward(self, input: Any) -> Any:
        """Normalise.

        Parameters
        ----------
        input : array of shape (N, num_channels, *)

        Returns
        -------
        array of the shape of `input`
        """
        return ops.group_norm(input, self.num_groups, self.weight, self.bias, self.eps)

    def extra_repr(self) -> str:
        """The layer's settings."""
        affine = f"affine={self.affine}, bias={self.bias is not None}"
        return f"{self.num_groups}, {self.num_channels}, eps={self.eps}, {affine}"
