"""The analysis examples run, quickly, and leave their figures; docs name only what is there."""

from __future__ import annotations

import importlib
import re
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
EXAMPLES, DOCS = ROOT / "examples", ROOT / "docs"
PAGES = ("critical_points", "batch_size", "error_surfaces", "cnn_insight", "learning_rate")


@pytest.mark.skipif(not EXAMPLES.exists(), reason="no checkout around the tests")
@pytest.mark.parametrize("name", PAGES)
def test_example_runs(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(EXAMPLES))
    try:
        main = importlib.import_module(name).main
        assert main(["--quick", "--output", str(tmp_path)]) == 0
    finally:
        for module in (name, "figures"):
            sys.modules.pop(module, None)
    shown = set(re.findall(r"figures/(\w+\.png)", (DOCS / f"{name}.md").read_text()))
    assert shown
    assert shown <= {p.name for p in tmp_path.iterdir()}


@pytest.mark.skipif(not DOCS.exists(), reason="no checkout around the tests")
@pytest.mark.parametrize("name", PAGES)
def test_page_shows_figures_that_exist_and_names_their_command(name: str) -> None:
    text = (DOCS / f"{name}.md").read_text()
    for figure in re.findall(r"\((figures/\w+\.png)\)", text):
        size = (DOCS / figure).stat().st_size
        assert size < 80 * 1024, f"{figure} has {size} bytes"
    assert f"python examples/{name}.py --output docs/figures" in text


@pytest.mark.skipif(not DOCS.exists(), reason="no checkout around the tests")
@pytest.mark.parametrize("name", PAGES)
def test_code_on_the_page_runs(name: str) -> None:
    for block in re.findall(r"```python\n(.*?)```", (DOCS / f"{name}.md").read_text(), re.S):
        exec(compile(block, f"{name}.md", "exec"), {"__name__": "page"})
