"""Rows of a dump, one after the other: Parquet, JSON lines, or what Hugging Face's datasets saves.

Files are known by their content. Lists come as numpy arrays or Python lists, and only a few rows
are in memory at a time, however large a file is.
"""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import islice
from pathlib import Path
from typing import Any

import pyarrow as pa
from pyarrow import ipc, parquet

from kpo.common.cli import UserError

BATCH_ROWS = 128
BUFFER_BYTES = 1 << 20
ENDINGS = (".parquet", ".jsonl", ".ndjson", ".jsonl.gz", ".arrow")

Row = tuple[str, dict[str, Any]]
"""Its place (file and row from 0, or line from 1) and its cells."""
Reader = Callable[[Path, Sequence[str] | None], Iterator[Row]]
"""Rows of a file with some columns of each, or with all."""


class RolloutError(UserError):
    """A dump cannot be read; the message names the file, the row and the column."""


@dataclass(frozen=True)
class Dump:
    """Files of rollouts, read in order."""

    place: Path
    files: Sequence[Path]

    @cached_property
    def columns(self) -> list[str]:
        """Names of the columns, as the first row has them. Raises RolloutError if there is none."""
        for _, cells in islice(self.rows(None), 1):
            return list(cells)
        raise RolloutError(f"{self.place}: no rows; wanted is one row a response")

    def rows(self, columns: Sequence[str] | None) -> Iterator[Row]:
        """All rows, with these columns. Raises RolloutError for what is damaged or lacks one."""
        for path in self.files:
            yield from _reader(path)(path, columns)


def open_dump(place: Path) -> Dump:
    """The files of a dump: a file, a folder of shards, or a data set saved by `save_to_disk`.

    Raises RolloutError where there are none, or of several kinds.
    """
    if place.is_file():
        files = [place]
    elif (place / "dataset_dict.json").is_file():
        splits = json.loads((place / "dataset_dict.json").read_text())["splits"]
        if len(splits) > 1:
            raise RolloutError(f"{place}: several splits; wanted is one: {place}/{splits[0]}")
        return open_dump(place / splits[0])
    elif (place / "state.json").is_file():
        state = json.loads((place / "state.json").read_text())
        files = [place / file["filename"] for file in state["_data_files"]]
    elif place.is_dir():
        files = _shards(place)
    else:
        raise RolloutError(f"{place}: no such file or folder")
    for path in files:
        _reader(path)
    return Dump(place, files)


def _shards(folder: Path) -> list[Path]:
    found = {ending: sorted(folder.glob(f"*{ending}")) for ending in ENDINGS}
    kinds = {ending: files for ending, files in found.items() if files}
    if not kinds:
        raise RolloutError(f"{folder}: no files {', '.join(ENDINGS)} in this folder")
    if len(kinds) > 1:
        raise RolloutError(
            f"{folder}: files of several kinds ({', '.join(kinds)}); wanted is one dump, in files"
            " of one kind"
        )
    return next(iter(kinds.values()))


def _reader(path: Path) -> Reader:
    with path.open("rb") as file:
        start = file.read(4096)
    if not start:
        raise RolloutError(f"{path}: an empty file; wanted is one row a response")
    kinds: dict[bytes, Reader] = {
        b"PAR1": _parquet,
        b"ARROW1": _arrow_file,
        b"\xff\xff\xff\xff": _arrow_stream,
        b"\x1f\x8b": _packed_lines,
        b"{": _lines,
    }
    for sign, reader in kinds.items():
        if start.removeprefix(b"\xef\xbb\xbf").lstrip().startswith(sign):
            return reader
    raise RolloutError(
        f"{path}: begins with {start[:12]!r}; wanted is Parquet, JSON lines in UTF-8 (also gzipped)"
        " or a data set that datasets' save_to_disk made"
    )


def _parquet(path: Path, columns: Sequence[str] | None) -> Iterator[Row]:
    try:
        # pre_buffer, pyarrow's default, would hold all of the file until it is read
        with parquet.ParquetFile(path, buffer_size=BUFFER_BYTES, pre_buffer=False) as file:
            there = file.schema_arrow.names
            batches = file.iter_batches(BATCH_ROWS, columns=_chosen(path, there, columns))
            yield from _rows(path, batches)
    except (pa.ArrowException, OSError) as error:
        raise _unreadable(path, "Parquet", error) from error


