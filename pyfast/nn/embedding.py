"""The embedding layer."""

from __future__ import annotations

from typing import Any

import numpy as np

from .. import ops
from . import init
from .module import Module
from .parameter import Parameter

__all__ = ["Embedding"]


class Embedding(Module):
    """A table of vectors, looked up by index; starts from the normal distribution.

    Parameters
    ----------
    num_embeddings, embedding_dim : int
    padding_idx : int, optional
        This row starts at 0 and gets no gradient.
    max_norm : float, optional
        Rows that are looked up are first shrunk to this norm, in place.
    norm_type : float
        Of `max_norm`.
    scale_grad_by_freq : bool
        Divide a row's gradient by how often it was looked up in the batch.
    dtype : dtype

    Attributes
    ----------
    weight : Parameter of shape (num_embeddings, embedding_dim)

    Raises
    ------
    ValueError
        If `padding_idx` is not a row.

    Examples
    --------
    >>> import numpy as np
    >>> from pyfast import nn
    >>> nn.Embedding(10, 3)(np.array([[1, 2], [9, 0]])).shape
    (2, 2, 3)
    """

    def __init__(
        self,
        num_embeddings: int,
        embedding_dim: int,
        padding_idx: int | None = None,
        max_norm: float | None = None,
        norm_type: float = 2.0,
        scale_grad_by_freq: bool = False,
        dtype: Any = np.float32,
    ) -> None:
        super().__init__()
        if padding_idx is not None and not -num_embeddings <= padding_idx < num_embeddings:
            raise ValueError(
                f"Embedding: padding_idx must be in [{-num_embeddings}, {num_embeddings}), "
                f"got {padding_idx}"
            )
        self.num_embeddings = num_embeddings
        self.embedding_dim = embedding_dim
        self.padding_idx = None if padding_idx is None else padding_idx % num_embeddings
        self.max_norm = max_norm
        self.norm_type = norm_type
        self.scale_grad_by_freq = scale_grad_by_freq
        self.weight = Parameter(np.empty((num_embeddings, embedding_dim), dtype))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw the table anew."""
        init.normal_(self.weight)
        if self.padding_idx is not None:
            self.weight.data[self.padding_idx] = 0

    @classmethod
    def from_pretrained(
        cls,
        embeddings: Any,
        freeze: bool = True,
        padding_idx: int | None = None,
        max_norm: float | None = None,
        norm_type: float = 2.0,
        scale_grad_by_freq: bool = False,
    ) -> Embedding:
        """An embedding around a table that exists; not copied.

        Parameters
        ----------
        embeddings : array of shape (num_embeddings, embedding_dim)
        freeze : bool
            Whether the table stays as it is in training.
        padding_idx, max_norm, norm_type, scale_grad_by_freq
            As for the class.

        Returns
        -------
        Embedding

        Raises
        ------
        ValueError
            If `embeddings` is no matrix.
        """
        table = Parameter(embeddings, requires_grad=not freeze)
        if table.ndim != 2:
            raise ValueError(f"Embedding: embeddings must have 2 dimensions, got {table.ndim}")
        rows, width = table.shape
        settings = (padding_idx, max_norm, norm_type, scale_grad_by_freq, table.dtype)
        layer = cls(rows, width, *settings)
        layer.weight = table
        return layer

    def forward(self, input: Any) -> Any:
        """Look up.

        Parameters
        ----------
        input : integers of shape (*)

        Returns
        -------
        array of shape (*, embedding_dim)
        """
        settings = (self.padding_idx, self.max_norm, self.norm_type, self.scale_grad_by_freq)
        return ops.embedding(input, self.weight, *settings)

    def project(self, input: Any) -> Any:
        """Multiply by the table: the logits of each index, where an output layer shares it.

        (Press and Wolf, "Using the output embedding to improve language models", EACL 2017.)

        Parameters
        ----------
        input : array of shape (..., embedding_dim)

        Returns
        -------
        array of shape (..., num_embeddings)
        """
        return ops.linear(input, self.weight)

    def extra_repr(self) -> str:
        """The table's size and the settings that are not at their defaults."""
        text = f"{self.num_embeddings}, {self.embedding_dim}"
        if self.padding_idx is not None:
            text += f", padding_idx={self.padding_idx}"
        if self.max_norm is not None:
            text += f", max_norm={self.max_norm}"
        if self.norm_type != 2:
            text += f", norm_type={self.norm_type}"
        if self.scale_grad_by_freq:
            text += ", scale_grad_by_freq=True"
        return text
