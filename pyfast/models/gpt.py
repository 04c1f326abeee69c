"""A decoder-only Transformer: GPT-2 as it is, Llama by its options."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from .. import nn
from .._tensor import Tensor
from ..autograd import no_grad
from .initial import draw_weights
from .inputs import (
    check_cache,
    check_ids,
    check_length,
    check_range,
    positions_of,
    real_tokens,
)
from .pretrained import (
    Source,
    activation_of,
    joined,
    load_sources,
    prefix_of,
    read_folder,
    refuse,
    setting,
    transposed,
)

__all__ = ["GPT", "GPTConfig"]


@dataclass(frozen=True)
class GPTConfig:
    """Sizes and choices of a :class:`GPT`; the defaults are GPT-2's smallest.

    Attributes
    ----------
    vocab_size, hidden_size, num_hidden_layers, num_attention_heads : int
    num_key_value_heads : int, optional
        Fewer than query heads: grouped-query attention.
    head_dim : int, optional
        Default: hidden_size / num_attention_heads.
    intermediate_size : int, optional
        Width of the feed-forward network; default: 4 hidden_size.
    max_position_embeddings : int
        Longest sequence.
    position : str
        "learned", "sinusoidal" or "rotary".
    rope_theta : float
        Base of rotary positions.
    norm : str
        "layer_norm" or "rms_norm".
    norm_eps : float
    activation : str
        Of the feed-forward network: see :func:`pyfast.ops.linear`.
    gated : bool
        Multiply the activation by a second projection: with "silu", SwiGLU.
    bias : bool
        Of the projections.
    window_size : int, optional
        Tokens see only the last so many, themselves included.
    dropout : float
    tie_word_embeddings : bool
        The output projection is the table of embeddings.

    Examples
    --------
    >>> GPTConfig(vocab_size=100).hidden_size
    768
    """

    vocab_size: int = 50257
    hidden_size: int = 768
    num_hidden_layers: int = 12
    num_attention_heads: int = 12
    num_key_value_heads: int | None = None
    head_dim: int | None = None
    intermediate_size: int | None = None
    max_position_embeddings: int = 1024
    position: str = "learned"
    rope_theta: float = 10000.0
    norm: str = "layer_norm"
    norm_eps: float = 1e-5
    activation: str = "gelu_tanh"
    gated: bool = False
    bias: bool = True
    window_size: int | None = None
    dropout: float = 0.0
    tie_word_embeddings: bool = True

    def __post_init__(self) -> None:
        for name, known in (
            ("position", ("learned", "sinusoidal", "rotary")),
            ("norm", ("layer_norm", "rms_norm")),
        ):
            value = getattr(self, name)
            if value not in known:
                raise ValueError(f"GPTConfig: {name} must be one of {known}, got {value!r}")

    @classmethod
    def llama(cls, **changes: Any) -> GPTConfig:
        """Llama's layout: rotary positions, RMS norms, SwiGLU, no biases.

        Parameters
        ----------
        **changes
            Attributes that differ, sizes among them.

        Returns
        -------
        GPTConfig

        Examples
        --------
        >>> GPTConfig.llama(vocab_size=100).position
        'rotary'
        """
        layout = {
            "position": "rotary", "norm": "rms_norm", "activation": "silu", "gated": True,
            "bias": False, "tie_word_embeddings": False,
        }  # fmt: skip
        return cls(**{**layout, **changes})

    @classmethod
    def from_hugging_face(cls, config: Mapping[str, Any]) -> GPTConfig:
        """From the content of a config.json of type "gpt2", "llama" or "mistral".

        Parameters
        ----------
        config : mapping

        Returns
        -------
        GPTConfig

        Raises
        ------
        ValueError
            If a setting is missing or not supported.
        """
        if config.get("model_type") == "gpt2":
            return _gpt2_config(config)
        return _llama_config(config)


class GPTFeedForward(nn.Module):
    """Two projections with an activation between them, or three when gated.

    Parameters
    ----------
    config : GPTConfig

    Examples
    --------
    >>> import numpy as np
    >>> layer = GPTFeedForward(GPTConfig.llama(hidden_size=4))
    >>> layer(np.ones((1, 2, 4), np.float32)).shape
    (1, 2, 4)
    """

    gate: nn.Module | None

    def __init__(self, config: GPTConfig) -> None:
        super().__init__()
        width, bias = config.hidden_size, config.bias
        inner = config.intermediate_size or 4 * width
        fused = {"activation": config.activation}
        self.register_module(
            "gate", nn.Linear(width, inner, bias, **fused) if config.gated else None
        )
        self.up = nn.Linear(width, inner, bias, **({} if config.gated else fused))
        self.down = nn.Linear(inner, width, bias)

    def forward(self, x: Any) -> Any:
        """Apply it to the last axis.

        Parameters
        ----------
        x : array of shape (..., hidden_size)

        Returns
        -------
        Tensor of the shape of `x`
        """
        inner = self.up(x)
        return self.down(inner if self.gate is None else self.gate(x) * inner)


class GPTBlock(nn.Module):
    """Causal self-attention and a feed-forward network, each behind a norm and added to its input.

    Parameters
    ----------
    config : GPTConfig
    rotary : RotaryPositionalEmbedding, optional

    Examples
    --------
    >>> import numpy as np
    >>> block = GPTBlock(GPTConfig(hidden_size=8, num_attention_heads=2))
    >>> block(np.ones((1, 2, 8), np.float32)).shape
    (1, 2, 8)
    """

    def __init__(
        self, config: GPTConfig, rotary: nn.RotaryPositionalEmbedding | None = None
    ) -> None:
        super().__init__()
        self.norm1 = _norm(config)
        self.attention = nn.GroupedQueryAttention(
            config.hidden_size,
            config.num_attention_heads,
            config.num_key_value_heads,
            config.head_dim,
            config.dropout,
            config.bias,
            config.window_size,
            rotary,
        )
        self.norm2 = _norm(config)
        self.feed_forward = GPTFeedForward(config)
        self.dropout = nn.Dropout(config.dropout)

    def forward(
        self, x: Any, padding: Any = None, positions: Any = None, cache: Any = None, index: int = 0
    ) -> Any:
        """Apply the block.

        Parameters
        ----------
        x : array of shape (batch, length, hidden_size)
        padding, positions, cache, index
            As `key_padding_mask`, `positions`, `cache` and `layer_index` of
            :class:`pyfast.nn.GroupedQueryAttention`.

        Returns
        -------
        Tensor of the shape of `x`
        """
        mixed = self.attention(self.norm1(x), padding, True, positions, cache, index)
        x = x + self.dropout(mixed)
        return x + self.dropout(self.feed_forward(self.norm2(x)))


class GPT(nn.Module):
    """A language model: the distribution of each next token, given those before it.

    (Radford et al., "Language models are unsupervised multitask learners", 2019; Touvron et al.,
    "LLaMA", 2023.)

    Parameters
    ----------
    config : GPTConfig

    Attributes
    ----------
    max_positions : int
        Longest sequence.

    Examples
    --------
    >>> import pyfast as pf
    >>> from pyfast.models import GPT, GPTConfig
    >>> sizes = {"vocab_size": 50, "hidden_size": 16, "num_hidden_layers": 2}
    >>> model = GPT(GPTConfig(num_attention_heads=4, **sizes))
    >>> model([[3, 1, 4]]).shape
    (1, 3, 50)
    """

    rotary: nn.RotaryPositionalEmbedding | None
    position: nn.Module | None
    lm_head: nn.Module | None

    def __init__(self, config: GPTConfig) -> None:
        super().__init__()
        self.config = config
        width, limit = config.hidden_size, config.max_position_embeddings
        self.max_positions = limit
        self.token_embedding = nn.Embedding(config.vocab_size, width)
        rotary: Any = None
        position: Any = None
        if config.position == "rotary":
            head_dim = config.head_dim or width // config.num_attention_heads
            rotary = nn.RotaryPositionalEmbedding(head_dim, limit, config.rope_theta)
        elif config.position == "learned":
            position = nn.LearnedPositionalEncoding(width, limit)
        else:
            position = nn.SinusoidalPositionalEncoding(width, limit)
        self.register_module("rotary", rotary)
        self.register_module("position", position)
        self.dropout = nn.Dropout(config.dropout)
        blocks = (GPTBlock(config, rotary) for _ in range(config.num_hidden_layers))
        self.layers = nn.ModuleList(blocks)
        self.norm = _norm(config)
        tied = config.tie_word_embeddings
        head = None if tied else nn.Linear(width, config.vocab_size, bias=False)
        self.register_module("lm_head", head)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw all weights anew, as GPT-2's."""
        depth = max(1, 2 * self.config.num_hidden_layers)
        draw_weights(self, self.config.hidden_size, ("out_proj.weight", "down.weight"), depth)

    def forward(
        self,
        input_ids: Any,
        cache: Any = None,
        attention_mask: Any = None,
        logits_to_keep: int = 0,
    ) -> Any:
        """Logits of the next token, at each position.

        Parameters
        ----------
        input_ids : integers of shape (batch, length)
        cache : KVCache, optional
            Of earlier tokens: `input_ids` follow them. It is advanced; nothing is recorded.
        attention_mask : array of shape (batch, length), bool or 0 and 1, optional
            True or 1: a real token. Padding may stand on the left, and then positions are counted
            from the first real token. With a cache it covers the earlier tokens too.
        logits_to_keep : int
            Compute the last so many positions' only: decoding needs one. 0: all.

        Returns
        -------
        Tensor of shape (batch, length, vocab_size)
            Or (batch, logits_to_keep, vocab_size).

        Raises
        ------
        TypeError, ValueError, IndexError
            For shapes or dtypes that do not fit, ids outside the vocabulary, more tokens than
            positions, or a cache of another batch size.
        """
        name = type(self).__name__
        ids = check_ids(input_ids, f"{name}: input_ids")
        check_range(ids, self.config.vocab_size, f"{name}: input_ids")
        start = check_cache(cache, len(ids), name)
        end = start + ids.shape[1]
        check_length(end, self.max_positions, f"{name}: input_ids")
        real = real_tokens(attention_mask, (len(ids), end), f"{name}: attention_mask")
        if not isinstance(logits_to_keep, int | np.integer):
            raise TypeError(f"{name}: logits_to_keep must be an int, got {logits_to_keep!r}")
        if not 0 <= logits_to_keep <= ids.shape[1]:
            raise ValueError(
                f"{name}: logits_to_keep must be in [0, {ids.shape[1]}], got {logits_to_keep}"
            )
        with contextlib.nullcontext() if cache is None else no_grad():
            hidden = self._hidden(ids, positions_of(real, start), real, cache)
            if cache is not None:
                cache.advance(ids.shape[1])
            if logits_to_keep:
                hidden = hidden[:, -logits_to_keep:]
            if self.lm_head is None:
                return self.token_embedding.project(hidden)
            return self.lm_head(hidden)

    def _hidden(self, ids: Any, positions: Any, real: Any, cache: Any) -> Tensor:
        x = self.token_embedding(ids)
        if self.position is not None:
            x = self.position(x, positions)
        x = self.dropout(x)
        padding = None if real is None else ~real
        for i, layer in enumerate(self.layers):
            x = layer(x, padding, positions, cache, i)
        return self.norm(x)

    def new_cache(self, batch_size: int, max_length: int | None = None) -> Any:
        """An empty cache of this model's keys and values.

        Parameters
        ----------
        batch_size : int
        max_length : int, optional
            Default: :attr:`max_positions`.

        Returns
        -------
        pyfast.generation.KVCache
        """
        from ..generation import KVCache

        room = self.max_positions if max_length is None else max_length
        return KVCache(len(self.layers), batch_size, room)

    @classmethod
    def from_pretrained(cls, folder: str | os.PathLike[str], strict: bool = True) -> GPT:
        """Read a Hugging Face folder with a model of type "gpt2", "llama" or "mistral".

        Parameters
        ----------
        folder : path
        strict : bool
            False: weights that this model has no place for are left out.

        Returns
        -------
        GPT
            In evaluation mode.

        Raises
        ------
        FileNotFoundError
            If a file is missing.
        ValueError
            If a file is broken, a setting is not supported, or keys do not fit; all are named.
        """
        config, tensors = read_folder(folder, ["gpt2", "llama", "mistral"])
        model = cls(GPTConfig.from_hugging_face(config))
        if config["model_type"] == "gpt2":
            sources = _gpt2_sources(model.config, prefix_of(tensors, "transformer."))
            ignored = r".*\.attn\.(masked_)?bias"
        else:
            sources = _llama_sources(model.config, prefix_of(tensors, "model."))
            ignored = r".*\.rotary_emb\.inv_freq"
        if model.config.tie_word_embeddings:
            ignored += r"|lm_head\.weight"  # the table of embeddings once more
        load_sources(model, tensors, sources, folder, ignored, strict)
        return model.eval()


