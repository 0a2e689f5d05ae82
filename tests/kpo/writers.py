"""What writes folders, for processes that die while they do; imported before they start."""

from __future__ import annotations

from pathlib import Path

from kpo.common.files import atomic_folder, write_text
from kpo.trainer.run import move_into_place
from tests.kpo.trainer.checkpointed import Run


def save_again(folder: Path) -> None:
    """Save the newest checkpoint's step once more."""
    run = Run(folder)
    run.restore()
    run.save()


def save_next(folder: Path) -> None:
    """Go on from the newest checkpoint, and save the step after it."""
    run = Run(folder)
    run.restore()
    run.train(1)
    run.save()


def fill(folder: Path, text: str) -> None:
    """Two files with this text, one in a folder of its own."""
    for name in ("a", "b/c"):
        write_text(folder / name, text)


def write_folder(path: Path) -> None:
    """Fill a folder with new content."""
    with atomic_folder(path, "a") as folder:
        fill(folder, "new")


def finish_run(out: Path) -> None:
    """Move a run's new files over its old ones."""
    move_into_place(out / "unfinished", out)
