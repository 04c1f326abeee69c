"""BERT: an encoder of tokens that see each other in both directions."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from .. import nn
from .._tensor import Tensor
from .initial import draw_weights
from .inputs import check_ids, check_length, check_range, real_tokens
from .pretrained import (
    Source,
    activation_of,
    joined,
    load_sources,
    prefix_of,
    read_folder,
    refuse,
    setting,
)

__all__ = ["Bert", "BertConfig"]


@dataclass(frozen=True)
class BertConfig:
    """Sizes and choices of a :class:`Bert`; the defaults are those of the paper's base model.

    Attributes
    ----------
    vocab_size, hidden_size, num_hidden_layers, num_attention_heads, intermediate_size : int
    max_position_embeddings : int
        Longest sequence.
    type_vocab_size : int
        Kinds of segments.
    activation : str
        See :class:`pyfast.nn.TransformerEncoderLayer`.
    layer_norm_eps, dropout : float
    pooler : bool
        Whether there are weights for :meth:`Bert.pool`.

    Examples
    --------
    >>> BertConfig(num_hidden_layers=2).hidden_size
    768
    """

    vocab_size: int = 30522
    hidden_size: int = 768
    num_hidden_layers: int = 12
    num_attention_heads: int = 12
    intermediate_size: int = 3072
    max_position_embeddings: int = 512
    type_vocab_size: int = 2
    activation: str = "gelu"
    layer_norm_eps: float = 1e-12
    dropout: float = 0.1
    pooler: bool = True

    @classmethod
    def from_hugging_face(cls, config: Mapping[str, Any], pooler: bool = True) -> BertConfig:
        """From the content of a config.json.

        Parameters
        ----------
        config : mapping
        pooler : bool

        Returns
        -------
        BertConfig

        Raises
        ------
        ValueError
            If a setting is missing or not supported.
        """
        refuse(config, position_embedding_type="absolute", is_decoder=False)
        sizes = {
            name: setting(config, name)
            for name in (
                "vocab_size", "hidden_size", "num_hidden_layers", "num_attention_heads",
                "intermediate_size", "max_position_embeddings", "type_vocab_size",
            )
        }  # fmt: skip
        return cls(
            **sizes,
            activation=activation_of(config.get("hidden_act", "gelu")),
            layer_norm_eps=setting(config, "layer_norm_eps", float),
            dropout=float(config.get("hidden_dropout_prob", 0.1)),
            pooler=pooler,
        )


class Bert(nn.Module):
    """A vector for each token, from all tokens.

    (Devlin, Chang, Lee and Toutanova, "BERT", NAACL 2019.)

    Parameters
    ----------
    config : BertConfig

    Attributes
    ----------
    max_positions : int
        Longest sequence.

    Examples
    --------
    >>> from pyfast.models import Bert, BertConfig
    >>> sizes = {"vocab_size": 50, "hidden_size": 16, "intermediate_size": 32}
    >>> model = Bert(BertConfig(num_hidden_layers=2, num_attention_heads=4, **sizes)).eval()
    >>> model([[3, 1, 4]]).shape
    (1, 3, 16)
    """

    pooler: nn.Module | None

    def __init__(self, config: BertConfig) -> None:
        super().__init__()
        self.config = config
        self.max_positions = config.max_position_embeddings
        width = config.hidden_size
        self.token_embedding = nn.Embedding(config.vocab_size, width)
        self.position = nn.LearnedPositionalEncoding(width, self.max_positions)
        self.segment_embedding = nn.Embedding(config.type_vocab_size, width)
        self.norm = nn.LayerNorm(width, config.layer_norm_eps)
        self.dropout = nn.Dropout(config.dropout)
        layer = nn.TransformerEncoderLayer(
            width,
            config.num_attention_heads,
            config.intermediate_size,
            config.dropout,
            config.activation,
            config.layer_norm_eps,
            batch_first=True,
        )
        self.encoder = nn.TransformerEncoder(layer, config.num_hidden_layers)
        self.register_module("pooler", nn.Linear(width, width) if config.pooler else None)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw all weights anew, as the paper's."""
        draw_weights(self, self.config.hidden_size)

    def forward(
        self, input_ids: Any, attention_mask: Any = None, token_type_ids: Any = None
    ) -> Tensor:
        """Run the encoder.

        Parameters
        ----------
        input_ids : integers of shape (batch, length)
        attention_mask : array of shape (batch, length), bool or 0 and 1, optional
            True or 1: a real token.
        token_type_ids : integers of shape (batch, length), optional
            The segment of each token; default: all 0.

        Returns
        -------
        Tensor of shape (batch, length, hidden_size)

        Raises
        ------
        TypeError, ValueError, IndexError
            For shapes or dtypes that do not fit, ids outside the vocabulary, or more tokens than
            positions.
        """
        ids = check_ids(input_ids, "Bert: input_ids")
        check_range(ids, self.config.vocab_size, "Bert: input_ids")
        check_length(ids.shape[1], self.max_positions, "Bert: input_ids")
        real = real_tokens(attention_mask, (len(ids), ids.shape[1]), "Bert: attention_mask")
        x = self.position(self.token_embedding(ids) + self._segments(token_type_ids, ids.shape))
        padding = None if real is None else ~real
        return self.encoder(self.dropout(self.norm(x)), None, padding)

    def _segments(self, token_type_ids: Any, shape: tuple[int, ...]) -> Any:
        if token_type_ids is None:
            return self.segment_embedding.weight[0]
        segments = check_ids(token_type_ids, "Bert: token_type_ids")
        if segments.shape != shape:
            raise ValueError(f"Bert: token_type_ids must have shape {shape}, got {segments.shape}")
        check_range(segments, self.config.type_vocab_size, "Bert: token_type_ids")
        return self.segment_embedding(segments)

    def pool(self, hidden: Any) -> Tensor:
        """The sequence's vector, from that of its first token.

        Parameters
        ----------
        hidden : Tensor of shape (batch, length, hidden_size)
            What the model returned.

        Returns
        -------
        Tensor of shape (batch, hidden_size)

        Raises
        ------
        ValueError
            If the model was built without a pooler.
        """
        if self.pooler is None:
            raise ValueError("Bert.pool: config.pooler must be True")
        return self.pooler(hidden[:, 0]).tanh()

    @classmethod
    def from_pretrained(cls, folder: str | os.PathLike[str], strict: bool = True) -> Bert:
        """Read a Hugging Face folder with a model of type "bert".

        Parameters
        ----------
        folder : path
        strict : bool
            False: weights of heads, which this encoder has no place for, are left out.

        Returns
        -------
        Bert
            In evaluation mode.

        Raises
        ------
        FileNotFoundError
            If a file is missing.
        ValueError
            If a file is broken, a setting is not supported, or keys do not fit; all are named.
        """
        config, tensors = read_folder(folder, ["bert"])
        prefix = prefix_of(tensors, "bert.")
        pooler = f"{prefix}pooler.dense.weight" in tensors
        model = cls(BertConfig.from_hugging_face(config, pooler))
        sources = _sources(model.config, prefix)
        load_sources(model, tensors, sources, folder, r".*position_ids", strict)
        return model.eval()