def _norm(config: GPTConfig) -> nn.Module:
    if config.norm == "rms_norm":
        return nn.RMSNorm(config.hidden_size, config.norm_eps)
    return nn.LayerNorm(config.hidden_size, config.norm_eps)


def _gpt2_config(config: Mapping[str, Any]) -> GPTConfig:
    refuse(
        config,
        add_cross_attention=False,
        scale_attn_by_inverse_layer_idx=False,
        scale_attn_weights=True,
    )
    return GPTConfig(
        vocab_size=setting(config, "vocab_size"),
        hidden_size=setting(config, "n_embd"),
        num_hidden_layers=setting(config, "n_layer"),
        num_attention_heads=setting(config, "n_head"),
        intermediate_size=config.get("n_inner"),
        max_position_embeddings=setting(config, "n_positions"),
        norm_eps=setting(config, "layer_norm_epsilon", float),
        activation=activation_of(config.get("activation_function", "gelu_new")),
        dropout=float(config.get("resid_pdrop", 0.1)),
        tie_word_embeddings=bool(config.get("tie_word_embeddings", True)),
    )


def _llama_config(config: Mapping[str, Any]) -> GPTConfig:
    refuse(config, attention_bias=False, mlp_bias=False)
    rope = config.get("rope_parameters") or config.get("rope_scaling") or {}
    kind = rope.get("rope_type", rope.get("type", "default"))
    if kind != "default":
        raise ValueError(f"from_pretrained: config.json: rope_type must be 'default', got {kind!r}")
    sizes = {
        name: setting(config, name)
        for name in (
            "vocab_size", "hidden_size", "num_hidden_layers", "num_attention_heads",
            "intermediate_size", "max_position_embeddings",
        )
    }  # fmt: skip
    return GPTConfig.llama(
        **sizes,
        num_key_value_heads=config.get("num_key_value_heads"),
        head_dim=config.get("head_dim"),
        rope_theta=float(rope.get("rope_theta", config.get("rope_theta", 10000.0))),
        norm_eps=setting(config, "rms_norm_eps", float),
        activation=activation_of(config.get("hidden_act", "silu")),
        window_size=config.get("sliding_window"),
        dropout=float(config.get("attention_dropout", 0.0)),
        tie_word_embeddings=bool(config.get("tie_word_embeddings", False)),
    )


