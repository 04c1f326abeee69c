"""Speech to tokens: log-mel frames, shortened by convolutions, through encoder and decoder."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from .. import nn
from .._tensor import Tensor
from ..autograd import Variable
from .inputs import real_tokens
from .seq2seq import EncoderDecoder

__all__ = ["SpeechConfig", "SpeechTransformer"]


@dataclass(frozen=True)
class SpeechConfig:
    """Sizes and choices of a :class:`SpeechTransformer`.

    Attributes
    ----------
    target_vocab_size : int
    n_mels : int
        Bands of each frame.
    hidden_size, num_encoder_layers, num_decoder_layers, num_attention_heads : int
    intermediate_size : int, optional
        Width of the feed-forward networks; default: 4 hidden_size.
    max_position_embeddings : int
        Longest target.
    max_frames : int
        Longest source.
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
    >>> SpeechConfig(target_vocab_size=30).n_mels
    80
    """

    target_vocab_size: int
    n_mels: int = 80
    hidden_size: int = 256
    num_encoder_layers: int = 4
    num_decoder_layers: int = 2
    num_attention_heads: int = 4
    intermediate_size: int | None = None
    max_position_embeddings: int = 256
    max_frames: int = 3000
    position: str = "sinusoidal"
    norm_first: bool = True
    activation: str = "relu"
    dropout: float = 0.1
    cross_attention: str = "last"
    tie_word_embeddings: bool = False


class SpeechTransformer(EncoderDecoder):
    """Listens, and writes tokens.

    Two convolutions over time, of stride 2 each, leave one vector for every 40 ms (Dong, Xu and
    Xu, "Speech-Transformer", ICASSP 2018); what follows is the Transformer.

    Parameters
    ----------
    config : SpeechConfig

    Attributes
    ----------
    max_positions : int
        Longest target.

    Examples
    --------
    >>> import numpy as np
    >>> from pyfast.models import SpeechConfig, SpeechTransformer
    >>> config = SpeechConfig(20, hidden_size=16, num_encoder_layers=1, num_decoder_layers=1)
    >>> model = SpeechTransformer(config).eval()
    >>> model(np.zeros((1, 98, 80), np.float32), [[1, 2]]).shape
    (1, 2, 20)
    """

    def __init__(self, config: SpeechConfig) -> None:
        super().__init__(config)
        width = config.hidden_size
        self.conv1 = nn.Conv1d(config.n_mels, width, 3, stride=2, padding=1, activation="relu")
        self.conv2 = nn.Conv1d(width, width, 3, stride=2, padding=1, activation="relu")
        self.source_position = self._position(-(-config.max_frames // 4))

    def memory_mask(self, source_mask: Any) -> Any:
        """Which positions of the memory are real: every fourth of the frames.

        Parameters
        ----------
        source_mask : array of shape (batch, frames), or None

        Returns
        -------
        array of shape (batch, frames / 4, rounded up), or None
        """
        return None if source_mask is None else np.asarray(source_mask)[:, ::2][:, ::2]

    def embed_source(self, source: Any, source_mask: Any) -> tuple[Any, Any]:
        """Convolved frames with positions; and which of them are real.

        Parameters
        ----------
        source : array of shape (batch, frames, n_mels), float32
        source_mask : array of shape (batch, frames), or None

        Returns
        -------
        Tensor of shape (batch, frames / 4, hidden_size); array of bool, or None
        """
        name = type(self).__name__
        x: Any = source if isinstance(source, Variable) else Tensor(source)
        if x.ndim != 3 or x.shape[-1] != self.config.n_mels or x.size == 0:
            raise ValueError(
                f"{name}: source must have shape (batch, frames, {self.config.n_mels}), "
                f"not empty, got {x.shape}"
            )
        if x.shape[1] > self.config.max_frames:
            raise ValueError(
                f"{name}: source must have at most max_frames = {self.config.max_frames} frames, "
                f"got {x.shape[1]}"
            )
        real = real_tokens(source_mask, x.shape[:2], f"{name}: source_mask")
        x = x.swapaxes(1, 2)
        for convolution in (self.conv1, self.conv2):
            if real is not None:  # what stands in padding must not reach the last real frames
                x = x.where(real[:, None], np.zeros((), x.dtype))
                real = real[:, ::2]
            x = convolution(x)
        return self.source_position(x.swapaxes(1, 2)), real
