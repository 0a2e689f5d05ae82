"""Files and folders that appear whole or not at all, and their content hashes."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

from kpo.common.cli import UserError


def check_replaceable(path: Path, known_by: str) -> None:
    """Raise UserError for a folder that holds something, but not the file its kind is known by."""
    holds_something = path.is_file() or (path.is_dir() and any(path.iterdir()))
    if holds_something and not (path / known_by).is_file():
        raise UserError(
            f"{path} is there, and would be replaced, but was not made by this command (it has no"
            f" {known_by}): name another folder"
        )


@contextmanager
def atomic_folder(path: Path, known_by: str) -> Iterator[Path]:
    """A temporary folder beside `path` that takes its place when the block ends without error.

    Raises UserError where `path` is something else: no folder of the kind `known_by` a file in it.
    """
    check_replaceable(path, known_by)
    partial = path.with_name(f".{path.name}.partial")
    take_back(path)
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    yield partial
    put_in_place(partial, path)


def put_in_place(new: Path, path: Path) -> None:
    """Give a finished file or folder its name, then remove what had that name before.

    A folder that holds something cannot be replaced in one step. For a moment the old one has
    another name, from which `take_back` recovers it, so that either is whole whenever this is cut
    short.
    """
    take_back(path)
    if path.is_dir():
        path.rename(path.with_name(f".{path.name}.old"))
    new.replace(path)
    take_back(path)


def take_back(path: Path) -> None:
    """Finish a `put_in_place` that was cut short: the old folder, unless the new one is there."""
    aside, trash = (path.with_name(f".{path.name}.{end}") for end in ("old", "trash"))
    shutil.rmtree(trash, ignore_errors=True)
    if aside.is_dir() and not path.exists():
        aside.rename(path)
    elif aside.is_dir():
        aside.rename(trash)  # half removed, it must not be taken back
        shutil.rmtree(trash)


def write_text(path: Path, *parts: str) -> None:
    """Write a text file through a temporary name."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.partial")
    with partial.open("w", encoding="utf-8") as file:
        file.writelines(parts)
        file.flush()
        os.fsync(file.fileno())
    partial.replace(path)


def write_json(path: Path, value: Any) -> None:
    """Write JSON, indented, through a temporary name."""
    write_text(path, json.dumps(value, indent=2, ensure_ascii=False) + "\n")


def write_jsonl(path: Path, rows: Iterable[Any]) -> None:
    """Write rows as JSON, one a line, through a temporary name."""
    write_text(path, *(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))


def sha256_file(path: Path) -> str:
    """Content hash of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def sha256_path(path: Path) -> str:
    """Content hash of a file, or of a folder: of the names and contents of its visible files.

    A file is read once in a process, as long as it stays what it is.
    """
    if path.is_file():
        stat = path.stat()
        return _read_once(path, stat.st_ino, stat.st_size, stat.st_mtime_ns)
    names = (file.relative_to(path) for file in path.rglob("*") if file.is_file())
    visible = (name for name in names if not any(part.startswith(".") for part in name.parts))
    return sha256_json({str(name): sha256_path(path / name) for name in visible})


@cache
def _read_once(path: Path, *_state: int) -> str:
    return sha256_file(path)


def sha256_json(value: Any) -> str:
    """Content hash of a JSON value, independent of the order of its keys."""
    text = json.dumps(value, sort_keys=True, ensure_ascii=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()