def _gpt2_sources(config: GPTConfig, prefix: str) -> dict[str, Source]:
    """Where each tensor stands in a GPT-2 file, whose matrices are transposed."""
    sources = {
        "token_embedding.weight": Source((f"{prefix}wte.weight",)),
        "position.weight": Source((f"{prefix}wpe.weight",)),
    }
    if not config.tie_word_embeddings:
        sources["lm_head.weight"] = Source(("lm_head.weight",))
    for kind in ("weight", "bias"):
        sources[f"norm.{kind}"] = Source((f"{prefix}ln_f.{kind}",))
    for i in range(config.num_hidden_layers):
        ours, theirs = f"layers.{i}", f"{prefix}h.{i}"
        for a, b in (
            ("attention.in_proj_", "attn.c_attn."),
            ("attention.out_proj.", "attn.c_proj."),
            ("feed_forward.up.", "mlp.c_fc."),
            ("feed_forward.down.", "mlp.c_proj."),
        ):
            sources[f"{ours}.{a}weight"] = transposed(f"{theirs}.{b}weight")
            sources[f"{ours}.{a}bias"] = Source((f"{theirs}.{b}bias",))
        for n in (1, 2):
            for kind in ("weight", "bias"):
                sources[f"{ours}.norm{n}.{kind}"] = Source((f"{theirs}.ln_{n}.{kind}",))
    return sources


def _llama_sources(config: GPTConfig, prefix: str) -> dict[str, Source]:
    """Where each tensor stands in a Llama file."""
    plain = {
        "token_embedding.weight": f"{prefix}embed_tokens.weight",
        "norm.weight": f"{prefix}norm.weight",
    }
    if not config.tie_word_embeddings:
        plain["lm_head.weight"] = "lm_head.weight"
    names = {
        "attention.out_proj": "self_attn.o_proj",
        "feed_forward.gate": "mlp.gate_proj",
        "feed_forward.up": "mlp.up_proj",
        "feed_forward.down": "mlp.down_proj",
        "norm1": "input_layernorm",
        "norm2": "post_attention_layernorm",
    }
    sources = {}
    for i in range(config.num_hidden_layers):
        ours, theirs = f"layers.{i}", f"{prefix}layers.{i}"
        plain |= {f"{ours}.{a}.weight": f"{theirs}.{b}.weight" for a, b in names.items()}
        parts = (f"{theirs}.self_attn.{n}_proj.weight" for n in "qkv")
        sources[f"{ours}.attention.in_proj_weight"] = joined(*parts)
    return sources | {ours: Source((theirs,)) for ours, theirs in plain.items()}
