"""Sound as sequences of vectors."""

from .features import frames, log_mel, mel_filterbank, read_wav

__all__ = ["frames", "log_mel", "mel_filterbank", "read_wav"]
