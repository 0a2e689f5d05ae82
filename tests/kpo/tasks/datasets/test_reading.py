"""Data files by what they are: the same rows from every kind, and what is refused by name."""

import csv
import gzip
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import datasets
import pytest

from kpo.tasks.datasets.reading import find_files, read_rows
from kpo.tasks.problems import DataError, Problem, content_hash, open_problems

Row = dict[str, Any]
ROWS: list[Row] = [
    {"id": "a", "problem": "Half of\u2028$\\frac{1}{2}$, \u201c1, 2\u201d;\nor 3?", "answer": "1"},
    {"id": "b", "problem": "1+1?", "answer": "2"},
    {"id": "c", "problem": "2+1?", "answer": "3"},
]
PROBLEMS = [Problem(**row) for row in ROWS]


def jsonl(path: Path, rows: list[Row]) -> None:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))


def windows(path: Path, rows: list[Row]) -> None:
    lines = "\r\n\r\n".join(json.dumps(row, ensure_ascii=False) for row in rows)
    path.write_bytes(b"\xef\xbb\xbf" + lines.encode() + b"\r\n \r\n")


def array(path: Path, rows: list[Row]) -> None:
    path.write_text(json.dumps(rows, indent=2), encoding="utf-8-sig")


def wrapped(path: Path, rows: list[Row]) -> None:
    path.write_text(json.dumps({"version": 1, "data": rows}, indent=1))


def wrapped_in_a_line(path: Path, rows: list[Row]) -> None:
    path.write_text(json.dumps({"data": rows}))


def table(path: Path, rows: list[Row], delimiter: str = ",") -> None:
    with path.open("w", encoding="utf-8-sig", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]), delimiter=delimiter)
        writer.writeheader()
        writer.writerows(rows)


def semicolons(path: Path, rows: list[Row]) -> None:
    table(path, rows, ";")


def tabs(path: Path, rows: list[Row]) -> None:
    table(path, rows, "\t")


def parquet(path: Path, rows: list[Row]) -> None:
    datasets.Dataset.from_list(rows).to_parquet(str(path))


KINDS = [
    (jsonl, ".jsonl"),
    (windows, ".jsonl"),
    (windows, ".json"),
    (array, ".json"),
    (array, ".jsonl"),
    (wrapped, ".json"),
    (wrapped_in_a_line, ".json"),
    (table, ".csv"),
    (semicolons, ".csv"),
    (tabs, ".tsv"),
    (parquet, ".parquet"),
    (parquet, ".jsonl"),  # its name does not matter
]
Write = Callable[[Path, list[Row]], None]


@pytest.mark.parametrize(("write", "ending"), KINDS)
@pytest.mark.parametrize("named", ["folder", "file"])
def test_every_kind_gives_the_same_problems(
    tmp_path: Path, write: Write, ending: str, named: str
) -> None:
    path = tmp_path / f"set{ending}"
    write(path, ROWS)
    found = open_problems("set", folder=tmp_path if named == "folder" else path).load()
    assert found == PROBLEMS
    assert content_hash(found) == content_hash(PROBLEMS)


@pytest.mark.parametrize(("write", "ending"), KINDS)
def test_every_kind_names_its_bad_row(tmp_path: Path, write: Write, ending: str) -> None:
    path = tmp_path / f"set{ending}"
    write(path, [*ROWS[:2], {**ROWS[2], "answer": ""}])
    with pytest.raises(DataError, match=r"(line [3-6]|row 2): answer must be a text") as error:
        open_problems("set", folder=tmp_path).load()
    assert str(error.value).startswith(str(path))


def test_numbers_stay_what_they_are_in_parquet(tmp_path: Path) -> None:
    parquet(tmp_path / "set.parquet", [{"problem": "x", "answer": v} for v in (34.0, 0.5)])
    parquet(tmp_path / "list.parquet", [{"problem": "x", "answer": [7]}])
    assert [p.answer for p in open_problems("set", folder=tmp_path).load()] == ["34", "0.5"]
    assert [p.answer for p in open_problems("list", folder=tmp_path).load()] == ["7"]


@pytest.mark.parametrize("ids", [[None, None], ["", None], [float("nan"), None]])
def test_null_ids_are_numbered(tmp_path: Path, ids: list[Any]) -> None:
    jsonl(tmp_path / "set.jsonl", [{"id": i, "problem": "x", "answer": "1"} for i in ids])
    parquet(
        tmp_path / "other.parquet",
        [{"id": i, "problem": "x", "answer": "1"} for i in [3, *[None] * 2]],
    )
    assert [p.id for p in open_problems("set", folder=tmp_path).load()] == ["1", "2"]
    assert [p.id for p in open_problems("other", folder=tmp_path).load()] == ["3", "1", "2"]


