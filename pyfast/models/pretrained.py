"""Weights from Hugging Face folders: config.json beside model.safetensors.

A model says for each of its tensors where in the file it comes from (:class:`Source`); everything
that does not fit is then named in one error, in the file's own words.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..nn.module import Module

__all__ = ["Source", "activation_of", "joined", "load_sources", "read_folder", "transposed"]

Array = np.ndarray[Any, Any]

# Hugging Face's names of activations, and those of pyfast.ops.linear
_ACTIVATIONS = {
    "gelu": "gelu",
    "gelu_new": "gelu_tanh",
    "gelu_pytorch_tanh": "gelu_tanh",
    "relu": "relu",
    "silu": "silu",
    "swish": "silu",
}
_DTYPES = {
    "F64": np.float64,
    "F32": np.float32,
    "F16": np.float16,
    "I64": np.int64,
    "I32": np.int32,
    "I16": np.int16,
    "I8": np.int8,
    "U8": np.uint8,
    "BOOL": np.bool_,
}


@dataclass(frozen=True)
class Source:
    """Where a tensor comes from: keys of the file, and what makes one array of theirs.

    Attributes
    ----------
    keys : tuple of str
    make : callable
        From as many arrays to one; default: the first as it is.
    note : str
        What a message about shapes must add.

    Examples
    --------
    >>> Source(("bias",)).make(np.zeros(2))
    array([0., 0.])
    """

    keys: tuple[str, ...]
    make: Callable[..., Array] = lambda array: array
    note: str = ""


def joined(*keys: str) -> Source:
    """Several arrays one after the other: query, key and value as one projection.

    Parameters
    ----------
    *keys : str

    Returns
    -------
    Source

    Examples
    --------
    >>> joined("q", "k").make(np.zeros(1), np.ones(1))
    array([0., 1.])
    """
    return Source(keys, lambda *arrays: np.concatenate(arrays))


def transposed(key: str) -> Source:
    """A matrix stored the other way round, as GPT-2's are.

    Parameters
    ----------
    key : str

    Returns
    -------
    Source

    Examples
    --------
    >>> transposed("w").make(np.ones((2, 3))).shape
    (3, 2)
    """
    return Source((key,), lambda array: array.T, " (transposed)")


def read_folder(
    folder: str | os.PathLike[str], kinds: Iterable[str]
) -> tuple[dict[str, Any], dict[str, Array]]:
    """The config and all tensors of a Hugging Face folder.

    Parameters
    ----------
    folder : path
        With config.json, and model.safetensors or the index of its parts.
    kinds : iterable of str
        Values of `model_type` that the caller understands.

    Returns
    -------
    config : dict
    tensors : dict of str to ndarray
        bfloat16 is widened to float32.

    Raises
    ------
    FileNotFoundError
        If a file is missing.
    ValueError
        If a file is broken, or the model is of another kind.
    """
    path = Path(folder)
    config = _read_json(path / "config.json")
    known = tuple(kinds)
    if config.get("model_type") not in known:
        raise ValueError(
            f"from_pretrained: model_type must be one of {known}, "
            f"got {config.get('model_type')!r} in {path / 'config.json'}"
        )
    tensors: dict[str, Array] = {}
    for part in _parts(path):
        tensors.update(_read_tensors(part))
    return config, tensors


def _read_json(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise FileNotFoundError(f"from_pretrained: there is no {path}") from None
    except (ValueError, RecursionError) as problem:
        raise ValueError(f"from_pretrained: {path} is no JSON: {problem}") from None
    if not isinstance(content, dict):
        raise ValueError(f"from_pretrained: {path} must hold an object, got {content!r:.40}")
    return content


def _parts(folder: Path) -> list[Path]:
    """The files that hold the weights."""
    whole, index = folder / "model.safetensors", folder / "model.safetensors.index.json"
    if whole.exists() or not index.exists():
        return [whole]
    names = _read_json(index).get("weight_map", {})
    parts = sorted({str(name) for name in names.values()}) if isinstance(names, dict) else []
    good = all(Path(name).name == name and name.endswith(".safetensors") for name in parts)
    if not (parts and good):
        raise ValueError(f"from_pretrained: {index} must map keys to files beside it, got {parts}")
    return [folder / name for name in parts]


def _read_tensors(path: Path) -> dict[str, Array]:
    import safetensors

    entries: Any = safetensors.deserialize

    try:
        return {name: _array(entry, name) for name, entry in entries(path.read_bytes())}
    except FileNotFoundError:
        raise FileNotFoundError(f"from_pretrained: there is no {path}") from None
    except (safetensors.SafetensorError, ValueError) as problem:
        raise ValueError(
            f"from_pretrained: {path} is not a whole safetensors file: {problem}"
        ) from None


def _array(entry: Mapping[str, Any], name: str) -> Array:
    data, shape = entry["data"], tuple(entry["shape"])
    if entry["dtype"] == "BF16":  # the upper half of a float32
        wide = np.frombuffer(data, "<u2").astype(np.uint32) << 16
        return wide.view(np.float32).reshape(shape)
    if entry["dtype"] not in _DTYPES:
        raise ValueError(f"{name} has dtype {entry['dtype']}, which is not supported")
    dtype = np.dtype(_DTYPES[entry["dtype"]]).newbyteorder("<")
    return np.frombuffer(data, dtype).reshape(shape)


def setting(config: Mapping[str, Any], name: str, *kinds: type) -> Any:
    """A setting that a config must have.

    Raises
    ------
    ValueError
        If it is missing or not of the kind.
    """
    value = config.get(name)
    if not isinstance(value, kinds or int) or isinstance(value, bool):
        raise ValueError(f"from_pretrained: config.json: {name} must be a number, got {value!r}")
    return value


def refuse(config: Mapping[str, Any], **only: Any) -> None:
    """Refuse a config whose settings ask for what is not built.

    Raises
    ------
    ValueError
        If a setting has another value than the only one supported; absent is fine.
    """
    for name, value in only.items():
        if config.get(name, value) != value:
            raise ValueError(
                f"from_pretrained: config.json: {name} must be {value!r}, got {config[name]!r}"
            )


def activation_of(name: Any) -> str:
    """An activation by Hugging Face's name.

    Parameters
    ----------
    name : str

    Returns
    -------
    str
        As :func:`pyfast.ops.linear` calls it.

    Raises
    ------
    ValueError
        If it is not known.

    Examples
    --------
    >>> activation_of("gelu_new")
    'gelu_tanh'
    """
    if name not in _ACTIVATIONS:
        raise ValueError(
            f"from_pretrained: config.json: the activation must be one of {tuple(_ACTIVATIONS)}, "
            f"got {name!r}"
        )
    return _ACTIVATIONS[name]


def prefix_of(tensors: Mapping[str, Array], prefix: str) -> str:
    """`prefix` when the file's keys begin with it (a model with a head), else nothing."""
    return prefix if any(key.startswith(prefix) for key in tensors) else ""


