"""A checkpoint is on the disk before it counts as one, and before an older one goes."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from kpo.trainer.state.checkpoint import Checkpoints


def test_files_are_synced_then_renamed_then_the_oldest_goes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    checkpoints = Checkpoints(tmp_path, {})
    for step in (1, 2):
        checkpoints.save(step, {"a": torch.ones(2)}, {"b": 1})
    done: list[tuple[str, str]] = []

    def spy(module: Any, name: str, path_of: Callable[..., Path]) -> None:
        real = getattr(module, name)

        def spied(*args: Any, **options: Any) -> Any:
            path = path_of(*args)
            if path.is_relative_to(tmp_path) and (name != "rmtree" or path.exists()):
                done.append((name, str(path.relative_to(tmp_path))))
            return real(*args, **options)

        monkeypatch.setattr(module, name, spied)

    spy(os, "fsync", lambda handle: Path(f"/proc/self/fd/{handle}").readlink())
    spy(os, "rename", lambda _, new: Path(new))
    spy(os, "replace", lambda _, new: Path(new))
    spy(shutil, "rmtree", lambda path, *_: Path(path))
    checkpoints.save(3, {"a": torch.ones(2)}, {"b": 1})
    files = [
        path for path in (tmp_path / "step-000003").rglob("*") if path.name != "checkpoint.json"
    ]
    placed = done.index(("replace", "step-000003"))
    for path in [*files, tmp_path / "step-000003"]:
        name = str(path.relative_to(tmp_path)).replace("step-000003", "step-000003.tmp", 1)
        assert ("fsync", name) in done[:placed], name
    assert any(kind == "fsync" and "checkpoint.json" in name for kind, name in done[:placed])
    assert done[placed + 1 :] == [
        ("fsync", "."),
        ("rename", "step-000001.tmp"),
        ("rmtree", "step-000001.tmp"),
    ]
