"""The Transformer: encoder and decoder layers, their stacks, and both together.

Vaswani et al., "Attention is all you need", 2017. With `norm_first` the norms stand before each
sublayer (Xiong et al., "On layer normalization in the Transformer architecture", ICML 2020).

Names, arguments, defaults and state are PyTorch's; masks too: True = ignore.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from .. import ops
from .._tensor import Tensor
from ..autograd import Variable
from . import init
from .attention import MultiheadAttention
from .container import ModuleList
from .dropout import Dropout
from .linear import Linear
from .module import Module
from .norm import LayerNorm

__all__ = [
    "Transformer",
    "TransformerDecoder",
    "TransformerDecoderLayer",
    "TransformerEncoder",
    "TransformerEncoderLayer",
]

Activation = str | Callable[[Any], Any]
_FUSED = ("relu", "gelu", "gelu_tanh", "silu")  # what linear applies behind its product


class _Layer(Module):
    """What both kinds of layer share: the feed-forward network and the order of norm and sum."""

    linear1: Linear
    linear2: Linear
    dropout: Dropout

    def _build_feed_forward(
        self,
        d_model: int,
        dim_feedforward: int,
        dropout: float,
        activation: Activation,
        bias: bool,
        dtype: Any,
    ) -> None:
        if not callable(activation) and activation not in _FUSED:
            known = ", ".join(map(repr, _FUSED))
            raise ValueError(
                f"{type(self).__name__}: activation must be {known} or callable, got {activation!r}"
            )
        for name in _FUSED:  # ops.relu is as good as "relu"
            if activation is getattr(ops, name, None):
                activation = name
        fused = activation if isinstance(activation, str) else None
        self.linear1 = Linear(d_model, dim_feedforward, bias, activation=fused, dtype=dtype)
        self.dropout = Dropout(dropout)
        self.linear2 = Linear(dim_feedforward, d_model, bias, dtype=dtype)
        self.activation = None if fused else activation

    def _feed_forward(self, x: Any) -> Any:
        x = self.linear1(x)
        if self.activation is not None:
            x = self.activation(x)  # type: ignore[operator]  # a callable: checked above
        return self.linear2(self.dropout(x))

    norm_first: bool

    def _sublayer(self, x: Any, norm: Any, dropout: Dropout, function: Callable[[Any], Any]) -> Any:
        """The sum of x and function(norm(x)); or of x and function(x), normalised."""
        if self.norm_first:
            return x + dropout(function(norm(x)))
        return norm(x + dropout(function(x)))


class TransformerEncoderLayer(_Layer):
    """Self-attention and a feed-forward network, each added to its input and normalised.

    Parameters
    ----------
    d_model : int
        Width of inputs and outputs.
    nhead : int
        Attention heads.
    dim_feedforward : int
        Width inside the feed-forward network.
    dropout : float
    activation : str or callable
        "relu", "gelu", "gelu_tanh", "silu", or any function of a Tensor.
    layer_norm_eps : float
    batch_first : bool
        Inputs are (N, L, E) instead of (L, N, E).
    norm_first : bool
        Normalise before each sublayer (pre-norm) instead of behind (post-norm).
    bias : bool
        Of all projections and norms.
    dtype : dtype

    Raises
    ------
    ValueError
        If `nhead` does not divide `d_model`, or for an unknown `activation`.

    Examples
    --------
    >>> import numpy as np
    >>> from pyfast import nn
    >>> layer = nn.TransformerEncoderLayer(8, 2, dim_feedforward=16, batch_first=True)
    >>> layer(np.ones((2, 5, 8), np.float32)).shape
    (2, 5, 8)
    """

    def __init__(
        self,
        d_model: int,
        nhead: int,
        dim_feedforward: int = 2048,
        dropout: float = 0.1,
        activation: Activation = "relu",
        layer_norm_eps: float = 1e-5,
        batch_first: bool = False,
        norm_first: bool = False,
        bias: bool = True,
        dtype: Any = np.float32,
    ) -> None:
        super().__init__()
        heads = (d_model, nhead, dropout, bias)
        self.self_attn = MultiheadAttention(*heads, batch_first=batch_first, dtype=dtype)
        self._build_feed_forward(d_model, dim_feedforward, dropout, activation, bias, dtype)
        self.norm_first = norm_first
        self.norm1 = LayerNorm(d_model, layer_norm_eps, bias=bias, dtype=dtype)
        self.norm2 = LayerNorm(d_model, layer_norm_eps, bias=bias, dtype=dtype)
        self.dropout1 = Dropout(dropout)
        self.dropout2 = Dropout(dropout)

    def forward(
        self,
        src: Any,
        src_mask: Any = None,
        src_key_padding_mask: Any = None,
        is_causal: bool = False,
    ) -> Any:
        """Apply the layer.

        Parameters
        ----------
        src : array of shape (L, N, d_model), (N, L, d_model) with `batch_first`, or (L, d_model)
        src_mask, src_key_padding_mask, is_causal
            As `attn_mask`, `key_padding_mask` and `is_causal` of :class:`MultiheadAttention`.

        Returns
        -------
        Tensor of the shape of `src`

        Raises
        ------
        TypeError, ValueError
            For shapes or dtypes that do not fit.
        """
        x = _tensor(src)
        masks = (src_key_padding_mask, False, src_mask, True, is_causal)
        x = self._sublayer(
            x, self.norm1, self.dropout1, lambda y: self.self_attn(y, y, y, *masks)[0]
        )
        return self._sublayer(x, self.norm2, self.dropout2, self._feed_forward)


class TransformerDecoderLayer(_Layer):
    """Self-attention, attention to an encoder's output and a feed-forward network.

    Parameters
    ----------
    d_model, nhead, dim_feedforward, dropout, activation, layer_norm_eps, batch_first, norm_first
        See :class:`TransformerEncoderLayer`.
    bias, dtype
        See :class:`TransformerEncoderLayer`.

    Raises
    ------
    ValueError
        If `nhead` does not divide `d_model`, or for an unknown `activation`.

    Examples
    --------
    >>> import numpy as np
    >>> from pyfast import nn
    >>> layer = nn.TransformerDecoderLayer(8, 2, dim_feedforward=16, batch_first=True)
    >>> layer(np.ones((2, 3, 8), np.float32), np.ones((2, 5, 8), np.float32)).shape
    (2, 3, 8)
    """

    def __init__(
        self,
        d_model: int,
        nhead: int,
        dim_feedforward: int = 2048,
        dropout: float = 0.1,
        activation: Activation = "relu",
        layer_norm_eps: float = 1e-5,
        batch_first: bool = False,
        norm_first: bool = False,
        bias: bool = True,
        dtype: Any = np.float32,
    ) -> None:
        super().__init__()
        heads = (d_model, nhead, dropout, bias)
        self.self_attn = MultiheadAttention(*heads, batch_first=batch_first, dtype=dtype)
        self.multihead_attn = MultiheadAttention(*heads, batch_first=batch_first, dtype=dtype)
        self._build_feed_forward(d_model, dim_feedforward, dropout, activation, bias, dtype)
        self.norm_first = norm_first
        self.norm1 = LayerNorm(d_model, layer_norm_eps, bias=bias, dtype=dtype)
        self.norm2 = LayerNorm(d_model, layer_norm_eps, bias=bias, dtype=dtype)
        self.norm3 = LayerNorm(d_model, layer_norm_eps, bias=bias, dtype=dtype)
        self.dropout1 = Dropout(dropout)
        self.dropout2 = Dropout(dropout)
        self.dropout3 = Dropout(dropout)

    def forward(
        self,
        tgt: Any,
        memory: Any,
        tgt_mask: Any = None,
        memory_mask: Any = None,
        tgt_key_padding_mask: Any = None,
        memory_key_padding_mask: Any = None,
        tgt_is_causal: bool = False,
        memory_is_causal: bool = False,
        cache: Any = None,
        layer_index: int = 0,
    ) -> Any:
        """Apply the layer.

        Parameters
        ----------
        tgt : array of shape (L, N, d_model), (N, L, d_model) with `batch_first`, or (L, d_model)
        memory : array of shape (S, N, d_model), or as `tgt`
        tgt_mask, tgt_key_padding_mask, tgt_is_causal
            As `attn_mask`, `key_padding_mask` and `is_causal` of :class:`MultiheadAttention`.
        memory_mask, memory_key_padding_mask, memory_is_causal
            The same, for the attention to `memory`.
        cache : KVCache, optional
            Of earlier positions and of `memory`'s keys and values.
        layer_index : int
            This layer's place in the cache.

        Returns
        -------
        Tensor of the shape of `tgt`

        Raises
        ------
        TypeError, ValueError
            For shapes or dtypes that do not fit.
        """
        memory = _tensor(memory)
        own = (tgt_key_padding_mask, False, tgt_mask, True, tgt_is_causal)
        other = (memory_key_padding_mask, False, memory_mask, True, memory_is_causal)
        where = (cache, layer_index)

        def attention(y: Any) -> Any:
            return self.self_attn(y, y, y, *own, *where)[0]

        def cross_attention(y: Any) -> Any:
            return self.multihead_attn(y, memory, memory, *other, *where, True)[0]

        x = self._sublayer(_tensor(tgt), self.norm1, self.dropout1, attention)
        x = self._sublayer(x, self.norm2, self.dropout2, cross_attention)
        return self._sublayer(x, self.norm3, self.dropout3, self._feed_forward)


class TransformerEncoder(Module):
    """A stack of encoder layers.

    Parameters
    ----------
    encoder_layer : Module
        Copied `num_layers` times.
    num_layers : int
    norm : Module, optional
        Applied to the output; pre-norm stacks need one.
    enable_nested_tensor, mask_check : bool
        Taken as PyTorch takes them, without effect: outputs at padding are what they are.

    Raises
    ------
    ValueError
        If `num_layers` is negative.

    Examples
    --------
    >>> import numpy as np
    >>> from pyfast import nn
    >>> layer = nn.TransformerEncoderLayer(8, 2, dim_feedforward=16, batch_first=True)
    >>> nn.TransformerEncoder(layer, num_layers=2)(np.ones((2, 5, 8), np.float32)).shape
    (2, 5, 8)
    """

    def __init__(
        self,
        encoder_layer: Module,
        num_layers: int,
        norm: Module | None = None,
        enable_nested_tensor: bool = True,
        mask_check: bool = True,
    ) -> None:
        super().__init__()
        self.layers = _copies(encoder_layer, num_layers, type(self).__name__)
        self.num_layers = num_layers
        self.register_module("norm", norm)

    norm: Module | None

    def forward(
        self,
        src: Any,
        mask: Any = None,
        src_key_padding_mask: Any = None,
        is_causal: bool | None = None,
    ) -> Any:
        """Pass the input through all layers.

        Parameters
        ----------
        src : array of shape (L, N, E), (N, L, E) with `batch_first`, or (L, E)
        mask, src_key_padding_mask, is_causal
            As `attn_mask`, `key_padding_mask` and `is_causal` of :class:`MultiheadAttention`.

        Returns
        -------
        Tensor of the shape of `src`

        Raises
        ------
        TypeError, ValueError
            For shapes or dtypes that do not fit.
        """
        for layer in self.layers:
            src = layer(src, mask, src_key_padding_mask, bool(is_causal))
        return src if self.norm is None else self.norm(src)

    def layer_outputs(
        self,
        src: Any,
        mask: Any = None,
        src_key_padding_mask: Any = None,
        is_causal: bool | None = None,
    ) -> list[Any]:
        """Every layer's output, normalised: what a decoder attends to layer by layer.

        Parameters
        ----------
        src, mask, src_key_padding_mask, is_causal
            As for calling the stack.

        Returns
        -------
        list of Tensors of the shape of `src`
            The last is what calling the stack returns.
        """
        outputs = []
        for layer in self.layers:
            src = layer(src, mask, src_key_padding_mask, bool(is_causal))
            outputs.append(src)
        return outputs if self.norm is None else [self.norm(x) for x in outputs]


class TransformerDecoder(Module):
    """A stack of decoder layers.

    Parameters
    ----------
    decoder_layer : Module
        Copied `num_layers` times.
    num_layers : int
    norm : Module, optional
        Applied to the output; pre-norm stacks need one.

    Raises
    ------
    ValueError
        If `num_layers` is negative.

    Examples
    --------
    >>> import numpy as np
    >>> from pyfast import nn
    >>> layer = nn.TransformerDecoderLayer(8, 2, dim_feedforward=16, batch_first=True)
    >>> target, memory = np.ones((2, 3, 8), np.float32), np.ones((2, 5, 8), np.float32)
    >>> nn.TransformerDecoder(layer, num_layers=2)(target, memory, tgt_is_causal=True).shape
    (2, 3, 8)
    """

    def __init__(self, decoder_layer: Module, num_layers: int, norm: Module | None = None) -> None:
        super().__init__()
        self.layers = _copies(decoder_layer, num_layers, type(self).__name__)
        self.num_layers = num_layers
        self.register_module("norm", norm)

    norm: Module | None

    def forward(
        self,
        tgt: Any,
        memory: Any,
        tgt_mask: Any = None,
        memory_mask: Any = None,
        tgt_key_padding_mask: Any = None,
        memory_key_padding_mask: Any = None,
        tgt_is_causal: bool | None = None,
        memory_is_causal: bool = False,
        cache: Any = None,
    ) -> Any:
        """Pass the input through all layers.

        Parameters
        ----------
        tgt : array of shape (L, N, E), (N, L, E) with `batch_first`, or (L, E)
        memory : array of shape (S, N, E), or as `tgt`; or a sequence of `num_layers` of them
            An encoder's output, for all layers; or one for each layer, as of
            :meth:`TransformerEncoder.layer_outputs`.
        tgt_mask, tgt_key_padding_mask, tgt_is_causal
            As `attn_mask`, `key_padding_mask` and `is_causal` of :class:`MultiheadAttention`.
        memory_mask, memory_key_padding_mask, memory_is_causal
            The same, for the attention to `memory`.
        cache : KVCache, optional
            Of earlier positions and of `memory`'s keys and values; the caller advances it.

        Returns
        -------
        Tensor of the shape of `tgt`

        Raises
        ------
        TypeError, ValueError
            For shapes or dtypes that do not fit.
        """
        several = isinstance(memory, list | tuple)
        memories: Sequence[Any] = memory if several else [memory] * self.num_layers
        if len(memories) != self.num_layers:
            raise ValueError(
                f"{type(self).__name__}: memory must be one array, or one for each of "
                f"{self.num_layers} layers, got {len(memories)}"
            )
        masks = (tgt_mask, memory_mask, tgt_key_padding_mask, memory_key_padding_mask)
        hints = (bool(tgt_is_causal), memory_is_causal)
        for i, (layer, from_encoder) in enumerate(zip(self.layers, memories, strict=True)):
            tgt = layer(tgt, from_encoder, *masks, *hints, cache, i)
        return tgt if self.norm is None else self.norm(tgt)


class Transformer(Module):
    """Encoder and decoder: from one sequence of vectors to another, of another length.

    Parameters
    ----------
    d_model : int
        Width of inputs and outputs.
    nhead : int
        Attention heads.
    num_encoder_layers, num_decoder_layers : int
    dim_feedforward : int
    dropout : float
    activation : str or callable
        See :class:`TransformerEncoderLayer`.
    custom_encoder, custom_decoder : Module, optional
        Used instead of a stack of layers.
    layer_norm_eps : float
    batch_first : bool
        Inputs are (N, L, E) instead of (L, N, E).
    norm_first : bool
        Pre-norm instead of post-norm.
    bias : bool
    dtype : dtype
    cross_attention : str
        "last": decoder layers attend to the encoder's output, as in the paper; "matching": each
        to the encoder layer at its height, and there must be as many.

    Attributes
    ----------
    encoder, decoder : Module

    Raises
    ------
    ValueError
        If a setting does not fit.

    Examples
    --------
    >>> import numpy as np
    >>> from pyfast import nn
    >>> model = nn.Transformer(8, 2, 1, 1, dim_feedforward=16, batch_first=True)
    >>> source, target = np.ones((2, 5, 8), np.float32), np.ones((2, 3, 8), np.float32)
    >>> model(source, target, tgt_is_causal=True).shape
    (2, 3, 8)
    """

    def __init__(
        self,
        d_model: int = 512,
        nhead: int = 8,
        num_encoder_layers: int = 6,
        num_decoder_layers: int = 6,
        dim_feedforward: int = 2048,
        dropout: float = 0.1,
        activation: Activation = "relu",
        custom_encoder: Module | None = None,
        custom_decoder: Module | None = None,
        layer_norm_eps: float = 1e-5,
        batch_first: bool = False,
        norm_first: bool = False,
        bias: bool = True,
        dtype: Any = np.float32,
        *,
        cross_attention: str = "last",
    ) -> None:
        super().__init__()
        if cross_attention not in ("last", "matching"):
            raise ValueError(
                "Transformer: cross_attention must be 'last' or 'matching', "
                f"got {cross_attention!r}"
            )
        if cross_attention == "matching" and num_encoder_layers != num_decoder_layers:
            raise ValueError(
                "Transformer: cross_attention='matching' needs as many encoder as decoder layers, "
                f"got {num_encoder_layers} and {num_decoder_layers}"
            )
        settings = (
            d_model, nhead, dim_feedforward, dropout, activation, layer_norm_eps, batch_first,
            norm_first, bias, dtype,
        )  # fmt: skip

        def norm() -> LayerNorm:
            return LayerNorm(d_model, layer_norm_eps, bias=bias, dtype=dtype)

        if custom_encoder is None:
            layer: Module = TransformerEncoderLayer(*settings)
            custom_encoder = TransformerEncoder(layer, num_encoder_layers, norm())
        if custom_decoder is None:
            layer = TransformerDecoderLayer(*settings)
            custom_decoder = TransformerDecoder(layer, num_decoder_layers, norm())
        self.encoder = custom_encoder
        self.decoder = custom_decoder
        self.d_model = d_model
        self.nhead = nhead
        self.batch_first = batch_first
        self.cross_attention = cross_attention
        self._reset_parameters()

    def _reset_parameters(self) -> None:
        """Draw every matrix anew (Glorot's uniform distribution)."""
        for parameter in self.parameters():
            if parameter.ndim > 1:
                init.xavier_uniform_(parameter)

    def forward(
        self,
        src: Any,
        tgt: Any,
        src_mask: Any = None,
        tgt_mask: Any = None,
        memory_mask: Any = None,
        src_key_padding_mask: Any = None,
        tgt_key_padding_mask: Any = None,
        memory_key_padding_mask: Any = None,
        src_is_causal: bool | None = None,
        tgt_is_causal: bool | None = None,
        memory_is_causal: bool = False,
    ) -> Any:
        """Encode the source, decode the target.

        Parameters
        ----------
        src : array of shape (S, N, d_model), (N, S, d_model) with `batch_first`, or (S, d_model)
        tgt : array of shape (L, N, d_model), or as `src`
        src_mask, tgt_mask, memory_mask
            As `attn_mask` of :class:`MultiheadAttention`.
        src_key_padding_mask, tgt_key_padding_mask, memory_key_padding_mask
            As its `key_padding_mask`.
        src_is_causal, tgt_is_causal, memory_is_causal
            As its `is_causal`.

        Returns
        -------
        Tensor of the shape of `tgt`

        Raises
        ------
        TypeError, ValueError
            For shapes or dtypes that do not fit.
        """
        encode: Any = self.encoder
        if self.cross_attention == "matching":
            encode = encode.layer_outputs
        memory = encode(src, src_mask, src_key_padding_mask, src_is_causal)
        masks = (tgt_mask, memory_mask, tgt_key_padding_mask, memory_key_padding_mask)
        return self.decoder(tgt, memory, *masks, tgt_is_causal, memory_is_causal)

    @staticmethod
    def generate_square_subsequent_mask(sz: int, dtype: Any = np.float32) -> Any:
        """The causal mask as PyTorch makes it: -inf above the diagonal, else 0.

        Parameters
        ----------
        sz : int
        dtype : dtype

        Returns
        -------
        array of shape (sz, sz)

        Examples
        --------
        >>> from pyfast import nn
        >>> nn.Transformer.generate_square_subsequent_mask(2)
        array([[  0., -inf],
               [  0.,   0.]], dtype=float32)
        """
        return np.triu(np.full((sz, sz), -np.inf, dtype), 1)


def _copies(layer: Module, count: int, stack: str) -> ModuleList:
    if count < 0:
        raise ValueError(f"{stack}: num_layers must not be negative, got {count}")
    return ModuleList(copy.deepcopy(layer) for _ in range(count))


def _tensor(value: Any) -> Any:
    return value if isinstance(value, Variable) else Tensor(value)
