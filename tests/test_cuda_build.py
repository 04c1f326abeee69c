"""Building with CUDA: what cmake says where it cannot be. Nothing is compiled."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent

pytestmark = pytest.mark.skipif(
    not (ROOT / "CMakeLists.txt").exists() or not (shutil.which("cmake") and shutil.which("c++")),
    reason="needs the sources, cmake and a compiler",
)


def configure(build: Path, *settings: str) -> subprocess.CompletedProcess[str]:
    """What configuring says on a machine whose nvcc cannot be found."""
    pybind11 = pytest.importorskip("pybind11")
    environment = {**os.environ, "CUDACXX": str(build / "no" / "nvcc")}
    arguments = [
        f"-Dpybind11_DIR={pybind11.get_cmake_dir()}",
        f"-DPython_EXECUTABLE={sys.executable}",
    ]
    return subprocess.run(
        ["cmake", "-S", str(ROOT), "-B", str(build), *arguments, *settings],
        capture_output=True, text=True, env=environment, timeout=120, check=False,
    )  # fmt: skip


def said(done: subprocess.CompletedProcess[str]) -> str:
    return " ".join((done.stdout + done.stderr).split())  # cmake breaks lines


def test_on_without_nvcc_fails_and_says_what_to_do(tmp_path: Path) -> None:
    done = configure(tmp_path, "-DPYFAST_CUDA=ON")
    assert done.returncode != 0
    assert "PYFAST_CUDA=ON, but no nvcc was found: put CUDA 12.8 or later on PATH" in said(done)


def test_auto_without_nvcc_builds_for_the_cpu(tmp_path: Path) -> None:
    done = configure(tmp_path, "-DPYFAST_CUDA=AUTO")
    assert done.returncode == 0, said(done)
    assert "no nvcc found, building without CUDA" in said(done)


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("-DPYFAST_CUDA=YES", "PYFAST_CUDA must be OFF, AUTO or ON, got YES"),
        (
            "-DPYFAST_CUDA_ARCHITECTURES=75-real",
            'PYFAST_CUDA_ARCHITECTURES: "75-real" is none that',
        ),
        ("-DPYFAST_CUDA_ARCHITECTURES=", "PYFAST_CUDA_ARCHITECTURES is empty"),
    ],
)
def test_settings_that_make_no_sense(tmp_path: Path, setting: str, message: str) -> None:
    done = configure(tmp_path, "-DPYFAST_CUDA=ON", setting)
    assert done.returncode != 0
    assert message in said(done)
