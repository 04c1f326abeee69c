"""The analysis examples run, quickly, and leave their figures; docs name only what is there."""

from __future__ import annotations

import importlib
import re
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
EXAMPLES, DOCS = ROOT / "examples", ROOT / "docs"
PAGES = {  # and the example that draws a page's figures
    "critical_points": "critical_points",
    "batch_size": "batch_size",
    "error_surfaces": "error_surfaces",
    "cnn_insight": "cnn_insight",
    "learning_rate": "learning_rate",
    "diagnosis": "diagnose_training",
    "model_selection": "model_selection",
}


@pytest.mark.skipif(not EXAMPLES.exists(), reason="no checkout around the tests")
@pytest.mark.parametrize(("page", "name"), PAGES.items())
def test_example_runs(
    page: str, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(EXAMPLES))
    try:
        main = importlib.import_module(name).main
        assert main(["--quick", "--output", str(tmp_path)]) == 0
    finally:
        for module in (name, "figures"):
            sys.modules.pop(module, None)
    shown = set(re.findall(r"figures/(\w+\.png)", (DOCS / f"{page}.md").read_text()))
    assert shown
    assert shown <= {p.name for p in tmp_path.iterdir()}


@pytest.mark.skipif(not DOCS.exists(), reason="no checkout around the tests")
@pytest.mark.parametrize(("page", "name"), PAGES.items())
def test_page_shows_figures_that_exist_and_names_their_command(page: str, name: str) -> None:
    text = (DOCS / f"{page}.md").read_text()
    for figure in re.findall(r"\((figures/\w+\.png)\)", text):
        size = (DOCS / figure).stat().st_size
        assert size < 80 * 1024, f"{figure} has {size} bytes"
    assert f"python examples/{name}.py --output docs/figures" in text


@pytest.mark.skipif(not DOCS.exists(), reason="no checkout around the tests")
@pytest.mark.parametrize("page", [*PAGES, "training"])
def test_code_on_the_page_runs(page: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Block after block, as a reader would: later ones use what earlier ones have made."""
    monkeypatch.chdir(tmp_path)  # fit's folder
    names = {"__name__": "page"}
    for block in re.findall(r"```python\n(.*?)```", (DOCS / f"{page}.md").read_text(), re.S):
        exec(compile(block, f"{page}.md", "exec"), names)
