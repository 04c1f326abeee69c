"""Checkpoints: what goes in comes out, torn or hostile files are refused, the old file survives."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import pyfast as pf


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "checkpoint.safetensors"


STATE: dict[str, Any] = {
    "layers.0.weight": np.arange(6, dtype=np.float32).reshape(2, 3),
    "transposed": np.arange(6.0).reshape(2, 3).T,
    "scalar": np.float64(2.5),
    "empty": np.zeros((0, 3), np.float32),
    "count": np.array(7),
    "mask": np.array([True, False]),
    "half": np.ones(3, np.float16),
    "optimizer": {"state": {"0": {"step": 3, "exp_avg": np.ones(4)}}, "groups": [{"lr": 0.1}]},
    "nothing": None,
    "inner": {},
}


def assert_same(a: Any, b: Any) -> None:
    if isinstance(b, dict):
        assert a.keys() == b.keys()
        for k in b:
            assert_same(a[k], b[k])
    elif isinstance(b, np.ndarray | np.generic):
        assert a.dtype == b.dtype
        assert a.shape == np.shape(b)
        np.testing.assert_array_equal(a, b)
    else:
        assert a == b


def test_round_trip(path: Path) -> None:
    pf.save(STATE, path, {"note": "x"})
    state, metadata = pf.load(path, return_metadata=True)
    assert_same(state, STATE)
    assert metadata == {"note": "x"}
    assert os.listdir(path.parent) == [path.name]


def test_tensors_of_every_kind(path: Path) -> None:
    w = np.random.default_rng(0).standard_normal((3, 2))
    pf.save(
        {"a": pf.Tensor(w, requires_grad=True), "b": torch.from_numpy(w).requires_grad_()}, path
    )
    state = pf.load(path)
    np.testing.assert_array_equal(state["a"], w)
    np.testing.assert_array_equal(state["b"], w)


def test_files_of_others(path: Path) -> None:
    from safetensors.torch import save_file

    save_file({"a.b": torch.arange(3.0)}, path)
    np.testing.assert_array_equal(pf.load(path)["a.b"], [0, 1, 2])


def test_a_cut_file_is_refused_at_every_length(path: Path) -> None:
    pf.save({"w": np.arange(9.0), "n": 1}, path)
    blob = path.read_bytes()
    for length in [*range(0, len(blob), 7), len(blob) - 1]:
        path.write_bytes(blob[:length])
        with pytest.raises(ValueError, match=r"checkpoint.safetensors is not a whole"):
            pf.load(path)


def header(entries: Any) -> bytes:
    text = json.dumps(entries).encode()
    return len(text).to_bytes(8, "little") + text


@pytest.mark.parametrize(
    "blob",
    [
        b"\xff" * 64,
        (2**62).to_bytes(8, "little") + b"{}",
        header({"w": {"dtype": "F32", "shape": [2**40], "data_offsets": [0, 4]}}) + b"1234",
        header({"w": {"dtype": "F32", "shape": [1], "data_offsets": [0, 2**60]}}) + b"1234",
        header({"w": {"dtype": "X9", "shape": [1], "data_offsets": [0, 4]}}) + b"1234",
        header({"__metadata__": {"pyfast": "[1"}}),
        header({"__metadata__": {"pyfast": '{"w": 1}'}, "w\x1fx": {"dtype": "F32", "shape": [1],
                "data_offsets": [0, 4]}}) + b"1234",
    ],
)  # fmt: skip
def test_hostile_files_are_refused(path: Path, blob: bytes) -> None:
    path.write_bytes(blob)
    with pytest.raises(ValueError, match="is not a whole safetensors file"):
        pf.load(path)


@pytest.mark.parametrize(
    ("state", "error", "match"),
    [
        ({"f": print}, TypeError, "cannot store f of type"),
        ({"a": {1: 2}}, TypeError, "keys must be str, got 1 in a"),
        ({"a\x1fb": 2}, TypeError, "keys must be str"),
        ({"c": np.ones(2, complex)}, ValueError, "c has dtype complex128"),
        ({"o": np.array([None])}, ValueError, "o has dtype object"),
    ],
)
def test_what_cannot_be_stored(path: Path, state: Any, error: Any, match: str) -> None:
    path.write_bytes(b"old")
    with pytest.raises(error, match=match):
        pf.save(state, path)
    assert path.read_bytes() == b"old"


def test_a_failing_disk_leaves_the_old_file(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pf.save({"w": np.ones(3)}, path)

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match=f"No space left on device: .*{path.name}"):
        pf.save({"w": np.zeros(3)}, path)
    np.testing.assert_array_equal(pf.load(path)["w"], 1)
    assert os.listdir(path.parent) == [path.name]


def test_missing_folder_and_file(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="nowhere"):
        pf.save({}, tmp_path / "nowhere" / "x")
    with pytest.raises(FileNotFoundError):
        pf.load(tmp_path / "absent")
