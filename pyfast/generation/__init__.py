"""From a trained model to sequences: autoregressive and non-autoregressive decoding.

:func:`generate` and :func:`stream` go token by token; :func:`generate_parallel` makes all tokens
at once. The rest is what they are made of.
"""

from .beam import Hypothesis, beam_search
from .cache import KVCache
from .decoder import Decoder
from .generate import generate, stream
from .logits import (
    apply_min_p,
    apply_repetition_penalty,
    apply_temperature,
    apply_top_k,
    apply_top_p,
    log_probabilities,
    process_logits,
    sample,
)
from .parallel import LengthPredictor, generate_parallel, mask_tokens
from .training import inverse_sigmoid_decay, scheduled_sampling, teacher_forcing
from .watch import record_attention

__all__ = [
    "Decoder",
    "Hypothesis",
    "KVCache",
    "LengthPredictor",
    "apply_min_p",
    "apply_repetition_penalty",
    "apply_temperature",
    "apply_top_k",
    "apply_top_p",
    "beam_search",
    "generate",
    "generate_parallel",
    "inverse_sigmoid_decay",
    "log_probabilities",
    "mask_tokens",
    "process_logits",
    "record_attention",
    "sample",
    "scheduled_sampling",
    "stream",
    "teacher_forcing",
]
