"""Transformers from small configs: language models, encoders, images, speech, translation."""

from .bert import Bert, BertConfig
from .gpt import GPT, GPTConfig
from .sentence import SentenceEncoder, minilm_folder
from .seq2seq import Seq2SeqConfig, Seq2SeqTransformer
from .speech import SpeechConfig, SpeechTransformer
from .vit import VisionTransformer, ViTConfig

__all__ = [
    "Bert",
    "BertConfig",
    "GPT",
    "GPTConfig",
    "SentenceEncoder",
    "Seq2SeqConfig",
    "Seq2SeqTransformer",
    "SpeechConfig",
    "SpeechTransformer",
    "ViTConfig",
    "VisionTransformer",
    "minilm_folder",
]
