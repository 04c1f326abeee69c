"""Attention layers: multi-head, grouped-query and additive."""

from __future__ import annotations

from typing import Any

import numpy as np

from .. import ops
from .._tensor import Tensor
from ..autograd import Variable, is_grad_enabled
from ..ops.heads import merge_heads, split_heads
from ..ops.shape import cat
from . import init
from .attend import Normalizer, attend, attend_heads, check_normalizer, normalise
from .linear import Linear
from .masks import band_beside, checked_mask, merge_masks, split_mask, untaped, widen
from .module import Module
from .parameter import Parameter
from .position import RotaryPositionalEmbedding

__all__ = ["AdditiveAttention", "GroupedQueryAttention", "MultiheadAttention"]


class MultiheadAttention(Module):
    r"""Several attentions side by side, each on its own projection of the input.

    .. math:: \operatorname{concat}(h_1, \dots, h_H) W^O, \quad
              h_i = \operatorname{attention}(Q W_i^Q, K W_i^K, V W_i^V)

    (Vaswani et al., "Attention is all you need", 2017, section 3.2.2.) Names, arguments, defaults
    and state are PyTorch's. It differs in four ways: a query that may look at nothing gets zeros
    where PyTorch gives NaN; with dropout the weights returned are those before it; `is_causal`
    works without `attn_mask` (and beside one adds nothing); `normalizer` and the cache are new.

    Parameters
    ----------
    embed_dim : int
        Width of queries and outputs; divided among the heads.
    num_heads : int
    dropout : float
        Of the weights, in training.
    bias : bool
        Of the four projections.
    add_bias_kv : bool
        Append a learned key and value.
    add_zero_attn : bool
        Append a key and value of zeros.
    kdim, vdim : int, optional
        Widths of keys and values; default `embed_dim`.
    batch_first : bool
        Inputs are (N, L, E) instead of (L, N, E).
    dtype : dtype
    normalizer : str or callable
        What makes weights of scores: "softmax"; "relu", divided by the number of keys (Wortsman et
        al., "Replacing softmax with ReLU in vision transformers", 2023); "sigmoid" of the score
        less the logarithm of that number (Ramapuram et al., "Theory, analysis, and best practices
        for sigmoid self-attention", 2024); or a function of scores (N, H, L, S), -inf where
        masked. All but softmax hold the scores in memory.

    Attributes
    ----------
    in_proj_weight : Parameter of shape (3 embed_dim, embed_dim), or None
        With another `kdim` or `vdim`: `q_proj_weight`, `k_proj_weight`, `v_proj_weight`.
    in_proj_bias : Parameter of shape (3 embed_dim,), or None
    bias_k, bias_v : Parameters of shape (1, 1, embed_dim), or None
    out_proj : Linear

    Raises
    ------
    ValueError
        If `num_heads` does not divide `embed_dim`, or for an unknown `normalizer`.

    Examples
    --------
    >>> import numpy as np
    >>> from pyfast import nn
    >>> x = np.ones((2, 5, 8), np.float32)
    >>> attention = nn.MultiheadAttention(8, 2, batch_first=True)
    >>> output, weights = attention(x, x, x, average_attn_weights=False)
    >>> output.shape, weights.shape
    ((2, 5, 8), (2, 2, 5, 5))
    """

    in_proj_weight: Parameter | None
    q_proj_weight: Parameter | None
    k_proj_weight: Parameter | None
    v_proj_weight: Parameter | None
    in_proj_bias: Parameter | None
    bias_k: Parameter | None
    bias_v: Parameter | None

    def __init__(
        self,
        embed_dim: int,
        num_heads: int,
        dropout: float = 0.0,
        bias: bool = True,
        add_bias_kv: bool = False,
        add_zero_attn: bool = False,
        kdim: int | None = None,
        vdim: int | None = None,
        batch_first: bool = False,
        dtype: Any = np.float32,
        *,
        normalizer: Normalizer = "softmax",
    ) -> None:
        super().__init__()
        _check_heads(type(self).__name__, embed_dim, num_heads, dropout)
        check_normalizer(normalizer, type(self).__name__)
        self.embed_dim = embed_dim
        self.num_heads = num_heads
        self.head_dim = embed_dim // num_heads
        self.dropout = dropout
        self.kdim = embed_dim if kdim is None else kdim
        self.vdim = embed_dim if vdim is None else vdim
        self.batch_first = batch_first
        self.add_zero_attn = add_zero_attn
        self.normalizer = normalizer
        self._qkv_same_embed_dim = self.kdim == embed_dim and self.vdim == embed_dim
        same = self._qkv_same_embed_dim

        def parameter(name: str, wanted: bool, *shape: int) -> None:
            self.register_parameter(name, Parameter(np.empty(shape, dtype)) if wanted else None)

        parameter("q_proj_weight", not same, embed_dim, embed_dim)
        parameter("k_proj_weight", not same, embed_dim, self.kdim)
        parameter("v_proj_weight", not same, embed_dim, self.vdim)
        parameter("in_proj_weight", same, 3 * embed_dim, embed_dim)
        parameter("in_proj_bias", bias, 3 * embed_dim)
        self.out_proj = Linear(embed_dim, embed_dim, bias, dtype=dtype)
        parameter("bias_k", add_bias_kv, 1, 1, embed_dim)
        parameter("bias_v", add_bias_kv, 1, 1, embed_dim)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw the projections anew (Glorot's uniform distribution); biases become 0."""
        for name in ("in_proj_weight", "q_proj_weight", "k_proj_weight", "v_proj_weight"):
            if (weight := getattr(self, name)) is not None:
                init.xavier_uniform_(weight)
        for bias in (self.in_proj_bias, self.out_proj.bias):
            if bias is not None:
                init.zeros_(bias)
        for extra in (self.bias_k, self.bias_v):
            if extra is not None:
                init.xavier_normal_(extra)

    def forward(
        self,
        query: Any,
        key: Any,
        value: Any,
        key_padding_mask: Any = None,
        need_weights: bool = True,
        attn_mask: Any = None,
        average_attn_weights: bool = True,
        is_causal: bool = False,
        cache: Any = None,
        layer_index: int = 0,
        cross: bool = False,
    ) -> tuple[Any, Any]:
        """Attend.

        Parameters
        ----------
        query : array of shape (L, N, E), (N, L, E) with `batch_first`, or (L, E)
        key, value : arrays of shape (S, N, kdim) and (S, N, vdim), or as `query`
        key_padding_mask : array of shape (N, S), or (S,), optional
            True: this key is padding. Or floating, added to the scores.
        need_weights : bool
            Return the weights too, which costs their memory and another product.
        attn_mask : array of shape (L, S) or (N num_heads, L, S), optional
            True: this query may not look at this key. Or floating, added to the scores.
        average_attn_weights : bool
            Return the mean weights of all heads.
        is_causal : bool
            Without `attn_mask`: queries look at no later key.
        cache : KVCache, optional
            Of earlier positions, see :mod:`pyfast.generation`; `query` then starts behind them,
            and masks cover all keys, old and new. Nothing is recorded for keys and values.
        layer_index : int
            This layer's place in the cache.
        cross : bool
            `key` and `value` come from an encoder: the cache keeps what they were at first.

        Returns
        -------
        output : Tensor of the shape of `query`
        weights : Tensor of shape (N, L, S), or (N, num_heads, L, S), or None
            Without N for inputs without it.

        Raises
        ------
        TypeError, ValueError
            For shapes or dtypes that do not fit.
        """
        self._check(query, key, value)
        batched = query.ndim == 3
        axis = 0 if self.batch_first else 1
        if not batched:
            single = query is key is value
            query, key, value = (_tensor(x).unsqueeze(axis) for x in (query, key, value))
            key, value = (query, query) if single else (key, value)
        masks = (key_padding_mask, attn_mask, is_causal and attn_mask is None, batched)
        if query is key is value and cache is None and self._joins_heads(query, need_weights):
            output, weights = self._attend_joined(query, *masks), None
        else:
            output, weights = self._attend_apart(
                query, key, value, *masks, need_weights, cache, layer_index, cross
            )
        output = self.out_proj(output)
        if weights is not None and average_attn_weights:
            weights = weights.mean(1)
        if not batched:
            output = output.squeeze(axis)
            weights = None if weights is None else weights.squeeze(0)
        return output, weights

    def _joins_heads(self, x: Any, need_weights: bool) -> bool:
        """Whether self-attention reads its heads where one projection leaves them."""
        appended = self.bias_k is not None or self.add_zero_attn
        plain = self.in_proj_weight is not None and not appended and self.normalizer == "softmax"
        return plain and not need_weights and type(untaped(x)) is np.ndarray

    def _attend_joined(
        self, x: Any, padding: Any, attn_mask: Any, causal: bool, batched: bool
    ) -> Any:
        projection = _tensor(self._part(x, 0, 3))
        length = x.shape[1 if self.batch_first else 0]
        sizes = self._batch(x), length, length
        keep, bias = self._masks(attn_mask, padding, sizes, batched, projection.dtype)
        groups = (self.num_heads, self.num_heads)
        dropout_p = self.dropout if self.training else 0.0
        return attend_heads(
            projection, groups, self.batch_first, keep, bias, is_causal=causal, dropout_p=dropout_p
        )

    def _attend_apart(
        self,
        query: Any,
        key: Any,
        value: Any,
        padding: Any,
        attn_mask: Any,
        causal: bool,
        batched: bool,
        need_weights: bool,
        cache: Any,
        layer_index: int,
        cross: bool,
    ) -> tuple[Any, Any]:
        start = cache.length if cache is not None and not cross else 0
        q, k, v = self._project(query, key, value, cache, layer_index, cross)
        k, v, extra = self._extend(k, v)
        sizes = q.shape[0], q.shape[2], k.shape[2] - extra
        keep, bias = self._masks(attn_mask, padding, sizes, batched, q.dtype)
        if causal and (start or extra):
            keep, bias = merge_masks((keep, bias), (band_beside(q, *sizes[1:], start), None))
            causal = False
        keep, bias = widen(keep, bias, extra)
        output, weights = attend(
            q, k, v, keep, bias,
            causal=causal,
            normalizer=self.normalizer,
            dropout_p=self.dropout if self.training else 0.0,
            need_weights=need_weights,
        )  # fmt: skip
        return merge_heads(output, self.batch_first), weights

    def _check(self, query: Any, key: Any, value: Any) -> None:
        name = type(self).__name__
        widths = {"query": self.embed_dim, "key": self.kdim, "value": self.vdim}
        for (what, width), x in zip(widths.items(), (query, key, value), strict=True):
            _check_array(x, f"{name}: {what}")
            if x.ndim not in (2, 3) or x.ndim != query.ndim or x.shape[-1] != width:
                wanted = "(N, L, E)" if self.batch_first else "(L, N, E)"
                raise ValueError(
                    f"{name}: {what} must have shape {wanted} or (L, E) with E = {width}, "
                    f"got {x.shape}"
                )
        if key.shape[:-1] != value.shape[:-1]:
            raise ValueError(
                f"{name}: value must have the length and batch of key {key.shape}, "
                f"got {value.shape}"
            )
        axis = 0 if self.batch_first else 1
        if query.ndim == 3 and key.shape[axis] != query.shape[axis]:
            raise ValueError(
                f"{name}: key must have the batch of query ({query.shape[axis]}), got {key.shape}"
            )

    # -- projections -----------------------------------------------------------------------------

    def _project(
        self, query: Any, key: Any, value: Any, cache: Any, layer: int, cross: bool
    ) -> tuple[Any, Any, Any]:
        """Query, key and value heads (N, H, L, D), those of the cache included."""
        if cache is None:
            return self._heads(query, key, value)
        if cross:
            return self._cached_cross(query, key, value, cache, layer)
        q, k, v = self._heads(query, key, value)
        return q, *map(_tensor, cache.update(layer, k.numpy(), v.numpy()))

    def _cached_cross(
        self, query: Any, key: Any, value: Any, cache: Any, layer: int
    ) -> tuple[Any, Any, Any]:
        stored = cache.cross(layer)
        if stored is None:
            q, k, v = self._heads(query, key, value)
            cache.set_cross(layer, k.numpy(), v.numpy())
            return q, k, v
        if len(stored[0]) != self._batch(query):
            raise ValueError(
                f"{type(self).__name__}: the cache holds a batch of {len(stored[0])}, "
                f"got query of shape {query.shape}"
            )
        return self._split(self._part(query, 0, 1), 1)[0], *map(_tensor, stored)

    def _batch(self, x: Any) -> int:
        return int(x.shape[0 if self.batch_first else 1])

    def _heads(self, query: Any, key: Any, value: Any) -> tuple[Any, Any, Any]:
        if query is key is value and self.in_proj_weight is not None:
            return self._split(self._part(query, 0, 3), 3)
        (q,) = self._split(self._part(query, 0, 1), 1)
        if key is value and self.in_proj_weight is not None:
            return q, *self._split(self._part(key, 1, 3), 2)
        (k,) = self._split(self._part(key, 1, 2), 1)
        (v,) = self._split(self._part(value, 2, 3), 1)
        return q, k, v

    def _part(self, x: Any, first: int, last: int) -> Any:
        """Project `x` by rows `first` to `last` of query, key, value (0, 1, 2)."""
        weight: Any = (self.q_proj_weight, self.k_proj_weight, self.v_proj_weight)[first]
        bias: Any = self.in_proj_bias
        weight = self.in_proj_weight if weight is None else weight
        if last - first < 3:
            rows = slice(first * self.embed_dim, last * self.embed_dim)
            weight = weight if self.in_proj_weight is None else weight[rows]
            bias = None if bias is None else bias[rows]
        return ops.linear(x, weight, bias)

    def _split(self, x: Any, parts: int) -> Any:
        return split_heads(_tensor(x), (self.num_heads,) * parts, self.batch_first)

    def _extend(self, k: Any, v: Any) -> tuple[Any, Any, int]:
        """Append the learned key and value, and zeros; how many were appended."""
        extra = 0
        batch, heads, _, width = k.shape
        if self.bias_k is not None and self.bias_v is not None:
            shape = (1, heads, 1, width)
            both = (b.reshape(*shape).expand(batch, -1, -1, -1) for b in (self.bias_k, self.bias_v))
            k, v = (cat([x, b], 2) for x, b in zip((k, v), both, strict=True))
            extra += 1
        if self.add_zero_attn:
            zeros = np.zeros_like(untaped(k), shape=(batch, heads, 1, width))
            k, v = cat([k, zeros], 2), cat([v, zeros], 2)
            extra += 1
        return k, v, extra

    # -- masks -----------------------------------------------------------------------------------

    def _masks(
        self, attn_mask: Any, padding: Any, sizes: tuple[int, int, int], batched: bool, dtype: Any
    ) -> tuple[Any, Any]:
        """Both masks as one (keep, bias)."""
        name = type(self).__name__
        batch, queries, keys = sizes
        if attn_mask is not None:
            whole = (batch * self.num_heads, queries, keys)
            shapes = ((queries, keys), whole)
            attn_mask = checked_mask(attn_mask, f"{name}: attn_mask", shapes, dtype)
            if attn_mask.ndim == 3:
                attn_mask = attn_mask.reshape(batch, self.num_heads, queries, keys)
        if padding is not None:
            shape = (batch, keys) if batched else (keys,)
            padding = checked_mask(padding, f"{name}: key_padding_mask", (shape,), dtype)
            padding = padding.reshape(batch, 1, 1, keys)
        return merge_masks(split_mask(attn_mask), split_mask(padding))


class GroupedQueryAttention(Module):
    """Self-attention whose query heads share key and value heads, for decoders and long inputs.

    Grouped queries (Ainslie et al., EMNLP 2023) shrink the cache; a sliding window (Beltagy et
    al., "Longformer", 2020) bounds what each token sees; rotary positions turn queries and keys.
    With as many key heads as query heads, it is plain multi-head attention.

    Parameters
    ----------
    embed_dim : int
    num_heads : int
        Query heads.
    num_kv_heads : int, optional
        Key and value heads, a divisor of `num_heads`; default: as many.
    head_dim : int, optional
        Default: embed_dim / num_heads.
    dropout : float
        Of the weights, in training.
    bias : bool
        Of the input projection and, unless `out_bias` says otherwise, of the output projection.
    window_size : int, optional
        Tokens see others fewer than this many positions away.
    rotary : RotaryPositionalEmbedding, optional
        May be shared by all layers; it has no state.
    dtype : dtype

    Attributes
    ----------
    in_proj_weight : Parameter of shape ((num_heads + 2 num_kv_heads) head_dim, embed_dim)
        Rows for queries, keys, values.
    in_proj_bias : Parameter, or None
    out_proj : Linear

    Raises
    ------
    ValueError
        If the numbers of heads do not divide, or a size is not positive.

    Examples
    --------
    >>> import numpy as np
    >>> from pyfast import nn
    >>> layer = nn.GroupedQueryAttention(16, 4, num_kv_heads=2, window_size=3)
    >>> layer(np.ones((2, 6, 16), np.float32)).shape
    (2, 6, 16)
    """

    in_proj_bias: Parameter | None

    def __init__(
        self,
        embed_dim: int,
        num_heads: int,
        num_kv_heads: int | None = None,
        head_dim: int | None = None,
        dropout: float = 0.0,
        bias: bool = False,
        window_size: int | None = None,
        rotary: RotaryPositionalEmbedding | None = None,
        dtype: Any = np.float32,
    ) -> None:
        super().__init__()
        name = type(self).__name__
        groups = num_heads if num_kv_heads is None else num_kv_heads
        if head_dim is None:
            _check_heads(name, embed_dim, num_heads, dropout)
            head_dim = embed_dim // num_heads
        if groups < 1 or num_heads % groups:
            raise ValueError(f"{name}: num_kv_heads must divide {num_heads}, got {groups}")
        if window_size is not None and window_size < 1:
            raise ValueError(f"{name}: window_size must be positive, got {window_size}")
        if rotary is not None and rotary.head_dim != head_dim:
            raise ValueError(f"{name}: rotary must turn {head_dim} features, got {rotary.head_dim}")
        self.embed_dim = embed_dim
        self.num_heads = num_heads
        self.num_kv_heads = groups
        self.head_dim = head_dim
        self.dropout = dropout
        self.window_size = window_size
        object.__setattr__(self, "rotary", rotary)  # shared: it belongs to the model
        rows = (num_heads + 2 * groups) * head_dim
        self.in_proj_weight = Parameter(np.empty((rows, embed_dim), dtype))
        self.register_parameter("in_proj_bias", Parameter(np.empty(rows, dtype)) if bias else None)
        self.out_proj = Linear(num_heads * head_dim, embed_dim, bias, dtype=dtype)
        self.reset_parameters()

    rotary: RotaryPositionalEmbedding | None

    def reset_parameters(self) -> None:
        """Draw the projections anew (Glorot's uniform distribution); biases become 0."""
        init.xavier_uniform_(self.in_proj_weight)
        init.xavier_uniform_(self.out_proj.weight)
        for bias in (self.in_proj_bias, self.out_proj.bias):
            if bias is not None:
                init.zeros_(bias)

    def forward(
        self,
        input: Any,
        key_padding_mask: Any = None,
        is_causal: bool = True,
        positions: Any = None,
        cache: Any = None,
        layer_index: int = 0,
    ) -> Any:
        """Attend.

        Parameters
        ----------
        input : array of shape (N, L, embed_dim)
        key_padding_mask : array of shape (N, S), bool, optional
            True: this key is padding. S counts the positions in the cache too.
        is_causal : bool
            Tokens see no later token.
        positions : integers of shape (L,) or (N, L), optional
            For `rotary`; default: behind those in the cache.
        cache : KVCache, optional
            Of earlier positions, see :mod:`pyfast.generation`.
        layer_index : int
            This layer's place in the cache.

        Returns
        -------
        Tensor of shape (N, L, embed_dim)

        Raises
        ------
        TypeError, ValueError
            For shapes or dtypes that do not fit.
        """
        name = type(self).__name__
        _check_array(input, f"{name}: input")
        if input.ndim != 3 or input.shape[-1] != self.embed_dim:
            raise ValueError(
                f"{name}: input must have shape (N, L, {self.embed_dim}), got {input.shape}"
            )
        groups = (self.num_heads, self.num_kv_heads, self.num_kv_heads)
        dropout_p = self.dropout if self.training else 0.0
        projection = _unrecorded(_tensor(self._projected(input)))
        if self.rotary is None and cache is None and type(untaped(projection)) is np.ndarray:
            sizes = len(input), input.shape[1], input.shape[1]
            keep, limits = self._keep(projection, sizes, key_padding_mask, is_causal, 0)
            return self.out_proj(
                attend_heads(
                    _tensor(projection), groups[:2], True, keep, dropout_p=dropout_p, **limits
                )
            )
        q, k, v = split_heads(projection, groups, True)
        start = 0 if cache is None else cache.length
        if self.rotary is not None:
            at = start if positions is None else positions
            q, k = (_unrecorded(self.rotary(x, at)) for x in (q, k))
        if cache is not None:
            k, v = cache.update(layer_index, _array(k), _array(v))
        sizes = len(q), q.shape[2], k.shape[2]
        keep, limits = self._keep(q, sizes, key_padding_mask, is_causal, start)
        grouped = self.num_kv_heads != self.num_heads
        output = ops.scaled_dot_product_attention(
            q, k, v, keep, dropout_p, enable_gqa=grouped, **limits
        )
        return self.out_proj(merge_heads(output, True))

    def _projected(self, input: Any) -> Any:
        return ops.linear(input, self.in_proj_weight, self.in_proj_bias)

    def _keep(
        self, like: Any, sizes: tuple[int, int, int], padding: Any, is_causal: bool, start: int
    ) -> tuple[Any, dict[str, Any]]:
        """The mask, and what the kernel knows without one: a causal order, a window.

        `sizes`: of the batch, of queries and of keys.
        """
        batch, queries, keys = sizes
        keep = None
        if padding is not None:
            where = f"{type(self).__name__}: key_padding_mask"
            padding = checked_mask(padding, where, ((batch, keys),), np.dtype(bool))
            keep = ~untaped(padding)[:, None, None, :]
        window = self.window_size if self.window_size and self.window_size < keys else None
        if window is None and is_causal and not start and keep is None:
            return None, {"is_causal": True}
        if window is not None and not start:  # positions are places: the kernel skips the rest
            return keep, {"window_size": (window - 1, 0 if is_causal else window - 1)}
        if window is not None or (is_causal and queries > 1):
            near = band_beside(like, queries, keys, start, causal=is_causal, window=window)
            keep = near if keep is None else keep & near
        return keep, {}

    def extra_repr(self) -> str:
        """The sizes."""
        text = f"{self.embed_dim}, {self.num_heads}, num_kv_heads={self.num_kv_heads}"
        return text + (f", window_size={self.window_size}" if self.window_size else "")


class AdditiveAttention(Module):
    r"""Attention whose score is a small network's, not a product.

    .. math:: s_{ij} = v^\top \tanh(W_q q_i + W_k k_j + b)

    (Bahdanau, Cho and Bengio, "Neural machine translation by jointly learning to align and
    translate", ICLR 2015, appendix A.1.2.) Memory grows with L S hidden_dim.

    Parameters
    ----------
    query_dim, key_dim, hidden_dim : int
    bias : bool
        b in the formula.
    normalizer : str or callable
        See :class:`MultiheadAttention`.
    dtype : dtype

    Attributes
    ----------
    query_proj, key_proj, score : Linear
        W_q with b; W_k; v.

    Examples
    --------
    >>> import numpy as np
    >>> from pyfast import nn
    >>> query, key = np.ones((2, 3, 4), np.float32), np.ones((2, 5, 6), np.float32)
    >>> output, weights = nn.AdditiveAttention(4, 6, 8)(query, key)
    >>> output.shape, weights.shape
    ((2, 3, 6), (2, 3, 5))
    """

    def __init__(
        self,
        query_dim: int,
        key_dim: int,
        hidden_dim: int,
        bias: bool = True,
        normalizer: Normalizer = "softmax",
        dtype: Any = np.float32,
    ) -> None:
        super().__init__()
        check_normalizer(normalizer, type(self).__name__)
        self.normalizer = normalizer
        self.query_proj = Linear(query_dim, hidden_dim, bias, dtype=dtype)
        self.key_proj = Linear(key_dim, hidden_dim, False, dtype=dtype)
        self.score = Linear(hidden_dim, 1, False, dtype=dtype)

    def forward(
        self,
        query: Any,
        key: Any,
        value: Any = None,
        key_padding_mask: Any = None,
        attn_mask: Any = None,
    ) -> tuple[Any, Any]:
        """Attend.

        Parameters
        ----------
        query : array of shape (N, L, query_dim)
        key : array of shape (N, S, key_dim)
        value : array of shape (N, S, Ev), optional
            Default: `key`.
        key_padding_mask : array of shape (N, S), bool, optional
            True: this key is padding.
        attn_mask : array of shape (L, S) or (N, L, S), bool, optional
            True: this query may not look at this key.

        Returns
        -------
        output : Tensor of shape (N, L, Ev)
        weights : Tensor of shape (N, L, S)

        Raises
        ------
        TypeError, ValueError
            For shapes or dtypes that do not fit.
        """
        name = type(self).__name__
        value = key if value is None else value
        for what, x in (("query", query), ("key", key), ("value", value)):
            _check_array(x, f"{name}: {what}")
        if query.ndim != 3 or key.ndim != 3 or value.ndim != 3:
            raise ValueError(
                f"{name}: query, key and value must have 3 dimensions, "
                f"got {query.shape}, {key.shape} and {value.shape}"
            )
        if len(query) != len(key) or key.shape[:2] != value.shape[:2]:
            raise ValueError(
                f"{name}: batch and length must agree, "
                f"got {query.shape}, {key.shape} and {value.shape}"
            )
        batch, queries, keys = len(query), query.shape[1], key.shape[1]
        hidden = self.query_proj(query).unsqueeze(2) + self.key_proj(key).unsqueeze(1)
        scores = self.score(hidden.tanh()).squeeze(-1)
        keep = None
        masks = [
            (attn_mask, "attn_mask", ((queries, keys), (batch, queries, keys))),
            (key_padding_mask, "key_padding_mask", ((batch, keys),)),
        ]
        for mask, what, shapes in masks:
            if mask is not None:
                mask = untaped(checked_mask(mask, f"{name}: {what}", shapes, np.dtype(bool)))
                mask = mask[:, None, :] if what == "key_padding_mask" else mask
                keep = ~mask if keep is None else keep & ~mask
        weights = normalise(scores, keep, self.normalizer)
        return weights @ _tensor(value), weights


def _check_array(x: Any, name: str) -> None:
    if not hasattr(x, "ndim"):
        raise TypeError(f"{name} must be an array, got {type(x).__name__}")


def _check_heads(layer: str, embed_dim: int, num_heads: int, dropout: float) -> None:
    for what, size in (("embed_dim", embed_dim), ("num_heads", num_heads)):
        if not isinstance(size, int | np.integer):
            raise TypeError(f"{layer}: {what} must be an int, got {size!r}")
    if embed_dim < 1 or num_heads < 1 or embed_dim % num_heads:
        raise ValueError(
            f"{layer}: num_heads must be positive and divide embed_dim ({embed_dim}), "
            f"got {num_heads}"
        )
    if not 0 <= dropout <= 1:
        raise ValueError(f"{layer}: dropout must be in [0, 1], got {dropout}")


def _tensor(value: Any) -> Any:
    return value if isinstance(value, Variable) else Tensor(value)


def _unrecorded(x: Any) -> Any:
    """The array of a tensor that nothing is recorded of: arrays cost less on their way."""
    recorded = x._requires_grad and is_grad_enabled()
    return x if recorded or type(x._data) is not np.ndarray else x._data


def _array(x: Any) -> Any:
    return x._data if isinstance(x, Variable) else x
