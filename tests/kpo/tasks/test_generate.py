"""The files of a task's problems, and what of a task is refused before any is written."""

from __future__ import annotations

import json
import runpy
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Literal

import pytest

from kpo.common.cli import UserError
from kpo.tasks import generate
from kpo.tasks.generate import write_problems
from kpo.tasks.task import Task

TINY = "workflow/config/tiny.yaml"


class Letters(Task):
    """Asks for the letter behind one; `odd` names what is wrong with it."""

    kind: Literal["letters"] = "letters"
    odd: str = ""

    @property
    def tests(self) -> tuple[str, ...]:
        return ("late",)

    @property
    def longest(self) -> int:
        return 1

    def size(self, name: str) -> int:
        return 3 if name == "train" else 2

    def problems(self, name: str) -> Iterable[tuple[str, str]]:
        texts: dict[str, Iterable[str]] = {"train": "abc", "late": "xy", "size": "x"}
        texts |= {"twice": "xx", "shared": "ax", "long": ["x", "xx"], "empty": ["x", ""]}
        chosen = texts[self.odd or name] if name == "late" else texts[name]
        return [(text, text[:1] and chr(ord(text[0]) + 1)) for text in chosen]


def rows(path: Path) -> list[dict[str, str]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_a_file_holds_its_set_in_order_with_ids(tmp_path: Path) -> None:
    write_problems(Letters(), tmp_path)
    assert rows(tmp_path / "late.jsonl") == [
        {"id": "late/0", "problem": "x", "answer": "y"},
        {"id": "late/1", "problem": "y", "answer": "z"},
    ]
    assert [row["problem"] for row in rows(tmp_path / "train.jsonl")] == ["a", "b", "c"]


def test_only_the_sets_that_are_asked_for_are_written(tmp_path: Path) -> None:
    write_problems(Letters(), tmp_path, ["late"])
    assert [path.name for path in tmp_path.iterdir()] == ["late.jsonl"]


@pytest.mark.parametrize(
    ("odd", "fault"),
    [
        ("size", "has 1 problems, not 2"),
        ("twice", "repeats a problem"),
        ("long", "holds an empty problem, or one of more than 1 characters"),
        ("empty", "holds an empty problem, or one of more than 1 characters"),
        ("shared", "holds problems of train"),
    ],
)
def test_a_task_that_breaks_its_promises_writes_nothing(
    tmp_path: Path, odd: str, fault: str
) -> None:
    with pytest.raises(UserError, match=f"^task letters: the set late {fault}$"):
        write_problems(Letters(odd=odd), tmp_path, ["train"])
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("module", ["kpo.tasks.generate", "kpo.tasks.chained_sums"])
def test_the_command_writes_every_set(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, module: str
) -> None:
    monkeypatch.setattr("sys.argv", [module, "--config", TINY, "--out", str(tmp_path)])
    monkeypatch.delitem(sys.modules, "kpo.tasks.generate")  # runpy warns of a loaded module
    if module == "kpo.tasks.chained_sums":
        monkeypatch.delitem(sys.modules, module)
    runpy.run_module(module, run_name="__main__")
    files = {path.stem: len(rows(path)) for path in tmp_path.iterdir()}
    assert files == {"train": 4096, "easy": 48, "medium": 48, "hard": 48}


@pytest.mark.parametrize(
    ("config", "more", "sentence"),
    [
        ("workflow/config/paper.yaml", [], "paper.yaml has no task section"),
        (TINY, ["--sets", "esay"], "no set 'esay'; there is train, easy, medium, hard"),
    ],
)
def test_what_the_command_cannot_do(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    config: str,
    more: list[str],
    sentence: str,
) -> None:
    monkeypatch.setattr("sys.argv", ["generate", "--config", config, "--out", "nowhere", *more])
    with pytest.raises(SystemExit) as left:
        generate.main()
    assert left.value.code == 2
    assert sentence in capsys.readouterr().err
