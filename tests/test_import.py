"""`import pyfast` is light: nothing heavy comes along, submodules and extras load when used."""

from __future__ import annotations

from interpreter import python

import pyfast

HEAVY = (
    "torch", "sklearn", "scipy", "matplotlib", "safetensors", "tqdm", "pandas", "jax", "argparse",
    "pyfast.nn", "pyfast.optim", "pyfast.data", "pyfast.io", "pyfast.cli", "pyfast.demo",
    "pyfast.analysis", "pyfast.plot",
)  # fmt: skip


def output_of(script: str) -> str:
    return python("-W", "error", "-c", script).stdout


def test_nothing_heavy_is_imported() -> None:
    script = f"import pyfast, sys; print([m for m in {HEAVY!r} if m in sys.modules])"
    assert output_of(script).strip() == "[]"


def test_submodules_load_when_used() -> None:
    script = (
        "import pyfast as pf; pf.nn.Linear(2, 3); pf.data.DataLoader; pf.optim.SGD; pf.io; pf.save;"
        "print(sorted(set(pf.__all__) - set(dir(pf))))"
    )
    assert output_of(script).strip() == "[]"


def test_an_unknown_name_is_an_attribute_error() -> None:
    script = (
        "import pyfast\ntry:\n    pyfast.no_such_name\nexcept AttributeError as e:\n    print(e)"
    )
    assert "no_such_name" in output_of(script)


def test_every_public_name_is_there() -> None:
    for name in pyfast.__all__:
        assert getattr(pyfast, name) is not None
