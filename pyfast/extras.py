"""What is there beyond the base installation: packages of the extras, and the benchmarks."""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Sequence
from types import ModuleType

__all__ = ["load_bench", "missing_extra", "require_extra"]


def missing_extra(packages: Sequence[str], extra: str) -> str | None:
    """One line naming the pip command when a package of an extra is not installed.

    Parameters
    ----------
    packages : sequence of str
        Import names that are needed.
    extra : str
        The extra of the distribution that installs them.

    Returns
    -------
    str or None
        The line, or None when everything is there.

    Examples
    --------
    >>> missing_extra(["numpy"], "demo") is None
    True
    >>> missing_extra(["no_such_package"], "demo")
    "no_such_package is not installed: pip install 'pyfast-nn[demo]'"
    """
    absent = [name for name in packages if importlib.util.find_spec(name) is None]
    if not absent:
        return None
    verb = "is" if len(absent) == 1 else "are"
    return f"{', '.join(absent)} {verb} not installed: pip install 'pyfast-nn[{extra}]'"


def require_extra(op: str, packages: Sequence[str], extra: str) -> None:
    """Raise an ImportError with that line when a package of an extra is not installed.

    Parameters
    ----------
    op : str
        What needs it; begins the message.
    packages : sequence of str
        Import names that are needed.
    extra : str
        The extra of the distribution that installs them.

    Raises
    ------
    ImportError
        Naming the packages and the pip command.

    Examples
    --------
    >>> require_extra("example", ["numpy"], "analysis")
    """
    problem = missing_extra(packages, extra)
    if problem:
        raise ImportError(f"{op}: {problem}")


def load_bench(module: str) -> ModuleType | None:
    """A module of the benchmarks: from the installed wheel, else from the checkout one stands in.

    Parameters
    ----------
    module : str
        Name below the package: ``"cli"``.

    Returns
    -------
    module or None
        None when the benchmarks are not here.

    Examples
    --------
    >>> load_bench("no_such_module") is None
    True
    """
    for package in ("pyfast.bench", "bench"):
        if importlib.util.find_spec(package) is not None:
            name = f"{package}.{module}"
            return importlib.import_module(name) if importlib.util.find_spec(name) else None
    return None
