"""Layers of a model prepared for inference: what :func:`pyfast.fuse` makes of its layers.

A layer becomes another in place, its class exchanged, because a model may hold it in several ways
(attribute, list, closure) and all of them must see the same.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from .. import _core
from .._tensor import Tensor
from ..autograd import is_grad_enabled, wrap
from .attention import GroupedQueryAttention, MultiheadAttention
from .container import Sequential
from .conv import Conv1d, Conv2d
from .embedding import Embedding
from .epilogue import apply_named, fused_name
from .linear import Identity, Linear
from .module import Module
from .norm import BatchNorm1d, BatchNorm2d
from .parameter import Parameter

__all__ = [
    "FusedConv1d",
    "FusedConv2d",
    "FusedEmbedding",
    "FusedGroupedQueryAttention",
    "FusedLinear",
    "FusedMultiheadAttention",
    "PendingSum",
    "SealedSequential",
    "absorb_activation",
    "absorb_sum",
    "batch_ndim",
    "fold_batch_norm",
    "pack",
]

Layer = Conv1d | Conv2d | Linear
BatchNorm = BatchNorm1d | BatchNorm2d


class _Folded(Module):
    """A layer that may hold a batch norm: then it has that one's demands on mode and input."""

    folded_ndim: int | None = None  # dimensions of a batch; None where nothing was folded

    def _check_folded(self, input: Any) -> None:
        if self.folded_ndim is None:
            return
        name = type(self).__name__
        if self.training:
            raise RuntimeError(
                f"{name}: batch norm was folded into it for inference; call eval(), or train the "
                "original model and fuse it anew"
            )
        if np.ndim(input) != self.folded_ndim:
            raise ValueError(
                f"{name}: input must have {self.folded_ndim} dimensions, the batch norm folded "
                f"into it takes batches, got {np.ndim(input)}"
            )


class _Packed(_Folded):
    """A layer whose constant weight is packed once."""

    _packed_name = "weight"  # the parameter's
    _packed: Any = None
    _packed_from: Any = None  # the array that was packed; load_state_dict cannot write into it

    def _make_packed(self, weight: np.ndarray[Any, Any]) -> Any:
        return _core.PackedWeight(weight)

    def _source(self) -> np.ndarray[Any, Any]:
        array: np.ndarray[Any, Any] = self._parameters[self._packed_name]._data  # type: ignore[union-attr]
        return array

    def _pack(self) -> Any:
        source = self._source()
        if self._packed_from is not source:
            object.__setattr__(self, "_packed", self._make_packed(source))
            object.__setattr__(self, "_packed_from", source)
        return self._packed

    def _constant(self) -> bool:
        # whoever made the weight writable may change it behind our back
        source = self._source()
        return source.size > 0 and not source.flags.writeable

    def _packed_linear(self, input: Any, bias: Any, activation: str | None = None) -> Any:
        """The product with the packed weight; None where the usual way must be taken."""
        array = _plain(input)
        if array is None or array.ndim == 0 or not self._constant():
            return None
        bias = None if bias is None else bias._data
        return wrap(_core.linear_packed(array, self._pack(), bias, activation))

    def __getstate__(self) -> dict[str, Any]:
        """All but the panels, which are made anew when they are needed."""
        return {k: v for k, v in self.__dict__.items() if not k.startswith("_packed")}

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Take a pickled or copied state, its weight as constant as it was."""
        self.__dict__.update(state)
        self._source().flags.writeable = False


class _FusedConv(_Packed):
    """What FusedConv1d and FusedConv2d share."""

    groups: int
    activation: str | None
    awaits_sum = False  # its output is added to an array, and goes nowhere else
    sum_activation: str | None = None  # behind that addition

    def _make_packed(self, weight: np.ndarray[Any, Any]) -> Any:
        return _core.PackedConvWeight(weight, self.groups)

    def _forward(self, input: Any, usual: Callable[[Any], Any]) -> Any:
        self._check_folded(input)
        array = _plain(input)
        if array is None or not self._constant():
            array = _on_gpu(input)
        if array is None:
            output = usual(input)
            return PendingSum(self, output) if self.sum_activation else output
        return PendingSum(self, array) if self.awaits_sum else wrap(self._run(array))

    def _run(self, array: Any, residual: Any = None) -> Any:
        """activation(conv + residual), with the sum's activation where there is a residual."""

        def fused(
            x: Any, w: Any, b: Any, stride: Any, pad: Any, dilation: Any, groups: int, **last: Any
        ) -> Any:
            act = last["activation"] if residual is None else self.sum_activation
            b = None if b is None else b.data
            if type(x) is np.ndarray:
                return _core.conv_packed(x, self._pack(), b, stride, pad, dilation, act, residual)
            from ..cuda import frameworks

            name = f"conv{self.rank}d_fused"  # type: ignore[attr-defined]
            kernel = getattr(frameworks.kernels_of(x, name), name)
            return kernel(x, w.data, b, None, residual, stride, pad, dilation, groups, act)

        return self._apply(fused, array)  # type: ignore[attr-defined]


