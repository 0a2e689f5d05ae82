"""Rows of samples and grades: what a line may hold, and what is said of one that may not."""

from __future__ import annotations

import inspect
import json
import re
from pathlib import Path
from typing import Any

import pytest

from kpo.evals.grading.statuses import STATUSES
from kpo.evals.records import (
    BadRowError,
    GradeRow,
    Row,
    Sample,
    read_grades,
    read_samples,
    write_rows,
)

GRADE = {"benchmark": "minerva", "id": "m/0", "sample": 0, "correct": True, "status": "ok"}
GRADE |= {"extracted": "5", "tokens": 1, "finish": "stop"}


def write(path: Path, *rows: dict[str, Any]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


@pytest.mark.parametrize(("kind", "read"), [(Sample, read_samples), (GradeRow, read_grades)])
def test_the_examples_are_rows_and_are_written_as_they_were_read(
    kind: type[Row], read: Any, tmp_path: Path
) -> None:
    examples = re.findall(r"^\{.*?\}$", inspect.cleandoc(kind.__doc__ or ""), re.M | re.S)
    path = write(tmp_path / "rows.jsonl", *map(json.loads, examples))
    rows = read(path)
    assert len(rows) == len(examples) > 0
    write_rows(tmp_path / "again.jsonl", rows)
    assert (tmp_path / "again.jsonl").read_bytes() == path.read_bytes()


def test_what_a_line_leaves_out_is_the_default(tmp_path: Path) -> None:
    assert read_grades(write(tmp_path / "g", GRADE)) == [
        GradeRow("minerva", "m/0", 0, True, "ok", "5", 1, "stop", "by_kind", ())
    ]


def test_what_is_no_field_is_dropped(tmp_path: Path) -> None:
    assert read_grades(write(tmp_path / "g", {**GRADE, "seed": 1})) == read_grades(
        write(tmp_path / "h", GRADE)
    )


def test_a_lone_surrogate_survives(tmp_path: Path) -> None:
    sample = Sample("minerva", "m/0", 0, "5", "\ud800", 1, "stop")
    write_rows(tmp_path / "s", [sample])
    assert read_samples(tmp_path / "s") == [sample]


@pytest.mark.parametrize("status", STATUSES)
def test_every_status_may_stand_in_a_row(status: str, tmp_path: Path) -> None:
    (row,) = read_grades(write(tmp_path / "g", {**GRADE, "status": status}))
    assert row.status == status


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"status": "fine"}, "'status' is \"fine\", not 'ok' or 'no_answer' or 'timeout' or"),
        ({"finish": None}, "'finish' is null, not 'stop' or 'length'"),
        ({"correct": 1}, "'correct' is 1, of the wrong type"),
        ({"tokens": True}, "'tokens' is true, of the wrong type"),
        ({"tokens": 1.0}, "'tokens' is 1.0, of the wrong type"),
        ({"extracted": 5}, "'extracted' is 5, of the wrong type"),
        ({"differs": "math_verify"}, "'differs' is \"math_verify\", of the wrong type"),
        ({"differs": [1]}, "'differs' is [1], of the wrong type"),
        ({"id": "x" * 99}, None),
        ({"sample": "x" * 99}, "'sample' is \"" + "x" * 56 + "..., of the wrong type"),
    ],
)
def test_a_value_must_be_of_its_fields_type(
    change: dict[str, Any], sentence: str | None, tmp_path: Path
) -> None:
    path = write(tmp_path / "g", GRADE, {**GRADE, "sample": 1, **change})
    if sentence is None:
        assert len(read_grades(path)) == 2
        return
    with pytest.raises(BadRowError, match=re.escape(f"{path}, line 2: {sentence}")):
        read_grades(path)
