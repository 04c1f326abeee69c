"""Transformers from small configs: language models, encoders, sequence to sequence."""

from .bert import Bert, BertConfig
from .gpt import GPT, GPTConfig
from .sentence import SentenceEncoder, minilm_folder
from .seq2seq import Seq2SeqConfig, Seq2SeqTransformer
from .vit import VisionTransformer, ViTConfig

__all__ = [
    "Bert",
    "BertConfig",
    "GPT",
    "GPTConfig",
    "SentenceEncoder",
    "Seq2SeqConfig",
    "Seq2SeqTransformer",
    "ViTConfig",
    "VisionTransformer",
    "minilm_folder",
]