def _sources(config: BertConfig, prefix: str) -> dict[str, Source]:
    """Where each tensor stands in a Hugging Face file."""
    plain = {
        "token_embedding.weight": "embeddings.word_embeddings.weight",
        "position.weight": "embeddings.position_embeddings.weight",
        "segment_embedding.weight": "embeddings.token_type_embeddings.weight",
        "norm.weight": "embeddings.LayerNorm.weight",
        "norm.bias": "embeddings.LayerNorm.bias",
    }
    if config.pooler:
        plain |= {f"pooler.{kind}": f"pooler.dense.{kind}" for kind in ("weight", "bias")}
    names = {
        "self_attn.out_proj": "attention.output.dense",
        "norm1": "attention.output.LayerNorm",
        "linear1": "intermediate.dense",
        "linear2": "output.dense",
        "norm2": "output.LayerNorm",
    }
    sources = {}
    for i in range(config.num_hidden_layers):
        ours, theirs = f"encoder.layers.{i}", f"encoder.layer.{i}"
        for kind in ("weight", "bias"):
            parts = (
                f"{prefix}{theirs}.attention.self.{n}.{kind}" for n in ("query", "key", "value")
            )
            sources[f"{ours}.self_attn.in_proj_{kind}"] = joined(*parts)
            plain |= {f"{ours}.{a}.{kind}": f"{theirs}.{b}.{kind}" for a, b in names.items()}
    return sources | {ours: Source((prefix + theirs,)) for ours, theirs in plain.items()}
