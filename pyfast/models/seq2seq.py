"""From one sequence to another: an encoder, a decoder that attends to it, and what they share."""

from __future__ import annotations

import contextlib
import math
from dataclasses import dataclass
from typing import Any

from .. import nn
from .._tensor import Tensor
from ..autograd import no_grad
from ..ops.shape import stack
from .inputs import check_cache, check_ids, check_length, check_range, positions_of, real_tokens

__all__ = ["EncoderDecoder", "Seq2SeqConfig", "Seq2SeqTransformer"]


@dataclass(frozen=True)
class Seq2SeqConfig:
    """Sizes and choices of a :class:`Seq2SeqTransformer`.

    Attributes
    ----------
    source_vocab_size, target_vocab_size : int
    hidden_size, num_encoder_layers, num_decoder_layers, num_attention_heads : int
    intermediate_size : int, optional
        Width of the feed-forward networks; default: 4 hidden_size.
    max_position_embeddings : int
        Longest source and target.
    position : str
        "sinusoidal" or "learned".
    norm_first : bool
        Pre-norm instead of post-norm.
    activation : str
        See :class:`pyfast.nn.TransformerEncoderLayer`.
    dropout : float
    cross_attention : str
        "last" or "matching": see :class:`pyfast.nn.Transformer`.
    tie_word_embeddings : bool
        The output projection is the table of target embeddings.

    Examples
    --------
    >>> Seq2SeqConfig(source_vocab_size=40, target_vocab_size=20).hidden_size
    256
    """

    source_vocab_size: int
    target_vocab_size: int
    hidden_size: int = 256
    num_encoder_layers: int = 3
    num_decoder_layers: int = 3
    num_attention_heads: int = 4
    intermediate_size: int | None = None
    max_position_embeddings: int = 512
    position: str = "sinusoidal"
    norm_first: bool = True
    activation: str = "relu"
    dropout: float = 0.1
    cross_attention: str = "last"
    tie_word_embeddings: bool = False


