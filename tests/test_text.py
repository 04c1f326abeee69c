"""Vocabularies, padding, real tokenizers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pyfast.text import Tokenizer, Vocabulary, pad_sequences


def test_characters_by_frequency() -> None:
    vocabulary = Vocabulary.from_texts(["abba", "bc"])
    assert vocabulary.tokens == ["<pad>", "<start>", "<end>", "<unknown>", "b", "a", "c"]
    assert vocabulary.encode("cab!") == [6, 5, 4, 3]
    assert len(vocabulary) == 7
    assert "b" in vocabulary
    assert "z" not in vocabulary


def test_words() -> None:
    vocabulary = Vocabulary.from_texts(["one, two; two"], level="word", min_count=1)
    assert vocabulary.tokens[4:] == ["two", ",", ";", "one"]
    ids = vocabulary.encode("two one three", start=True, end=True)
    assert ids == [1, 4, 7, 3, 2]
    assert vocabulary.decode(ids) == "two one"
    assert Vocabulary.from_texts(["a a b"], min_count=2).tokens[4:] == [" ", "a"]


@given(st.lists(st.text(), min_size=1))
def test_what_is_encoded_is_decoded(texts: list[str]) -> None:
    vocabulary = Vocabulary.from_texts(texts)
    ids, mask = vocabulary.encode_batch(texts, start=True, end=True)
    assert ids.shape == mask.shape
    assert [vocabulary.decode(row) for row in ids] == texts
    assert (mask.sum(1) == [len(text) + 2 for text in texts]).all()


def test_padding_on_either_side() -> None:
    ids, mask = pad_sequences([[1, 2], [], [3]], pad_id=9, side="left")
    np.testing.assert_array_equal(ids, [[1, 2], [9, 9], [9, 3]])
    np.testing.assert_array_equal(mask, ids != 9)


@pytest.mark.parametrize(
    ("call", "error", "match"),
    [
        (lambda: Vocabulary("aa"), ValueError, "tokens must differ, got 'a' twice"),
        (lambda: Vocabulary(["<pad>"]), ValueError, "got '<pad>' twice"),
        (lambda: Vocabulary("a", level="byte"), ValueError, "level .* got 'byte'"),
        (lambda: Vocabulary("a").decode([5]), IndexError, r"must be in \[0, 5\), got 5"),
        (lambda: Vocabulary("a").decode([-1]), IndexError, "got -1"),
        (lambda: pad_sequences([]), ValueError, "must not be empty"),
        (lambda: pad_sequences([[1]], side="top"), ValueError, "side .* got 'top'"),
    ],
)
def test_bad_input_is_refused(call: Any, error: type[Exception], match: str) -> None:
    with pytest.raises(error, match=match):
        call()


def tokenizer_folder(folder: Path) -> Path:
    tokenizers = pytest.importorskip("tokenizers")
    model = tokenizers.models.WordLevel({"[UNK]": 0, "to": 1, "be": 2}, unk_token="[UNK]")
    tokenizer = tokenizers.Tokenizer(model)
    tokenizer.pre_tokenizer = tokenizers.pre_tokenizers.Whitespace()
    tokenizer.enable_padding(length=128)
    tokenizer.save(str(folder / "tokenizer.json"))
    return folder


def test_a_real_tokenizer(tmp_path: Path) -> None:
    tokenizer = Tokenizer.from_folder(tokenizer_folder(tmp_path))
    assert tokenizer.encode(["to be or", "be"]) == [[1, 2, 0], [2]]  # the file's padding is off
    assert tokenizer.decode([1, 2]) == "to be"
    assert Tokenizer.from_folder(tmp_path, max_length=1).encode(["to be"]) == [[1]]


def test_a_broken_tokenizer(tmp_path: Path) -> None:
    folder = tokenizer_folder(tmp_path)
    with pytest.raises(FileNotFoundError, match=r"there is no .*tokenizer\.json"):
        Tokenizer.from_folder(tmp_path / "nowhere")
    with pytest.raises(ValueError, match="max_length must be positive, got 0"):
        Tokenizer.from_folder(folder, max_length=0)
    with pytest.raises(TypeError, match="must be a sequence of str, got 'one text'"):
        Tokenizer.from_folder(folder).encode("one text")
    (folder / "tokenizer.json").write_text("{}")
    with pytest.raises(ValueError, match=r"tokenizer\.json is no tokenizer"):
        Tokenizer.from_folder(folder)


def test_without_the_library(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda *a: None)
    with pytest.raises(ImportError, match=r"tokenizers is not installed: pip install 'pyfast-nn\["):
        Tokenizer.from_folder(tmp_path)
