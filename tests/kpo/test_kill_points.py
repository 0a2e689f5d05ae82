"""Killed before any change of a folder in turn, no writer loses what was good on disk."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from kpo.common.files import put_in_place, take_back, write_text
from kpo.trainer.state.checkpoint import Checkpoints
from tests.kpo.processes import killed_at_each_change
from tests.kpo.trainer.checkpointed import Run
from tests.kpo.writers import fill, finish_run, save_again, save_next, write_folder

pytestmark = pytest.mark.slow


def restored(folder: Path) -> tuple[int, str]:
    """The step that a run finds in a folder, and the hash of all it goes on from."""
    run = Run(folder)
    assert run.restore() is not None
    return run.step, run.hash()


@pytest.mark.parametrize("save", [save_again, save_next])
def test_a_checkpoint_that_was_there_can_be_restored(
    tmp_path: Path, save: Callable[[Path], None]
) -> None:
    good, folder = tmp_path / "good", tmp_path / "folder"
    whole = Run(good)
    known = {}
    for _ in range(2):
        whole.train(1)
        whole.save()
        known[whole.step] = whole.hash()
    whole.train(1)
    known[whole.step] = whole.hash()
    shutil.copytree(good, folder)
    deaths = 0
    for _ in killed_at_each_change(save, folder):
        deaths += 1
        step, found = restored(folder)
        assert step >= 2
        assert found == known[step]
        assert not list(folder.glob("*.damaged"))
        shutil.rmtree(folder)
        shutil.copytree(good, folder)
    assert deaths > 4
    names = sorted(path.name for path in folder.iterdir())
    assert len(names) == 2
    assert all(name.startswith("step-") and "." not in name for name in names)


def test_two_kills_in_a_row_lose_nothing(tmp_path: Path) -> None:
    """What the first death left behind is as good a start for the second."""
    run = Run(tmp_path)
    for _ in range(2):
        run.train(1)
        run.save()
    for _ in killed_at_each_change(save_again, tmp_path):  # one after the other in one folder
        assert any(path.name == "checkpoint.json" for path in tmp_path.rglob("checkpoint.json"))
    assert restored(tmp_path) == (2, run.hash())
    assert Checkpoints(tmp_path, {"lr": 0.1}).latest() == tmp_path / "step-000002"


def content(folder: Path) -> set[str]:
    return {path.read_text() for path in folder.rglob("*") if path.is_file()}


def test_a_folder_is_the_old_or_the_new_one(tmp_path: Path) -> None:
    path = tmp_path / "results" / "out"
    fill(path, "old")
    deaths = 0
    for _ in killed_at_each_change(write_folder, path):
        deaths += 1
        take_back(path)
        assert content(path) in ({"old"}, {"new"})
        assert sorted(f.name for f in path.rglob("*") if f.is_file()) == ["a", "c"]
        shutil.rmtree(path.parent)
        fill(path, "old")
    assert deaths > 8
    assert content(path) == {"new"}
    assert [p.name for p in path.parent.iterdir()] == ["out"]


def test_what_is_half_removed_is_not_taken_back(tmp_path: Path) -> None:
    """A kill while the old folder goes; then the new one is deleted, as Snakemake does."""
    path = tmp_path / "results" / "out"
    fill(path, "old")
    removing = 0
    for _ in killed_at_each_change(write_folder, path):
        if path.exists() and content(path) == {"new"}:
            removing += 1
            shutil.rmtree(path)
            take_back(path)
            assert not path.exists() or len(list(path.rglob("*"))) == 3
        shutil.rmtree(path.parent)
        fill(path, "old")
    assert removing > 3


def test_files_are_replaced_at_once(tmp_path: Path) -> None:
    (tmp_path / "new").write_text("new")
    (tmp_path / "old").write_text("old")
    put_in_place(tmp_path / "new", tmp_path / "old")
    assert [p.name for p in tmp_path.iterdir()] == ["old"]
    assert (tmp_path / "old").read_text() == "new"


def run_folder(folder: Path, text: str) -> None:
    fill(folder / "model", text)
    for name in ("metrics.jsonl", "manifest.json"):
        write_text(folder / name, text)


def test_a_manifest_never_stands_beside_another_runs_files(tmp_path: Path) -> None:
    out = tmp_path / "run"
    deaths = 0

    def again() -> None:
        shutil.rmtree(out, ignore_errors=True)
        run_folder(out, "old")
        run_folder(out / "unfinished", "new")

    again()
    for _ in killed_at_each_change(finish_run, out):
        deaths += 1
        shutil.rmtree(out / "unfinished", ignore_errors=True)  # as the next start does
        if (out / "manifest.json").exists():
            kept = [p for p in out.rglob("*") if not p.relative_to(out).parts[0].startswith(".")]
            assert len({p.read_text() for p in kept if p.is_file()}) == 1
            assert len([p for p in kept if p.is_file()]) == 4
        again()
    assert deaths > 5
    assert sorted(p.name for p in out.iterdir()) == ["manifest.json", "metrics.jsonl", "model"]
