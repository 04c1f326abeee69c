"""The examples of sequence tasks, each run small: they train, decode and draw."""

from __future__ import annotations

import importlib
import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

EXAMPLES = Path(__file__).parents[1] / "examples"

if not EXAMPLES.is_dir():
    pytest.skip("the examples are not beside the tests", allow_module_level=True)


@pytest.fixture
def example(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Import an example by its name."""
    pytest.importorskip("matplotlib", reason="examples draw with matplotlib")
    monkeypatch.syspath_prepend(str(EXAMPLES))
    return importlib.import_module


def drawn(folder: Path, name: str) -> bool:
    return (folder / f"{name}.png").read_bytes()[:4] == b"\x89PNG"


def test_dates(example: Any, tmp_path: Path) -> None:
    pytest.importorskip("babel", reason="dates are written by Babel")
    module = example("dates")
    small = ["--steps", "12", "--batch-size", "16", "--width", "32", "--held-out", "20"]
    results = module.main([*small, "--output", str(tmp_path)])
    assert len(results) == 6
    assert results["greedy"][2] == results["greedy, no cache"][2]
    assert drawn(tmp_path, "dates")


def test_dates_have_one_reading(example: Any) -> None:
    """No text, its locale's mark included, stands for two days."""
    pytest.importorskip("babel", reason="dates are written by Babel")
    module = example("dates")
    train, unseen = module.split_days()
    assert not set(train) & set(unseen)
    readings: dict[str, str] = {}
    for day in range(19_000, 19_000 + 366, 3):
        for locale in module.LOCALES:
            for style in module.STYLES:
                text = module.written(day, locale, style)
                assert readings.setdefault(text, module.iso(day)) == module.iso(day)
    marked = module.written(19_089, "en_US", "short")
    assert module.shown(marked).startswith("en_US ")


def test_token_classes(example: Any, tmp_path: Path) -> None:
    small = ["--steps", "4", "--batch-size", "4", "--width", "16", "--layers", "1", "--files", "4"]
    right = example("token_classes").main([*small, "--output", str(tmp_path)])
    assert 0 < right <= 1
    assert drawn(tmp_path, "token_classes")


def test_labels_are_the_tokenizers(example: Any) -> None:
    module = example("token_classes")
    text = 'if x == 1.5:  # why\n    y = """a\nb"""\n'
    pieces = module.PIECES.findall(text)
    assert "".join(pieces) == text
    classes = [module.CLASSES[i] for i in module.label(text)]
    found = [(p, c) for p, c in zip(pieces, classes, strict=True) if c != "space"]
    assert found == [
        ("if", "keyword"), ("x", "name"), ("=", "operator"), ("=", "operator"), ("1", "number"),
        (".", "number"), ("5", "number"), (":", "operator"), ("#", "comment"), (" ", "comment"),
        ("why", "comment"), ("y", "name"), ("=", "operator"), ('"""', "string"), ("a", "string"),
        ("\n", "string"), ("b", "string"), ('"""', "string"),
    ]  # fmt: skip


def test_where_pieces_stand(example: Any) -> None:
    """Lines and columns within a window, and the quotes that were last seen."""
    module = example("token_classes")
    text = 'a = 1\nb\n"""c"""\n'
    files = [(module.PIECES.findall(text), module.label(text))]
    pieces = module.Pieces(files, 50)
    ids = pieces.encode(files[0][0])
    row, column = module.places(ids[None])
    assert row.tolist() == [[0, 0, 0, 0, 0, 0, 1, 1, 2, 2, 2, 2]]
    assert column.tolist() == [[0, 1, 2, 3, 4, 5, 0, 1, 0, 1, 2, 3]]
    quotes = module.quotes_before(ids, pieces)
    triple = pieces.numbers['"""']
    assert quotes.tolist() == [module.NO_QUOTES] * 9 + [triple] * 4
    inputs, labels = module.window(ids, quotes, files[0][1], 9, 2)
    assert inputs.tolist() == [module.STRING, triple, *ids[9:11]]
    assert labels.tolist() == [module.PADDING] * 2 + [module.STRING] * 2


def test_written_language(example: Any, tmp_path: Path) -> None:
    pytest.importorskip("babel", reason="names and dates are Babel's")
    small = ["--steps", "4", "--batch-size", "8", "--width", "16", "--output", str(tmp_path)]
    results = example("written_language").main(small)
    assert set(results) == {"names", "dates", "names that several languages share"}
    assert drawn(tmp_path, "written_language")


def test_gpt_docstrings(example: Any, tmp_path: Path) -> None:
    small = ["--steps", "10", "--batch-size", "4", "--context", "16", "--width", "16"]
    results = example("gpt_docstrings").main([*small, "--layers", "1", "--output", str(tmp_path)])
    assert results["loss"] < np.log(101)
    assert drawn(tmp_path, "gpt_docstrings")


def test_speech(example: Any, tmp_path: Path) -> None:
    if shutil.which("espeak-ng") is None:
        pytest.skip("espeak-ng is not installed")
    small = ["--steps", "4", "--batch-size", "4", "--width", "16", "--phrases", "2"]
    results = example("speech").main([*small, "--voices", "2", "--output", str(tmp_path)])
    assert set(results) == {"greedy", "beam of 4"}
    assert drawn(tmp_path, "speech")


def test_edit_distance(example: Any) -> None:
    assert example("speech").edit_distance("kitten", "sitting") == 3
    assert example("speech").edit_distance("", "abc") == 3


def test_every_block_of_the_page_runs() -> None:
    page = (EXAMPLES.parent / "docs" / "generation.md").read_text("utf-8")
    names: dict[str, Any] = {}
    for block in re.findall(r"```python\n(.*?)```", page, re.S):
        exec(compile(block, "generation.md", "exec"), names)
    assert "LengthPredictor" in names