class PendingSum(Tensor):
    """A convolution's output, not yet computed: what is added to it becomes part of it.

    :func:`pyfast.fuse` has seen that the output goes into an addition and nowhere else. Anything
    else that is done with it has it computed, unless the addition's activation was absorbed, too.

    Parameters
    ----------
    layer : FusedConv1d or FusedConv2d
    source : ndarray or Tensor
        The layer's input; a Tensor: its output, on the tape.
    """

    __slots__ = ("_layer", "_source", "_values")

    def __init__(self, layer: Any, source: Any) -> None:
        self._layer, self._source, self._values = layer, source, None
        self._grad = self._hooks = self._node = None
        self._index = 0
        self._requires_grad = False

    @property
    def _data(self) -> Any:
        if self._layer.sum_activation is not None:
            raise RuntimeError(
                f"pyfast.fuse: the output of {type(self._layer).__name__} was added to another "
                "array in the example that the model was fused with, and is not now; fuse it with "
                "an example that takes this way"
            )
        if self._values is None:
            self._values = self._layer._run(self._source)
        return self._values

    @_data.setter
    def _data(self, value: Any) -> None:
        self._values = value

    def __add__(self, other: Any) -> Any:
        """The sum, with the activation behind it."""
        layer, source = self._layer, self._source
        residual = _plain(other) if type(source) is np.ndarray else _on_gpu(other)
        if self._values is not None or isinstance(source, Tensor) or residual is None:
            return self._add_later(other)
        try:
            return Tensor(layer._run(source, residual))
        except (TypeError, ValueError):  # broadcast, or of another dtype
            return self._add_later(other)

    __radd__ = __iadd__ = __add__

    def __array_ufunc__(self, ufunc: Any, method: str, *inputs: Any, **options: Any) -> Any:
        """``array + self``, which NumPy sees first."""
        if ufunc is np.add and method == "__call__" and not options:
            return self + inputs[inputs[0] is self]
        return super().__array_ufunc__(ufunc, method, *inputs, **options)

    def _add_later(self, other: Any) -> Any:
        layer, source = self._layer, self._source
        if self._values is not None:
            value = Tensor(self._values)
        else:
            value = source if isinstance(source, Tensor) else Tensor(layer._run(source))
        total = value + (Tensor(other._data) if isinstance(other, PendingSum) else other)
        return apply_named(layer.sum_activation, total)


class FusedConv1d(_FusedConv, Conv1d):
    """A Conv1d with a packed weight, perhaps a batch norm in it; :func:`pyfast.fuse` makes it."""

    def forward(self, input: Any) -> Any:
        """Apply the layer.

        Parameters
        ----------
        input : array of shape (N, in_channels, L)

        Returns
        -------
        array of shape (N, out_channels, L_out)
        """
        return self._forward(input, super().forward)


class FusedConv2d(_FusedConv, Conv2d):
    """A Conv2d with a packed weight, perhaps a batch norm in it; :func:`pyfast.fuse` makes it."""

    def forward(self, input: Any) -> Any:
        """Apply the layer.

        Parameters
        ----------
        input : array of shape (N, in_channels, H, W)

        Returns
        -------
        array of shape (N, out_channels, H_out, W_out)
        """
        return self._forward(input, super().forward)


class FusedLinear(_Packed, Linear):
    """A Linear with a packed weight, perhaps a batch norm in it; :func:`pyfast.fuse` makes it."""

    def forward(self, input: Any) -> Any:
        """Apply the layer.

        Parameters
        ----------
        input : array of shape (..., in_features)

        Returns
        -------
        array of shape (..., out_features)
        """
        self._check_folded(input)
        output = self._packed_linear(input, self.bias, self.activation)
        return super().forward(input) if output is None else output


