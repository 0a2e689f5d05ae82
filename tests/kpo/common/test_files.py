"""Files and folders appear whole or not at all, and equal content has equal hashes."""

import hashlib
import json
import os
from pathlib import Path
from typing import Any

import pytest

from kpo.common.cli import UserError
from kpo.common.files import atomic_folder, sha256_file, sha256_json, write_json, write_text


def broken(*_: object) -> None:
    raise OSError("no space left")


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_folder_appears_when_its_block_ends(tmp_path: Path) -> None:
    out = tmp_path / "deep" / "out"
    with atomic_folder(out, "old") as folder:
        (folder / "a").write_text("new")
        assert not out.exists()
    assert names(out) == ["a"]
    assert names(out.parent) == ["out"]


def test_a_folder_replaces_the_old_one_as_a_whole(tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    (out / "old").touch()
    with atomic_folder(out, "old") as folder:
        (folder / "new").touch()
        assert names(out) == ["old"]
    assert names(out) == ["new"]


def test_a_failure_leaves_the_old_folder(tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    (out / "old").touch()
    with pytest.raises(OSError, match="no space"), atomic_folder(out, "old") as folder:
        (folder / "half").touch()
        broken()
    assert names(out) == ["old"]
    with atomic_folder(out, "old") as folder:  # what was left of the failure does not come along
        (folder / "new").touch()
    assert names(out) == ["new"]
    assert names(tmp_path) == ["out"]


def test_what_is_of_another_kind_is_not_replaced(tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine/thesis").touch()
    (tmp_path / "file").touch()
    for name in ("mine", "file"):
        told = rf"{name} is there.*not made by this command \(it has no a\): name another folder"
        with pytest.raises(UserError, match=told), atomic_folder(tmp_path / name, "a"):
            pass
    assert names(tmp_path) == ["file", "mine"]
    assert names(tmp_path / "mine") == ["thesis"]


def test_text_makes_its_folders(tmp_path: Path) -> None:
    path = tmp_path / "a" / "b.txt"
    write_text(path, "π\n")
    assert path.read_bytes() == "π\n".encode()
    assert names(path.parent) == ["b.txt"]


@pytest.mark.parametrize("step", ["fsync", "replace"])
def test_a_failure_leaves_the_old_text(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    path = tmp_path / "x.txt"
    write_text(path, "old")
    monkeypatch.setattr(*{"fsync": (os, "fsync"), "replace": (Path, "replace")}[step], broken)
    with pytest.raises(OSError, match="no space"):
        write_text(path, "new")
    assert path.read_text() == "old"


def test_json_is_readable_text(tmp_path: Path) -> None:
    value = {"b": ["π", 1.5, None], "a": {}}
    write_json(tmp_path / "x.json", value)
    text = (tmp_path / "x.json").read_text(encoding="utf-8")
    assert json.loads(text) == value
    assert "π" in text
    assert text.endswith("}\n")


def test_the_hash_of_a_file(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(b"abc" * 100_000)
    assert sha256_file(tmp_path / "x") == hashlib.sha256(b"abc" * 100_000).hexdigest()


def test_the_hash_of_a_value_does_not_depend_on_the_order_of_keys() -> None:
    assert sha256_json({"a": 1, "b": [1, 2]}) == sha256_json({"b": [1, 2], "a": 1})
    values: list[Any] = [{"a": 1}, {"a": 2}, {"b": 1}, {"a": "1"}, [1, 2], [2, 1], None, "é", "e"]
    assert len({sha256_json(value) for value in values}) == len(values)