def _arrow_stream(path: Path, columns: Sequence[str] | None) -> Iterator[Row]:
    yield from _arrow(path, columns, ipc.open_stream)


def _arrow_file(path: Path, columns: Sequence[str] | None) -> Iterator[Row]:
    def batches(file: Any) -> Any:
        return ipc.open_file(file)

    yield from _arrow(path, columns, batches)


def _arrow(
    path: Path, columns: Sequence[str] | None, opened: Callable[[Any], Any]
) -> Iterator[Row]:
    try:
        with pa.memory_map(str(path)) as file, opened(file) as reader:
            chosen = _chosen(path, reader.schema.names, columns)
            count = getattr(reader, "num_record_batches", None)
            batches = reader if count is None else map(reader.get_batch, range(count))
            short = (
                part.slice(start, BATCH_ROWS)
                for part in (batch.select(chosen) for batch in batches)
                for start in range(0, part.num_rows, BATCH_ROWS)
            )
            yield from _rows(path, short)
    except (pa.ArrowException, OSError) as error:
        raise _unreadable(path, "Arrow", error) from error


def _lines(path: Path, columns: Sequence[str] | None) -> Iterator[Row]:
    with path.open("rb") as file:
        yield from _json(path, file, columns)


def _packed_lines(path: Path, columns: Sequence[str] | None) -> Iterator[Row]:
    try:
        with gzip.open(path) as file:
            yield from _json(path, file, columns)
    except (EOFError, OSError) as error:
        raise _unreadable(path, "gzip", error) from error


def _json(path: Path, lines: Iterable[bytes], columns: Sequence[str] | None) -> Iterator[Row]:
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        where = f"{path}, line {number}"
        try:
            cells = json.loads(line.decode("utf-8-sig"))
        except (ValueError, RecursionError) as error:
            raise RolloutError(f"{where}: not readable as JSON: {error}") from error
        if not isinstance(cells, dict):
            raise RolloutError(f"{where}: holds {cells!r:.40}; wanted is an object, one a line")
        chosen = _chosen(Path(where), list(cells), columns)
        yield where, {name: cells[name] for name in chosen}


def _chosen(where: Path, there: Sequence[str], columns: Sequence[str] | None) -> list[str]:
    """The columns to read. Raises RolloutError for one that is not there."""
    for name in columns or ():
        if name not in there:
            raise RolloutError(f"{where}: no column {name!r}; there is {', '.join(there)}")
    return list(there if columns is None else columns)


def _rows(path: Path, batches: Iterable[Any]) -> Iterator[Row]:
    number = 0
    for batch in batches:
        cells = [_cells(batch.column(i)) for i in range(batch.num_columns)]
        for row in range(batch.num_rows):
            values = {name: cells[i][row] for i, name in enumerate(batch.schema.names)}
            yield f"{path}, row {number}", values
            number += 1


def _cells(column: Any) -> Sequence[Any]:
    """The cells of a column; lists of numbers as views of its memory, None where one is null."""
    kind = column.type
    if pa.types.is_fixed_size_list(kind):
        column = column.cast(pa.large_list(kind.value_type))
        kind = column.type
    lists = pa.types.is_list(kind) or pa.types.is_large_list(kind)
    if not lists or not (
        pa.types.is_floating(kind.value_type)
        or pa.types.is_integer(kind.value_type)
        or pa.types.is_boolean(kind.value_type)
    ):
        return list(column.to_pylist())
    values = column.values.to_numpy(zero_copy_only=False)
    bounds = column.offsets.to_numpy().tolist()
    null = column.is_null().to_pylist()
    return [None if null[i] else values[bounds[i] : bounds[i + 1]] for i in range(len(column))]


def _unreadable(path: Path, kind: str, error: Exception) -> RolloutError:
    return RolloutError(f"{path}: not readable as {kind}: {' '.join(str(error).split())}")
