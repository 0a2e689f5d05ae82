"""Samples are on the disk before they count as there, and before what they replace goes."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from kpo.evals.records import Sample, write_rows
from kpo.evals.sampling.unfinished import UnfinishedSamples

ROWS = [Sample("easy", "a", 0, "1", "response", 3, "stop")]
LINE = ROWS[0].line()


@pytest.fixture
def done(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, str, str]]:
    """What is synced and renamed: how, the file, and what it then holds on the disk."""
    seen: list[tuple[str, str, str]] = []

    def spy(module: Any, name: str, path_of: Callable[[Any], Path]) -> None:
        real = getattr(module, name)

        def spied(what: Any, *args: Any) -> Any:
            path = path_of(what)
            seen.append((name, str(path.relative_to(tmp_path)), path.read_text()))
            return real(what, *args)

        monkeypatch.setattr(module, name, spied)

    spy(os, "fsync", lambda handle: Path(f"/proc/self/fd/{handle}").readlink())
    spy(Path, "replace", Path)
    return seen


def test_rows_are_synced_whole_before_they_take_the_file_s_name(
    tmp_path: Path, done: list[tuple[str, str, str]]
) -> None:
    write_rows(tmp_path / "samples.jsonl", ROWS)
    partial = ".samples.jsonl.partial"
    assert done == [("fsync", partial, LINE), ("replace", partial, LINE)]


def test_appended_rows_are_synced_before_the_next(
    tmp_path: Path, done: list[tuple[str, str, str]]
) -> None:
    file = UnfinishedSamples(tmp_path / "samples.jsonl")
    file.append(ROWS)
    assert done == [("fsync", file.path.name, LINE)]
    file.append(ROWS)
    assert done[1:] == [("fsync", file.path.name, 2 * LINE)]


def test_published_files_are_synced_and_the_manifest_is_last(
    tmp_path: Path, done: list[tuple[str, str, str]]
) -> None:
    file = UnfinishedSamples(tmp_path / "samples.jsonl")
    file.path.write_text(LINE)
    file.manifest.write_text("manifest")
    file.publish()
    assert [(how, name) for how, name, _ in done] == [
        ("fsync", ".samples.jsonl.partial"),
        ("replace", ".samples.jsonl.partial"),
        ("fsync", ".manifest.json.partial"),
        ("replace", ".manifest.json.partial"),
    ]
    assert file.path.exists()  # it goes only when all that was to be made of it is there