# Which files


def test_shards_are_read_in_order(tmp_path: Path) -> None:
    for i, row in enumerate(ROWS):
        parquet(tmp_path / f"set-{i:05d}-of-00003.parquet", [row])
    assert open_problems("set", folder=tmp_path).load() == PROBLEMS
    (tmp_path / "set-00001-of-00003.parquet").unlink()
    with pytest.raises(DataError, match="one of 3 shards, of which 2 are here"):
        open_problems("set", folder=tmp_path).load()


def test_rows_of_shards_without_ids_are_told_apart(tmp_path: Path) -> None:
    for i in range(2):
        jsonl(tmp_path / f"set-{i:05d}-of-00002.jsonl", [{"problem": "x", "answer": i}])
    ids = [p.id for p in open_problems("set", folder=tmp_path).load()]
    assert ids == ["set-00000-of-00002/1", "set-00001-of-00002/1"]


def test_a_folder_of_that_name(tmp_path: Path) -> None:
    (tmp_path / "set/data").mkdir(parents=True)
    (tmp_path / "set/.cache").mkdir()
    parquet(tmp_path / "set/.cache/old.parquet", ROWS)
    (tmp_path / "set/README.md").write_text("read me")
    parquet(tmp_path / "set/data/train-00000-of-00001.parquet", ROWS)
    assert open_problems("set", folder=tmp_path).load() == PROBLEMS


@pytest.mark.parametrize(
    "files",
    [
        ["set.jsonl", "set.parquet"],
        ["set.jsonl", "set/train.jsonl"],
        ["set/train.jsonl", "set/test.jsonl"],
        ["set.jsonl", "set-00000-of-00001.jsonl"],
    ],
)
def test_more_than_one_data_set_of_that_name(tmp_path: Path, files: list[str]) -> None:
    for name in files:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        jsonl(tmp_path / name, ROWS)
    with pytest.raises(DataError, match=r"more than one data set could be set|beside") as error:
        find_files(tmp_path, "set")
    assert Path(files[0]).stem in str(error.value)


def test_other_files_of_the_folder_do_not_matter(tmp_path: Path) -> None:
    for name in ("set.jsonl", "sett.jsonl", "set.txt", "set.v2.jsonl", "other.parquet"):
        jsonl(tmp_path / name, ROWS)
    assert find_files(tmp_path, "set") == [tmp_path / "set.jsonl"]
    assert find_files(tmp_path, "set.v2") == [tmp_path / "set.v2.jsonl"]


def test_a_folder_without_it_says_what_is_wanted(tmp_path: Path) -> None:
    with pytest.raises(DataError) as error:
        find_files(tmp_path, "set")
    assert str(error.value) == (
        f"{tmp_path}: no data set set: wanted is a file set.jsonl, .ndjson, .json, .csv, .tsv or"
        " .parquet, or a folder set with such files"
    )


# What is none of them


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        (gzip.compress(b'{"problem": "x"}', mtime=0), "begins with b'\\x1f\\x8b"),
        (
            gzip.compress(b'{"problem": "x"}', mtime=0),
            "; wanted is JSONL, JSON or CSV in UTF-8, or Parquet, not",
        ),
        ('{"problem": "x"}'.encode("utf-16"), "begins with b'\\xff\\xfe{"),
        (b"problem: x\n", "begins with b'problem: x\\n'; wanted is JSONL, JSON or CSV in UTF-8"),
        (b"PAR1 and no more", "not readable as Parquet: "),
        (b'[{"problem": "x"}', "not readable as JSON: "),
        (
            b'[{"problem": "x", "answer": "1"}, 3]',
            ", row 1: must be an object with problem and answer, got 3",
        ),
        (b'{"problem":\n "x', ", line 1: not readable as JSON: "),
        (b"", ": the data set is empty"),
        (b"[]", ": the data set is empty"),
    ],
)
def test_what_is_refused(tmp_path: Path, content: bytes, complaint: str) -> None:
    path = tmp_path / "set.jsonl"
    path.write_bytes(content)
    with pytest.raises(DataError) as error:
        open_problems("set", folder=tmp_path).load()
    assert str(error.value).startswith(str(path))
    assert complaint in str(error.value)


@pytest.mark.parametrize("line", ["1", "1,2,3"])
def test_a_csv_with_other_cells_than_columns(tmp_path: Path, line: str) -> None:
    path = tmp_path / "set.csv"
    path.write_text(f"problem,answer\nx,1\n{line}\n")
    with pytest.raises(DataError, match=r"set\.csv, line 3: other cells than the columns"):
        list(read_rows(path))
    path.write_bytes(b"problem,answer\n\xff,1\n")
    with pytest.raises(DataError, match=r"set\.csv: not readable as CSV"):
        list(read_rows(path))