class FusedGroupedQueryAttention(_Packed, GroupedQueryAttention):
    """A GroupedQueryAttention with a packed projection; :func:`pyfast.fuse` makes it."""

    _packed_name = "in_proj_weight"

    def _projected(self, input: Any) -> Any:
        output = self._packed_linear(input, self.in_proj_bias)
        return super()._projected(input) if output is None else output


class FusedMultiheadAttention(_Packed, MultiheadAttention):
    """A MultiheadAttention with a packed projection; :func:`pyfast.fuse` makes it.

    It is packed as a whole, for self-attention. Attention to something else reads the parts of the
    weight where they lie.
    """

    _packed_name = "in_proj_weight"

    def _part(self, x: Any, first: int, last: int) -> Any:
        output = self._packed_linear(x, self.in_proj_bias) if last - first == 3 else None
        return super()._part(x, first, last) if output is None else output


class FusedEmbedding(_Packed, Embedding):
    """An Embedding whose table is packed when it is first multiplied by.

    :func:`pyfast.fuse` makes it.
    """

    def project(self, input: Any) -> Any:
        """Multiply by the table.

        Parameters
        ----------
        input : array of shape (..., embedding_dim)

        Returns
        -------
        array of shape (..., num_embeddings)
        """
        output = self._packed_linear(input, None)
        return super().project(input) if output is None else output


class SealedSequential(Sequential):
    """A Sequential whose members were fused with each other: usable only as a whole."""

    def _refuse(self) -> Any:
        raise RuntimeError(
            "pyfast.fuse: forward takes this Sequential apart, but its members were fused with "
            "each other; give pf.fuse example inputs, so that it sees how they are used"
        )

    def __iter__(self) -> Any:
        self._refuse()

    def __getitem__(self, index: Any) -> Any:
        self._refuse()


def _plain(input: Any) -> np.ndarray[Any, Any] | None:
    """The array behind an input without a gradient; None for what the usual way must handle.

    Panels are packed for the CPU: arrays on a GPU are none of these.
    """
    array = _without_gradient(input)
    return array if type(array) is np.ndarray else None


def _on_gpu(input: Any) -> Any:
    """The array on a GPU behind an input without a gradient; else None."""
    array = _without_gradient(input)
    if array is None or type(array) is np.ndarray:
        return None
    from ..cuda.frameworks import is_cuda

    return array if is_cuda(array) else None


def _without_gradient(input: Any) -> Any:
    if not isinstance(input, Tensor):
        return input
    return None if input.requires_grad and is_grad_enabled() else input.data


def _become(module: Module, cls: type[Module]) -> None:
    module.__class__ = cls


def _vanish(module: Module) -> None:
    """Make an absorbed module pass its input on."""
    for kind in (module._parameters, module._buffers):
        for name in list(kind):
            delattr(module, name)
    _become(module, Identity)


def batch_ndim(layer: Layer) -> int:
    """How many dimensions a batch of a layer's outputs has whose second axis are the channels.

    Parameters
    ----------
    layer : Conv1d, Conv2d or Linear

    Returns
    -------
    int
    """
    return 2 if isinstance(layer, Linear) else layer.rank + 2


def absorb_sum(layer: Conv1d | Conv2d, activation: Module | None) -> bool:
    """Have a convolution add what is added to its output, in place, and apply what stands behind.

    Parameters
    ----------
    layer : Conv1d or Conv2d
        Its output is added to one array and goes nowhere else.
    activation : Module or None
        What alone takes the sum.

    Returns
    -------
    bool
        False, and nothing is changed, if the layer cannot.

    Examples
    --------
    >>> import numpy as np
    >>> from pyfast import nn
    >>> layer, relu = nn.Conv2d(1, 2, 3), nn.ReLU()
    >>> absorb_sum(layer, relu), layer.sum_activation, relu
    (True, 'relu', Identity())
    """
    name = None if activation is None else fused_name(activation)
    if type(layer) not in (Conv1d, Conv2d, FusedConv1d, FusedConv2d) or layer.activation:
        return False
    if activation is not None and name is None:
        return False
    _become(layer, FusedConv1d if isinstance(layer, Conv1d) else FusedConv2d)
    object.__setattr__(layer, "awaits_sum", True)
    object.__setattr__(layer, "sum_activation", name)
    if activation is not None:
        _vanish(activation)
    return True


