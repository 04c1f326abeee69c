"""Transformers from small configs: language models, encoders, sequence to sequence."""

from .bert import Bert, BertConfig
from .gpt import GPT, GPTConfig
from .seq2seq import Seq2SeqConfig, Seq2SeqTransformer
from .vit import VisionTransformer, ViTConfig

__all__ = [
    "Bert",
    "BertConfig",
    "GPT",
    "GPTConfig",
    "Seq2SeqConfig",
    "Seq2SeqTransformer",
    "ViTConfig",
    "VisionTransformer",
]
