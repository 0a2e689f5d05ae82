"""Rows come out of every kind of file as they went in."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from pyarrow import parquet

from kpo.diagnosis.reading import RolloutError, open_dump
from tests.kpo.diagnosis.dumps import FORMS, made_rows, write_lines, write_parquet


@pytest.mark.parametrize("form", FORMS)
def test_rows_are_the_same_in_every_form(tmp_path: Path, form: str) -> None:
    rows = made_rows()
    dump = open_dump(FORMS[form](tmp_path / "dump", rows))
    assert dump.columns == list(rows[0])
    read = list(dump.rows(["step", "logprobs", "tokens"]))
    assert len({where for where, _ in read}) == len(rows)
    for (_, cells), row in zip(read, rows, strict=True):
        assert list(cells) == ["step", "logprobs", "tokens"]
        assert (cells["step"], list(cells["tokens"])) == (row["step"], row["tokens"])
        assert np.asarray(cells["logprobs"]).tolist() == row["logprobs"]


def test_places_are_rows_from_0_and_lines_from_1(tmp_path: Path) -> None:
    rows = made_rows(300)
    lines = tmp_path / "a.jsonl"
    table = write_parquet(tmp_path / "a.parquet", rows)
    lines.write_text("\n" + write_lines(lines, rows).read_text())
    assert [where for where, _ in open_dump(table).rows(["step"])][-1] == f"{table}, row 299"
    assert next(where for where, _ in open_dump(lines).rows(["step"])) == f"{lines}, line 2"


def test_fixed_sizes_and_missing_cells(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    sizes = pa.array([[1.0, 2.0], [3.0, 4.0]], type=pa.list_(pa.float32(), 2))
    parquet.write_table(pa.table({"a": sizes, "b": [[1.5, None], None]}), path)
    (_, first), (_, second) = open_dump(path).rows(None)
    assert (first["a"].tolist(), second["a"].tolist()) == ([1, 2], [3, 4])
    assert first["b"][0] == 1.5
    assert np.isnan(first["b"][1])
    assert second["b"] is None


def refused(place: Path) -> str:
    with pytest.raises(RolloutError) as error:
        dump = open_dump(place)
        list(dump.rows(dump.columns))
    return str(error.value)


def test_what_is_no_dump_is_refused(tmp_path: Path) -> None:
    there = tmp_path / "there"
    there.mkdir()
    assert refused(tmp_path / "none") == f"{tmp_path / 'none'}: no such file or folder"
    assert refused(there).startswith(f"{there}: no files .parquet, ")
    write_lines(there / "a.jsonl", made_rows())
    write_parquet(there / "a.parquet", made_rows())
    assert "files of several kinds (.parquet, .jsonl)" in refused(there)


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b"", "an empty file; wanted is one row a response"),
        (b"a,b\n1,2\n", r"begins with b'a,b\n1,2\n'; wanted is Parquet, JSON lines"),
        (b"\n\n", r"begins with b'\n\n'"),
        (b'{"a": 1}\n{"a": \n', "line 2: not readable as JSON"),
        (b'{"a": 1}\n[1]\n', "line 2: holds [1]; wanted is an object"),
        (b'{"a": 1}\n{"b": 1}\n', "line 2: no column 'a'; there is b"),
        (b"PAR1 and so on", "not readable as Parquet"),
        (b"\x1f\x8b and so on", "not readable as gzip"),
        (b"ARROW1 and so on", "not readable as Arrow"),
        (b"\xff\xff\xff\xff and so on", "not readable as Arrow"),
    ],
)
def test_what_cannot_be_read_is_named(tmp_path: Path, content: bytes, sentence: str) -> None:
    path = tmp_path / "dump"
    path.write_bytes(content)
    assert refused(path).startswith(str(path))
    assert sentence in refused(path)


def test_a_table_without_rows_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    parquet.write_table(pa.table({"a": pa.array([], type=pa.float64())}), path)
    assert refused(path) == f"{path}: no rows; wanted is one row a response"


def test_a_shard_without_a_column_is_named(tmp_path: Path) -> None:
    write_parquet(tmp_path / "1.parquet", [{"a": 1, "b": 2}])
    write_parquet(tmp_path / "2.parquet", [{"a": 1}])
    assert refused(tmp_path) == f"{tmp_path / '2.parquet'}: no column 'b'; there is a"


@pytest.mark.parametrize("rows", [1000, 16_000])
def test_of_a_large_file_little_is_in_memory(tmp_path: Path, rows: int) -> None:
    path = tmp_path / "a.parquet"
    values = np.random.default_rng(0).random((16_000, 400), dtype=np.float32)
    parquet.write_table(pa.table({"a": list(values)}), path, row_group_size=rows)
    assert path.stat().st_size > 20_000_000
    before = pa.total_allocated_bytes()
    most = max(pa.total_allocated_bytes() for _ in open_dump(path).rows(["a"])) - before
    assert most < 8_000_000