def load_sources(
    model: Module,
    tensors: Mapping[str, Array],
    sources: Mapping[str, Source],
    folder: str | os.PathLike[str],
    ignored: str = "",
    strict: bool = True,
) -> None:
    """Fill a model from a file's tensors; all is checked before anything is written.

    Parameters
    ----------
    model : Module
    tensors : mapping of str to array
        All of the file.
    sources : mapping of str to Source
        One for each key of the model's state.
    folder : path
        For the message.
    ignored : str
        Regular expression of keys without weights, such as stored position numbers.
    strict : bool
        Whether keys that the model has no place for are errors.

    Raises
    ------
    ValueError
        Naming every missing, unexpected and misshapen key.
    """
    used = {key for source in sources.values() for key in source.keys}
    missing = sorted(used - tensors.keys())
    unexpected = sorted(
        key for key in tensors.keys() - used if not (ignored and re.fullmatch(ignored, key))
    )
    problems = []
    if missing:
        problems.append("missing keys: " + ", ".join(missing))
    if unexpected and strict:
        problems.append("unexpected keys (strict=False leaves them out): " + ", ".join(unexpected))
    own = model.state_dict()
    values = {}
    for name, source in sources.items():
        if all(key in tensors for key in source.keys):
            values[name], problem = _made(source, tensors, own[name].shape)
            problems += problem
    if problems:
        raise ValueError(
            f"from_pretrained: {folder} does not fit {type(model).__name__}: " + "; ".join(problems)
        )
    model.load_state_dict(values)


def _made(
    source: Source, tensors: Mapping[str, Array], wanted: tuple[int, ...]
) -> tuple[Any, list[str]]:
    arrays = [tensors[key] for key in source.keys]
    try:
        made = source.make(*arrays)
        if made.shape == wanted:
            return made, []
    except (ValueError, IndexError):  # arrays that cannot even be joined
        pass
    found = ", ".join(f"{k}: shape {a.shape}" for k, a in zip(source.keys, arrays, strict=True))
    return None, [f"{found} in the file, {wanted}{source.note} in the model"]
