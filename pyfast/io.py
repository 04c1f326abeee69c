"""Checkpoints: nested dicts of arrays in safetensors files, written so a crash tears nothing."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from .autograd import Variable

__all__ = ["load", "save"]

_SEPARATOR = "\x1f"  # between the keys of nested dicts; torch-style "a.b" names stay one key
_LAYOUT = "pyfast"


def save(
    state: Mapping[str, Any],
    path: str | os.PathLike[str],
    metadata: Mapping[str, str] | None = None,
) -> None:
    """Write arrays, and plain values beside them, to a safetensors file.

    The file is written under another name in the same folder, flushed to the disk and renamed, and
    the folder is flushed: whenever the machine stops, `path` is the whole old or new file.

    Parameters
    ----------
    state : mapping of str
        Values are arrays (ndarray, Tensor, torch tensor), nested mappings, or what JSON can hold
        (None, bool, int, float, str, and lists and dicts of these).
    path : path
    metadata : mapping of str to str, optional
        Kept in the file's header.

    Raises
    ------
    TypeError
        If a key is no str or a value is none of the above.
    ValueError
        If a dtype has no place in the format.
    OSError
        If the file cannot be written; an old file of that name is intact.

    Examples
    --------
    >>> import tempfile, numpy as np, pyfast as pf
    >>> folder = tempfile.TemporaryDirectory()
    >>> pf.save({"w": np.ones(2), "optimizer": {"step": 3}}, f"{folder.name}/a.safetensors")
    >>> pf.load(f"{folder.name}/a.safetensors")["optimizer"]
    {'step': 3}
    >>> folder.cleanup()
    """
    from safetensors.numpy import save as serialise

    arrays: dict[str, np.ndarray[Any, Any]] = {}
    plain = _split(state, (), arrays)
    header = {str(k): str(v) for k, v in (metadata or {}).items()}
    header[_LAYOUT] = json.dumps(plain)
    for name, a in arrays.items():
        if a.dtype.kind not in "fiub" or a.dtype.itemsize > 8:
            raise ValueError(f"save: {_readable(name)} has dtype {a.dtype}, which cannot be stored")
    write_bytes(Path(path), serialise(arrays, header))


def load(path: str | os.PathLike[str], *, return_metadata: bool = False) -> Any:
    """Read what :func:`save` wrote, or any safetensors file.

    Parameters
    ----------
    path : path
    return_metadata : bool
        Give the header's metadata too.

    Returns
    -------
    dict
        Nested as it was saved; arrays are ndarrays. With `return_metadata`, (dict, dict of str).

    Raises
    ------
    ValueError
        If the file is no safetensors file, or is cut short.
    OSError
        If it cannot be read.

    Examples
    --------
    >>> import tempfile, numpy as np, pyfast as pf
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     pf.save({"layer": {"bias": np.zeros(2)}}, f"{folder}/a.safetensors")
    ...     pf.load(f"{folder}/a.safetensors")
    {'layer': {'bias': array([0., 0.])}}
    """
    from safetensors import SafetensorError
    from safetensors.numpy import load as parse

    blob = Path(path).read_bytes()
    try:
        arrays = parse(blob)
        size = int.from_bytes(blob[:8], "little")
        header = json.loads(blob[8 : 8 + size]).get("__metadata__", {})
        plain = json.loads(header.pop(_LAYOUT, "{}"))
        state = _join(plain, arrays)
    except (SafetensorError, ValueError, KeyError, AttributeError, TypeError) as problem:
        raise ValueError(f"load: {path} is not a whole safetensors file: {problem}") from None
    return (state, header) if return_metadata else state


def _split(
    value: Any, keys: tuple[str, ...], arrays: dict[str, np.ndarray[Any, Any]]
) -> dict[str, Any]:
    """Put the arrays of a nested mapping into `arrays`; return what is left, nested."""
    plain: dict[str, Any] = {}
    for key, item in value.items():
        if not isinstance(key, str) or _SEPARATOR in key:
            raise TypeError(f"save: keys must be str, got {key!r} in {_readable('.'.join(keys))}")
        at = (*keys, key)
        if isinstance(item, Mapping):
            plain[key] = _split(item, at, arrays)
        elif isinstance(item, Variable | np.ndarray) or hasattr(item, "__array__"):
            data = item._data if isinstance(item, Variable) else _to_array(item)
            # NumPy scalars and 0-d arrays alike; C order, native bytes: what the format holds
            arrays[_SEPARATOR.join(at)] = np.array(data, data.dtype.newbyteorder("="), order="C")
        else:
            plain[key] = _plain(item, at)
    return plain


def _to_array(item: Any) -> np.ndarray[Any, Any]:
    detach = getattr(item, "detach", None)
    return np.asarray(detach() if detach is not None else item)


def _plain(item: Any, keys: tuple[str, ...]) -> Any:
    try:
        return json.loads(json.dumps(item))
    except (TypeError, ValueError):
        raise TypeError(
            f"save: cannot store {'.'.join(keys)} of type {type(item).__name__}"
        ) from None


def _join(plain: dict[str, Any], arrays: dict[str, np.ndarray[Any, Any]]) -> dict[str, Any]:
    for name, a in arrays.items():
        *folders, last = name.split(_SEPARATOR)
        at = plain
        for folder in folders:
            at = at[folder]
        at[last] = a
    return plain


def _readable(name: str) -> str:
    return name.replace(_SEPARATOR, ".") or "the top level"


def write_bytes(path: Path, blob: bytes) -> None:
    """Write beside `path`, flush, rename, flush the folder."""
    handle, temporary = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(blob)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(temporary, 0o666 & ~_umask())
        os.replace(temporary, path)
    except BaseException as problem:
        Path(temporary).unlink(missing_ok=True)
        if isinstance(problem, OSError) and problem.filename is None:
            problem.filename = str(path)  # a full disk does not say which file it was
        raise
    if hasattr(os, "O_DIRECTORY"):
        folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
