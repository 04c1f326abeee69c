"""From a trained model to sequences: autoregressive and non-autoregressive decoding."""

from .cache import KVCache

__all__ = ["KVCache"]