def absorb_activation(layer: Module, activation: Module) -> bool:
    """Have a layer apply the activation behind it, in place.

    Parameters
    ----------
    layer : Conv1d, Conv2d, Linear or batch norm
    activation : Module

    Returns
    -------
    bool
        False, and nothing is changed, if the layer cannot.

    Examples
    --------
    >>> from pyfast import nn
    >>> layer, relu = nn.Linear(2, 2), nn.ReLU()
    >>> absorb_activation(layer, relu), layer.activation, relu
    (True, 'relu', Identity())
    """
    name = fused_name(activation)
    if name is None or getattr(layer, "activation", "") is not None:
        return False
    layer.activation = name
    _vanish(activation)
    return True


def fold_batch_norm(layer: Layer, norm: BatchNorm) -> bool:
    r"""Fold the batch norm behind a layer into its weight and bias, in place.

    .. math:: W' = s W, \; b' = s (b - \mu) + \beta, \; s = \gamma / \sqrt{\sigma^2 + \epsilon}

    in float64, rounded once (Jacob et al., CVPR 2018, section 3.2).

    Parameters
    ----------
    layer : Conv1d, Conv2d or Linear
    norm : BatchNorm1d or BatchNorm2d

    Returns
    -------
    bool
        False, and nothing is changed, if they do not fit: an activation between them, batch
        statistics, other channels or dtype, or a result that is not finite.

    Examples
    --------
    >>> from pyfast import nn
    >>> layer, norm = nn.Conv2d(1, 2, 3).eval(), nn.BatchNorm2d(2).eval()
    >>> fold_batch_norm(layer, norm), norm
    (True, Identity())
    """
    if not _fits(layer, norm):
        return False
    weight, bias = _folded(layer, norm)
    dtype = layer.weight.dtype
    with np.errstate(over="ignore"):
        new = weight.astype(dtype), bias.astype(dtype)
    if not all(np.isfinite(a).all() for a in new):
        return False
    layer.weight = Parameter(new[0])
    layer.register_parameter("bias", Parameter(new[1]))
    layer.activation = norm.activation
    _become(layer, _FUSED[type(layer)])
    object.__setattr__(layer, "folded_ndim", batch_ndim(layer))
    _vanish(norm)
    return True


_FUSED: dict[type[Module], type[_Folded]] = {
    Conv1d: FusedConv1d,
    Conv2d: FusedConv2d,
    Linear: FusedLinear,
}
_PACKED: dict[type[Module], type[_Packed]] = {
    Embedding: FusedEmbedding,
    GroupedQueryAttention: FusedGroupedQueryAttention,
    MultiheadAttention: FusedMultiheadAttention,
}


def _fits(layer: Layer, norm: BatchNorm) -> bool:
    behind = BatchNorm2d if type(layer) is Conv2d else BatchNorm1d
    return (
        type(layer) in _FUSED
        and type(norm) is behind
        and layer.activation is None
        and norm.running_mean is not None
        and norm.num_features == layer.weight.shape[0]
        and norm.running_mean.dtype == layer.weight.dtype
    )


def _folded(layer: Layer, norm: BatchNorm) -> tuple[Any, Any]:
    """Weight and bias in float64."""

    def exact(tensor: Tensor | None, default: float) -> Any:
        return default if tensor is None else tensor.data.astype(np.float64)

    with np.errstate(all="ignore"):
        scale = exact(norm.weight, 1.0) / np.sqrt(exact(norm.running_var, 1.0) + norm.eps)
        bias = scale * (exact(layer.bias, 0.0) - exact(norm.running_mean, 0.0))
        weight = exact(layer.weight, 0.0)
        weight = weight * scale.reshape(-1, *[1] * (weight.ndim - 1))
        return weight, bias + exact(norm.bias, 0.0)


def pack(layer: Module) -> None:
    """Have a layer keep its weight as its kernels read it, in place.

    Parameters
    ----------
    layer : Module
        A Linear, Conv1d, Conv2d, attention layer, or Embedding without `max_norm`; anything else is
        left as it is.

    Examples
    --------
    >>> from pyfast import nn
    >>> layer = nn.Linear(2, 2)
    >>> pack(layer)
    >>> type(layer).__name__
    'FusedLinear'
    """
    if isinstance(layer, MultiheadAttention) and layer.in_proj_weight is None:
        return
    if isinstance(layer, Embedding) and layer.max_norm is not None:  # it changes its own table
        return
    if (fused := _FUSED.get(type(layer)) or _PACKED.get(type(layer))) is not None:
        _become(layer, fused)
