"""Problems from folders: what is read, and what is refused naming file and row."""

import json
import os
from pathlib import Path
from typing import Any

import pytest

from kpo.tasks.problems import DataError, Problem, choose_folder, open_problems

Row = dict[str, Any]
ROWS: list[Row] = [
    {"id": "a", "problem": "1+1?", "answer": "2"},
    {"id": "b", "problem": "Half of\u2028\\frac{1}{2}?", "answer": "\\frac{1}{4}"},
]
BENCHMARKS = Path(os.environ.get("KPO_BENCHMARKS", "../shared/benchmarks"))
SIZES = {
    "aime24": 30,
    "aime25": 30,
    "amc23": 40,
    "math500": 500,
    "minerva": 272,
    "olympiadbench": 675,
    "gsm8k": 1319,
}


def write(folder: Path, rows: list[Row], name: str = "set") -> Path:
    path = folder / f"{name}.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


# From a folder


def test_a_folder_of_jsonl(tmp_path: Path) -> None:
    write(tmp_path, ROWS)
    assert open_problems("set", folder=tmp_path).load() == [
        Problem("a", "1+1?", "2"),
        Problem("b", "Half of\u2028\\frac{1}{2}?", "\\frac{1}{4}"),
    ]


def test_further_columns_are_left_and_a_missing_id_is_the_line(tmp_path: Path) -> None:
    write(tmp_path, [{"problem": "x", "answer": "1", "level": 3}, {"problem": "y", "answer": "2"}])
    assert [p.id for p in open_problems("set", folder=tmp_path).load()] == ["1", "2"]


def test_the_file_itself_may_be_named(tmp_path: Path) -> None:
    path = write(tmp_path, ROWS, "other-name")
    assert len(open_problems("set", folder=path).load()) == 2


@pytest.mark.parametrize(("limit", "count"), [(None, 2), (1, 1), (2, 2), (9, 2)])
def test_limit_takes_the_first(tmp_path: Path, limit: int | None, count: int) -> None:
    write(tmp_path, ROWS)
    found = open_problems("set", folder=tmp_path).load(limit)
    assert [p.id for p in found] == ["a", "b"][:count]


GOOD = json.dumps(ROWS[0]).encode()
GOLD_WANTED = "must be a text, not empty, or a number"


@pytest.mark.parametrize(
    ("line", "complaint"),
    [
        (GOOD[:-9], "not readable as JSON"),
        (b'{"id": "\xff"}', "not readable as JSON"),
        (b'["a"]', "must be an object with problem and answer, got ['a']"),
        (b'{"problem": "x"}', "no column 'answer'; there is problem"),
        (b'{"question": "x", "answer": "1"}', "no column 'problem'; there is question, answer"),
        (b'{"problem": "", "answer": "1"}', "problem must be a text, not empty, got ''"),
        (b'{"problem": "x", "answer": " "}', f"answer {GOLD_WANTED}, got ' '"),
        (b'{"problem": "x", "answer": null}', f"answer {GOLD_WANTED}, got None"),
        (b'{"problem": "x", "answer": []}', f"answer {GOLD_WANTED}, got []"),
        (b'{"problem": "x", "answer": true}', f"answer {GOLD_WANTED}, got True"),
        (b'{"problem": "x", "answer": NaN}', f"answer {GOLD_WANTED}, got nan"),
        (b'{"problem": "x", "answer": {"a": 1}}', f"answer {GOLD_WANTED}, got {{'a': 1}}"),
        (b'{"problem": "x", "answer": ["1", 2]}', "answer holds 2 answers, ['1', 2], and wanted"),
        (b'{"problem": 3, "answer": "1"}', "problem must be a text, not empty, got 3"),
    ],
)
def test_a_bad_line_is_named(tmp_path: Path, line: bytes, complaint: str) -> None:
    path = tmp_path / "set.jsonl"
    path.write_bytes(b"\n".join([GOOD, line, GOOD]))
    with pytest.raises(DataError) as error:
        open_problems("set", folder=tmp_path).load()
    assert str(error.value).startswith(f"{path}, line 2: {complaint}")


def test_the_last_line_may_be_cut_in_half(tmp_path: Path) -> None:
    path = tmp_path / "set.jsonl"
    path.write_bytes(GOOD + b"\n" + GOOD[: len(GOOD) // 2])
    with pytest.raises(DataError, match=r"set\.jsonl, line 2: not readable as JSON"):
        open_problems("set", folder=tmp_path).load()


@pytest.mark.parametrize(
    ("rows", "complaint"),
    [([], "the data set is empty"), ([ROWS[0], ROWS[1], ROWS[0]], "the id 'a' stands more than")],
)
def test_a_bad_file_is_named(tmp_path: Path, rows: list[Row], complaint: str) -> None:
    path = write(tmp_path, rows)
    with pytest.raises(DataError) as error:
        open_problems("set", folder=tmp_path).load()
    assert str(error.value).startswith(f"{path}: {complaint}")


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"none: no such file or folder"):
        open_problems("set", folder=tmp_path / "none").load()


@pytest.mark.parametrize(
    ("variable", "configured", "chosen"),
    [
        ("/env", "/config", Path("/env")),
        ("/env", None, Path("/env")),
        ("", "/config", Path("/config")),
        (None, "/config", Path("/config")),
        (None, None, None),
    ],
)
def test_the_environment_comes_before_the_config(
    monkeypatch: pytest.MonkeyPatch,
    variable: str | None,
    configured: str | None,
    chosen: Path | None,
) -> None:
    monkeypatch.delenv("KPO_FOLDER", raising=False)
    if variable is not None:
        monkeypatch.setenv("KPO_FOLDER", variable)
    assert choose_folder(configured, "KPO_FOLDER") == chosen


def test_a_tilde_is_the_home_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("KPO_FOLDER", raising=False)
    assert choose_folder("~/data", "KPO_FOLDER") == tmp_path / "data"
    monkeypatch.setenv("KPO_FOLDER", "~/other")
    assert choose_folder("~/data", "KPO_FOLDER") == tmp_path / "other"
    monkeypatch.setenv("KPO_FOLDER", "~nobody-of-this-name/x")
    assert choose_folder(None, "KPO_FOLDER") == Path("~nobody-of-this-name/x")


# The real ones, where they are


@pytest.mark.parametrize(("name", "size"), SIZES.items())
def test_local_copies_of_the_benchmarks(name: str, size: int) -> None:
    if not BENCHMARKS.is_dir():
        pytest.skip(f"no copies of the benchmarks in {BENCHMARKS} (KPO_BENCHMARKS names a folder)")
    problems = open_problems(name, folder=BENCHMARKS).load()
    assert len(problems) == size
    assert all(p.problem.strip() and p.answer.strip() for p in problems)
