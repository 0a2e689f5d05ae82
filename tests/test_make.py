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


def test_the_gpu_lock_is_asked_for_once(folder: Path) -> None:
    assert "workflow/setup.sh gpu" in planned(folder, "env", "LOCK=gpu")
    stamp = folder / ".venv/.installed-gpu"
    stamp.parent.mkdir()
    shutil.copy(folder / "workflow/lock/gpu.txt", stamp)
    assert "workflow/setup.sh" not in planned(folder, "test")
    assert "workflow/setup.sh cpu" in planned(folder, "test", "LOCK=cpu")
