"""Text as numbers: a small vocabulary for lessons, real tokenizers for real models."""

from .tokenizer import Tokenizer
from .vocabulary import Vocabulary, pad_sequences

__all__ = ["Tokenizer", "Vocabulary", "pad_sequences"]
