"""Every example in a public docstring, and every Python block of the README, runs as shown."""

from __future__ import annotations

import doctest
import importlib
import inspect
import os
import pkgutil
import re
from pathlib import Path
from types import ModuleType

import pytest

import pyfast

README = Path(__file__).parents[1] / "README.md"


def modules() -> list[ModuleType]:
    names = [
        m.name
        for m in pkgutil.walk_packages(pyfast.__path__, "pyfast.")
        if not m.name.startswith(("pyfast.bench", "pyfast._core"))
    ]
    return [pyfast, *(importlib.import_module(name) for name in names)]


@pytest.mark.parametrize("module", modules(), ids=lambda m: m.__name__)
def test_docstring_examples(
    module: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    flags = doctest.NORMALIZE_WHITESPACE | doctest.ELLIPSIS
    result = doctest.testmod(module, optionflags=flags)
    assert result.failed == 0


@pytest.mark.parametrize("module", modules(), ids=lambda m: m.__name__)
def test_public_names_are_documented(module: ModuleType) -> None:
    for name in getattr(module, "__all__", ()):
        member = getattr(module, name)
        if inspect.isclass(member) or inspect.isfunction(member):
            assert inspect.getdoc(member), f"{module.__name__}.{name} has no docstring"


@pytest.mark.parametrize("name", pyfast.ops.__all__)
def test_every_op_is_documented_in_full(name: str) -> None:
    doc = inspect.getdoc(getattr(pyfast.ops, name)) or ""
    for part in ("Parameters", "Returns", "Raises", "Examples"):
        assert f"{part}\n---" in doc, f"{name} lacks {part}"


def readme_blocks() -> list[str]:
    return re.findall(r"```python\n(.*?)```", README.read_text(), re.S) if README.exists() else []


@pytest.mark.parametrize("block", readme_blocks(), ids=lambda b: b.splitlines()[0][:40])
def test_readme_examples(block: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    exec(compile(block, "README.md", "exec"), {"__name__": "readme"})
    assert os.getcwd() == str(tmp_path)