class EncoderDecoder(nn.Module):
    """What models that decode tokens from an encoded source have in common.

    Subclasses implement :meth:`embed_source`, and :meth:`memory_mask` if they shorten the source.

    Parameters
    ----------
    config : Seq2SeqConfig or SpeechConfig

    Attributes
    ----------
    max_positions : int
        Longest target.
    """

    output: nn.Module | None

    def __init__(self, config: Any) -> None:
        super().__init__()
        self.config = config
        width = config.hidden_size
        self.max_positions = config.max_position_embeddings
        self.target_embedding = nn.Embedding(config.target_vocab_size, width)
        self.target_position = self._position()
        self.dropout = nn.Dropout(config.dropout)
        self.transformer = nn.Transformer(
            width,
            config.num_attention_heads,
            config.num_encoder_layers,
            config.num_decoder_layers,
            config.intermediate_size or 4 * width,
            config.dropout,
            config.activation,
            batch_first=True,
            norm_first=config.norm_first,
            cross_attention=config.cross_attention,
        )
        tied = config.tie_word_embeddings
        output = None if tied else nn.Linear(width, config.target_vocab_size)
        self.register_module("output", output)
        nn.init.normal_(self.target_embedding.weight, std=width**-0.5)

    def _position(self, limit: int | None = None) -> nn.Module:
        kinds: dict[str, Any] = {
            "sinusoidal": nn.SinusoidalPositionalEncoding,
            "learned": nn.LearnedPositionalEncoding,
        }
        kind = self.config.position
        if kind not in kinds:
            name = type(self.config).__name__
            raise ValueError(f"{name}: position must be one of {tuple(kinds)}, got {kind!r}")
        layer: nn.Module = kinds[kind](self.config.hidden_size, limit or self.max_positions)
        return layer

    def embed_source(self, source: Any, source_mask: Any) -> tuple[Any, Any]:
        """The encoder's input, positions added, and which of it is real (bool, or None)."""
        raise NotImplementedError

    def memory_mask(self, source_mask: Any) -> Any:
        """Which positions of the memory are real, from which of the source are.

        Parameters
        ----------
        source_mask : array of shape (batch, length), or None

        Returns
        -------
        array of shape (batch, memory length), or None
        """
        return source_mask

    def encode(self, source: Any, source_mask: Any = None) -> Tensor:
        """Run the encoder.

        Parameters
        ----------
        source : what the model reads
        source_mask : array of shape (batch, source length), bool or 0 and 1, optional
            True or 1: real, not padding.

        Returns
        -------
        Tensor of shape (batch, memory length, hidden_size)
            The memory for :meth:`decode`; with cross-attention to matching layers, of shape
            (batch, layers, memory length, hidden_size).

        Raises
        ------
        TypeError, ValueError, IndexError
            For shapes or dtypes that do not fit.
        """
        x, real = self.embed_source(source, source_mask)
        padding = None if real is None else ~real
        encoder: Any = self.transformer.encoder
        if self.config.cross_attention == "matching":
            return stack(encoder.layer_outputs(self.dropout(x), None, padding), 1)
        return encoder(self.dropout(x), None, padding)

    def decode(
        self,
        target_ids: Any,
        memory: Any,
        memory_mask: Any = None,
        cache: Any = None,
        is_causal: bool = True,
        target_mask: Any = None,
    ) -> Any:
        """Logits of the next token, at each position of the target.

        Parameters
        ----------
        target_ids : integers of shape (batch, length)
        memory : what :meth:`encode` returned
        memory_mask : array of shape (batch, memory length), bool or 0 and 1, optional
            True or 1: real. See :meth:`memory_mask`.
        cache : KVCache, optional
            Of earlier target tokens and of the memory's keys and values. It is advanced; nothing
            is recorded.
        is_causal : bool
            False: each token sees all, as in non-autoregressive decoding.
        target_mask : array of shape (batch, length), bool or 0 and 1, optional
            True or 1: a real target token. With a cache it covers the earlier ones too.

        Returns
        -------
        Tensor of shape (batch, length, target_vocab_size)

        Raises
        ------
        TypeError, ValueError, IndexError
            For shapes or dtypes that do not fit, ids outside the vocabulary, more tokens than
            positions, or a cache of another batch size.
        """
        name = f"{type(self).__name__}.decode"
        ids = check_ids(target_ids, f"{name}: target_ids")
        check_range(ids, self.config.target_vocab_size, f"{name}: target_ids")
        start = check_cache(cache, len(ids), name)
        end = start + ids.shape[1]
        check_length(end, self.max_positions, f"{name}: target_ids")
        if len(memory) != len(ids):
            raise ValueError(f"{name}: memory must have batch {len(ids)}, got {memory.shape}")
        real = real_tokens(target_mask, (len(ids), end), f"{name}: target_mask")
        shape = (len(ids), memory.shape[-2])
        seen = real_tokens(memory_mask, shape, f"{name}: memory_mask")
        masks = (None, None, None if real is None else ~real, None if seen is None else ~seen)
        with contextlib.nullcontext() if cache is None else no_grad():
            x = self.target_embedding(ids) * math.sqrt(self.config.hidden_size)
            x = self.dropout(self.target_position(x, positions_of(real, start)))
            if self.config.cross_attention == "matching":
                memory = [memory[:, i] for i in range(memory.shape[1])]
            x = self.transformer.decoder(x, memory, *masks, is_causal, False, cache)
            if cache is not None:
                cache.advance(ids.shape[1])
            return self._logits(x)

    def _logits(self, x: Any) -> Any:
        if self.output is None:
            return self.target_embedding.project(x)
        return self.output(x)

    def forward(
        self, source: Any, target_ids: Any, source_mask: Any = None, target_mask: Any = None
    ) -> Any:
        """Encode the source and decode the target, as in training.

        Parameters
        ----------
        source : what the model reads
        target_ids : integers of shape (batch, length)
            Begin with START: the logits at each position are those of the token behind it.
        source_mask, target_mask : arrays, bool or 0 and 1, optional
            True or 1: real, not padding.

        Returns
        -------
        Tensor of shape (batch, length, target_vocab_size)

        Raises
        ------
        TypeError, ValueError, IndexError
            For shapes or dtypes that do not fit.
        """
        memory = self.encode(source, source_mask)
        seen = self.memory_mask(source_mask)
        return self.decode(target_ids, memory, seen, target_mask=target_mask)

    def new_cache(self, batch_size: int, max_length: int | None = None) -> Any:
        """An empty cache for the decoder.

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

        layers = self.config.num_decoder_layers
        room = self.max_positions if max_length is None else max_length
        return KVCache(layers, batch_size, room)


class Seq2SeqTransformer(EncoderDecoder):
    """Tokens to tokens: the Transformer of the paper, with embeddings and output projection.

    (Vaswani et al., "Attention is all you need", 2017.)

    Parameters
    ----------
    config : Seq2SeqConfig

    Attributes
    ----------
    max_positions : int
        Longest source and target.

    Examples
    --------
    >>> from pyfast.models import Seq2SeqConfig, Seq2SeqTransformer
    >>> config = Seq2SeqConfig(40, 20, hidden_size=16, num_encoder_layers=1, num_decoder_layers=1)
    >>> model = Seq2SeqTransformer(config).eval()
    >>> model([[5, 6, 7]], [[1, 2]]).shape
    (1, 2, 20)
    """

    def __init__(self, config: Seq2SeqConfig) -> None:
        super().__init__(config)
        self.source_embedding = nn.Embedding(config.source_vocab_size, config.hidden_size)
        self.source_position = self._position()
        nn.init.normal_(self.source_embedding.weight, std=config.hidden_size**-0.5)

    def embed_source(self, source: Any, source_mask: Any) -> tuple[Any, Any]:
        """Token embeddings with positions; and which tokens are real.

        Parameters
        ----------
        source : integers of shape (batch, length)
        source_mask : array of shape (batch, length), or None

        Returns
        -------
        Tensor of shape (batch, length, hidden_size); array of bool, or None
        """
        name = type(self).__name__
        ids = check_ids(source, f"{name}: source")
        check_range(ids, self.config.source_vocab_size, f"{name}: source")
        check_length(ids.shape[1], self.max_positions, f"{name}: source")
        real = real_tokens(source_mask, (len(ids), ids.shape[1]), f"{name}: source_mask")
        x = self.source_embedding(ids) * math.sqrt(self.config.hidden_size)
        return self.source_position(x, positions_of(real, 0)), real
