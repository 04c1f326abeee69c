"""Real tokenizers: Hugging Face's `tokenizers` library, as padded arrays."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ..extras import missing_extra

__all__ = ["Tokenizer"]

Array = np.ndarray[Any, Any]


class Tokenizer:
    """Texts to token ids by a folder's tokenizer.json.

    Parameters
    ----------
    tokenizer : tokenizers.Tokenizer
    max_length : int, optional
        Longer texts are cut; special tokens count.

    Raises
    ------
    ValueError
        If `max_length` is not positive.
    """

    def __init__(self, tokenizer: Any, max_length: int | None = None) -> None:
        if max_length is not None and max_length < 1:
            raise ValueError(f"Tokenizer: max_length must be positive, got {max_length}")
        self.tokenizer = tokenizer
        self.max_length = max_length
        tokenizer.no_padding()
        tokenizer.no_truncation()
        if max_length is not None:
            tokenizer.enable_truncation(max_length)

    @classmethod
    def from_folder(
        cls, folder: str | os.PathLike[str], max_length: int | None = None
    ) -> Tokenizer:
        """Read tokenizer.json.

        Parameters
        ----------
        folder : path
        max_length : int, optional

        Returns
        -------
        Tokenizer

        Raises
        ------
        ImportError
            If `tokenizers` is not installed, naming the pip command.
        FileNotFoundError
            If there is no tokenizer.json.
        ValueError
            If it is broken.
        """
        problem = missing_extra(["tokenizers"], "text")
        if problem:
            raise ImportError(f"Tokenizer: {problem}")
        import tokenizers

        path = Path(folder) / "tokenizer.json"
        if not path.exists():
            raise FileNotFoundError(f"Tokenizer: there is no {path}")
        try:
            tokenizer = tokenizers.Tokenizer.from_file(str(path))
        except Exception as error:  # the library raises plain Exception
            raise ValueError(f"Tokenizer: {path} is no tokenizer: {error}") from None
        return cls(tokenizer, max_length)

    def encode(self, texts: Sequence[str]) -> list[list[int]]:
        """Token ids of each text.

        Parameters
        ----------
        texts : sequence of str

        Returns
        -------
        list of lists of int

        Raises
        ------
        TypeError
            If `texts` is one str, or not all are str.
        """
        if isinstance(texts, str) or not all(isinstance(text, str) for text in texts):
            raise TypeError(f"Tokenizer: texts must be a sequence of str, got {texts!r:.60}")
        return [encoding.ids for encoding in self.tokenizer.encode_batch(list(texts))]

    def decode(self, ids: Sequence[int]) -> str:
        """The text of some token ids, special tokens left out.

        Parameters
        ----------
        ids : sequence of int

        Returns
        -------
        str
        """
        return str(self.tokenizer.decode([int(i) for i in ids]))
