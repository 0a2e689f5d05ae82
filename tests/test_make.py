"""Which environment make sets up: the CPU's, unless the GPU's is asked for or is there."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

REPO = Path(__file__).parents[1]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A fresh clone's Makefile and locks, on a machine with an NVIDIA driver."""
    shutil.copy(REPO / "Makefile", tmp_path)
    shutil.copytree(REPO / "workflow/lock", tmp_path / "workflow/lock")
    smi = tmp_path / "bin/nvidia-smi"
    smi.parent.mkdir()
    smi.write_text("#!/bin/sh\necho 'GPU 0: a card'\n")
    smi.chmod(0o755)
    return tmp_path


def planned(folder: Path, *arguments: str) -> str:
    """What make would run."""
    kept = {name: value for name, value in os.environ.items() if name not in ("LOCK", "MAKEFLAGS")}
    run = subprocess.run(
        ["make", "--dry-run", *arguments],
        cwd=folder,
        env={**kept, "PATH": f"{folder / 'bin'}:{os.environ['PATH']}"},
        capture_output=True,
        text=True,
        check=True,
    )
    return run.stdout


@pytest.mark.parametrize("target", ["table1", "test"])
def test_a_gpu_that_nobody_asked_for_changes_nothing(folder: Path, target: str) -> None:
    assert "workflow/setup.sh cpu" in planned(folder, target)


@pytest.mark.parametrize("place", ["Linux aarch64", "Darwin arm64"])
def test_where_vllm_was_not_tried_the_lock_is_without_it(folder: Path, place: str) -> None:
    uname = folder / "bin/uname"
    system, machine = place.split()
    uname.write_text(f'#!/bin/sh\n[ "$1" = -s ] && echo {system} || echo {machine}\n')
    uname.chmod(0o755)
    assert "workflow/setup.sh no-vllm" in planned(folder, "table1")


def test_what_is_there_is_kept_unless_a_python_is_named(folder: Path) -> None:
    stamp = folder / ".venv/.installed-no-vllm"
    stamp.parent.mkdir()
    shutil.copy(folder / "workflow/lock/no-vllm.txt", stamp)
    assert "workflow/setup.sh" not in planned(folder, "test")
    assert 'setup.sh no-vllm "python3.12"' in planned(folder, "test", "PYTHON=python3.12")


def test_the_gpu_lock_is_asked_for_once(folder: Path) -> None:
    assert "workflow/setup.sh gpu" in planned(folder, "env", "LOCK=gpu")
    stamp = folder / ".venv/.installed-gpu"
    stamp.parent.mkdir()
    shutil.copy(folder / "workflow/lock/gpu.txt", stamp)
    assert "workflow/setup.sh" not in planned(folder, "test")
    assert "workflow/setup.sh cpu" in planned(folder, "test", "LOCK=cpu")
