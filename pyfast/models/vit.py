"""Vision Transformer: an image as a sequence of patches."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from .. import nn
from .._tensor import Tensor
from ..nn.sizes import to_tuple
from ..ops.shape import cat
from .initial import draw_weights
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

__all__ = ["ViTConfig", "VisionTransformer"]


@dataclass(frozen=True)
class ViTConfig:
    """Sizes and choices of a :class:`VisionTransformer`; the defaults are the paper's ViT-B/16.

    Attributes
    ----------
    image_size, patch_size : int or (height, width)
        Patches divide the image.
    num_channels, hidden_size, num_hidden_layers, num_attention_heads, intermediate_size : int
    num_labels : int, optional
        Classes; None: no classifier, the model returns hidden states.
    activation : str
        See :class:`pyfast.nn.TransformerEncoderLayer`.
    layer_norm_eps, dropout : float
    pooler : bool
        Whether there are weights for :meth:`VisionTransformer.pool`.

    Examples
    --------
    >>> ViTConfig(image_size=8, patch_size=2).num_patches
    16
    """

    image_size: int | tuple[int, int] = 224
    patch_size: int | tuple[int, int] = 16
    num_channels: int = 3
    hidden_size: int = 768
    num_hidden_layers: int = 12
    num_attention_heads: int = 12
    intermediate_size: int = 3072
    num_labels: int | None = None
    activation: str = "gelu"
    layer_norm_eps: float = 1e-12
    dropout: float = 0.0
    pooler: bool = False

    def __post_init__(self) -> None:
        image, patch = self.image, self.patch
        if min(*image, *patch) < 1 or any(n % p for n, p in zip(image, patch, strict=True)):
            raise ValueError(f"ViTConfig: patch_size must divide image_size {image}, got {patch}")

    @property
    def image(self) -> tuple[int, ...]:
        """Height and width of images."""
        return to_tuple(self.image_size, 2, "ViTConfig: image_size")

    @property
    def patch(self) -> tuple[int, ...]:
        """Height and width of patches."""
        return to_tuple(self.patch_size, 2, "ViTConfig: patch_size")

    @property
    def num_patches(self) -> int:
        """Patches of an image."""
        return int(np.prod([n // p for n, p in zip(self.image, self.patch, strict=True)]))

    @classmethod
    def from_hugging_face(
        cls, config: Mapping[str, Any], num_labels: int | None, pooler: bool
    ) -> ViTConfig:
        """From the content of a config.json.

        Parameters
        ----------
        config : mapping
        num_labels : int or None
        pooler : bool

        Returns
        -------
        ViTConfig

        Raises
        ------
        ValueError
            If a setting is missing or not supported.
        """
        refuse(config, qkv_bias=True, pooler_act="tanh")
        sizes = {
            name: setting(config, name)
            for name in (
                "num_channels", "hidden_size", "num_hidden_layers", "num_attention_heads",
                "intermediate_size",
            )
        }  # fmt: skip
        for name in ("image_size", "patch_size"):
            value = setting(config, name, int, list)
            sizes[name] = tuple(value) if isinstance(value, list) else value
        return cls(
            **sizes,
            num_labels=num_labels,
            activation=activation_of(config.get("hidden_act", "gelu")),
            layer_norm_eps=setting(config, "layer_norm_eps", float),
            dropout=float(config.get("hidden_dropout_prob", 0.0)),
            pooler=pooler,
        )


class VisionTransformer(nn.Module):
    """Images cut into patches, each a token of a pre-norm encoder; a first token stands for all.

    (Dosovitskiy et al., "An image is worth 16x16 words", ICLR 2021.)

    Parameters
    ----------
    config : ViTConfig

    Examples
    --------
    >>> import numpy as np
    >>> from pyfast.models import ViTConfig, VisionTransformer
    >>> sizes = {"image_size": 8, "patch_size": 2, "num_channels": 1, "hidden_size": 16}
    >>> depth = {"num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 32}
    >>> model = VisionTransformer(ViTConfig(**sizes, **depth, num_labels=10))
    >>> model(np.zeros((5, 1, 8, 8), np.float32)).shape
    (5, 10)
    """

    classifier: nn.Module | None
    pooler: nn.Module | None

    def __init__(self, config: ViTConfig) -> None:
        super().__init__()
        self.config = config
        width = config.hidden_size
        patch = config.patch
        self.patch_embedding = nn.Conv2d(config.num_channels, width, patch, stride=patch)
        self.class_token = nn.Parameter(np.zeros((1, 1, width), np.float32))
        self.position = nn.LearnedPositionalEncoding(width, config.num_patches + 1)
        self.dropout = nn.Dropout(config.dropout)
        layer = nn.TransformerEncoderLayer(
            width,
            config.num_attention_heads,
            config.intermediate_size,
            config.dropout,
            config.activation,
            config.layer_norm_eps,
            batch_first=True,
            norm_first=True,
        )
        norm = nn.LayerNorm(width, config.layer_norm_eps)
        self.encoder = nn.TransformerEncoder(layer, config.num_hidden_layers, norm)
        self.register_module("pooler", nn.Linear(width, width) if config.pooler else None)
        labels = config.num_labels
        self.register_module("classifier", None if labels is None else nn.Linear(width, labels))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw all weights anew."""
        draw_weights(self, self.config.hidden_size)

    def forward(self, images: Any) -> Tensor:
        """Classify images, or encode them.

        Parameters
        ----------
        images : array of shape (batch, num_channels, height, width)

        Returns
        -------
        Tensor of shape (batch, num_labels)
            Logits; without `num_labels`, hidden states of shape (batch, 1 + patches, hidden_size).

        Raises
        ------
        TypeError, ValueError
            For a shape or dtype that does not fit.
        """
        wanted = (self.config.num_channels, *self.config.image)
        if images.ndim != 4 or images.shape[1:] != wanted:
            raise ValueError(
                f"VisionTransformer: images must have shape (batch, {', '.join(map(str, wanted))}),"
                f" got {images.shape}"
            )
        patches = self.patch_embedding(images).flatten(2).swapaxes(1, 2)
        first = self.class_token.expand(len(images), -1, -1)
        x = self.encoder(self.dropout(self.position(cat([first, patches], 1))))
        return x if self.classifier is None else self.classifier(x[:, 0])

    def pool(self, hidden: Any) -> Tensor:
        """The image's vector, from that of the first token.

        Parameters
        ----------
        hidden : Tensor of shape (batch, 1 + patches, hidden_size)
            What the model without a classifier returned.

        Returns
        -------
        Tensor of shape (batch, hidden_size)

        Raises
        ------
        ValueError
            If the model was built without a pooler.
        """
        if self.pooler is None:
            raise ValueError("VisionTransformer.pool: config.pooler must be True")
        return self.pooler(hidden[:, 0]).tanh()

    @classmethod
    def from_pretrained(
        cls, folder: str | os.PathLike[str], strict: bool = True
    ) -> VisionTransformer:
        """Read a Hugging Face folder with a model of type "vit".

        Parameters
        ----------
        folder : path
        strict : bool
            False: weights that this model has no place for are left out.

        Returns
        -------
        VisionTransformer
            In evaluation mode; with a classifier where the file has one.

        Raises
        ------
        FileNotFoundError
            If a file is missing.
        ValueError
            If a file is broken, a setting is not supported, or keys do not fit; all are named.
        """
        config, tensors = read_folder(folder, ["vit"])
        prefix = prefix_of(tensors, "vit.")
        bias = tensors.get("classifier.bias")
        labels = None if bias is None else bias.size
        pooler = f"{prefix}pooler.dense.weight" in tensors
        model = cls(ViTConfig.from_hugging_face(config, labels, pooler))
        load_sources(model, tensors, _sources(model.config, prefix), folder, strict=strict)
        return model.eval()


def _sources(config: ViTConfig, prefix: str) -> dict[str, Source]:
    """Where each tensor stands in a Hugging Face file."""
    names = {
        "self_attn.out_proj": "attention.output.dense",
        "norm1": "layernorm_before",
        "linear1": "intermediate.dense",
        "linear2": "output.dense",
        "norm2": "layernorm_after",
    }
    plain = {"class_token": f"{prefix}embeddings.cls_token"}
    sources = {
        "position.weight": Source((f"{prefix}embeddings.position_embeddings",), lambda a: a[0])
    }
    for kind in ("weight", "bias"):
        embedding = f"{prefix}embeddings.patch_embeddings.projection.{kind}"
        plain[f"patch_embedding.{kind}"] = embedding
        plain[f"encoder.norm.{kind}"] = f"{prefix}layernorm.{kind}"
        if config.pooler:
            plain[f"pooler.{kind}"] = f"{prefix}pooler.dense.{kind}"
        if config.num_labels is not None:
            plain[f"classifier.{kind}"] = f"classifier.{kind}"
        for i in range(config.num_hidden_layers):
            ours, theirs = f"encoder.layers.{i}", f"{prefix}encoder.layer.{i}"
            parts = (f"{theirs}.attention.attention.{n}.{kind}" for n in ("query", "key", "value"))
            sources[f"{ours}.self_attn.in_proj_{kind}"] = joined(*parts)
            plain |= {f"{ours}.{a}.{kind}": f"{theirs}.{b}.{kind}" for a, b in names.items()}
    return sources | {ours: Source((theirs,)) for ours, theirs in plain.items()}
