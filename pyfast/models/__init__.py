"""Transformers from small configs: language models, encoders, sequence to sequence."""

from .gpt import GPT, GPTConfig
from .seq2seq import Seq2SeqConfig, Seq2SeqTransformer

__all__ = [
    "GPT",
    "GPTConfig",
    "Seq2SeqConfig",
    "Seq2SeqTransformer",
]
