"""Rows of data files: JSONL, JSON, CSV or Parquet, known by their content and not by their name."""

from __future__ import annotations

import csv
import json
import re
from collections import defaultdict
from collections.abc import Iterator
from contextlib import suppress
from itertools import chain
from pathlib import Path
from typing import Any

from kpo.common.cli import UserError

ENDINGS = (".jsonl", ".ndjson", ".json", ".csv", ".tsv", ".parquet")
_SHARD = re.compile(r"-\d{4,}-of-(\d{4,})$")
csv.field_size_limit(2**30)


class DataError(UserError):
    """A data set cannot be used; the message names the file or the hub id, and the row."""


Row = tuple[int, str, dict[str, Any]]
"""Number (of the line in JSONL and CSV, from 1, else of the row, from 0), place, and cells."""


def find_files(place: Path, name: str) -> list[Path]:
    """The files that hold the data set `name`, in order.

    That is `place` itself if it is a file; in a folder, `<name>` with one of ENDINGS, shards of it
    (`<name>-00000-of-00002.parquet`), or the one data set in the folder `<name>`.
    Raises DataError where there is none, more than one, or a shard is missing.
    """
    if place.is_file():
        return [place]
    if not place.is_dir():
        raise DataError(f"{place}: no such file or folder")
    sets: dict[tuple[Any, ...], list[Path]] = defaultdict(list)
    for path in sorted([*place.iterdir(), *(place / name).rglob("*")]):
        stem, *shard = _SHARD.split(path.stem)
        hidden = any(part.startswith(".") for part in path.relative_to(place).parts)
        named = path.suffix.lower() in ENDINGS and (path.parent != place or stem == name)
        if named and not hidden and path.is_file():
            sets[path.parent, stem, path.suffix, *shard].append(path)
    if not sets:
        raise DataError(
            f"{place}: no data set {name}: wanted is a file {name}{', '.join(ENDINGS[:-1])} or"
            f" {ENDINGS[-1]}, or a folder {name} with such files"
        )
    if len(sets) > 1:
        found = ", ".join(str(paths[0].relative_to(place)) for paths in sets.values())
        raise DataError(
            f"{place}: more than one data set could be {name} ({found}); the file itself can be"
            " named"
        )
    (((_, _, _, *shard), paths),) = sets.items()
    if shard and (total := int(shard[0])) != len(paths):
        raise DataError(f"{paths[0]}: one of {total} shards, of which {len(paths)} are here")
    return paths


def read_rows(path: Path) -> Iterator[Row]:
    """The rows of a file, one after the other; a JSON array alone is read as a whole.

    Raises DataError, naming the file and the row, for what is none of the four kinds or damaged.
    """
    with path.open("rb") as file:
        start = file.read(4096)
    text = start.removeprefix(b"\xef\xbb\xbf").lstrip()
    if start.startswith(b"PAR1"):
        return _parquet(path)
    if text.startswith((b"[", b"{")):
        return _json(path) if text.startswith(b"[") or _is_document(path) else _jsonl(path)
    if path.suffix.lower() in (".csv", ".tsv") or not text:  # without a text there are no rows
        return _csv(path)
    raise DataError(
        f"{path}: begins with {text[:20]!r}; wanted is JSONL, JSON or CSV in UTF-8, or Parquet, not"
        " compressed (a CSV's name ends in .csv)"
    )


def _parquet(path: Path) -> Iterator[Row]:
    from pyarrow import ArrowException, parquet  # noqa: PLC0415 - slow to import

    try:
        with parquet.ParquetFile(path) as file:
            batches = file.iter_batches(batch_size=1024)
            rows = chain.from_iterable(batch.to_pylist() for batch in batches)
            for number, cells in enumerate(rows):
                yield (number, f"{path}, row {number}", cells)
    except (ArrowException, OSError) as error:
        message = " ".join(str(error).split())
        raise DataError(f"{path}: not readable as Parquet: {message}") from error


def _is_document(path: Path) -> bool:
    """Whether a file that begins with { is one JSON value: its only line, or over several."""
    with path.open("rb") as file:
        try:
            json.loads(next(line for line in file if line.strip()).decode("utf-8-sig"))
        except (ValueError, RecursionError):  # a broken line, unless the whole is a value
            with suppress(DataError):
                return bool(_loaded(str(path), path.read_bytes()))
            return False
        return not file.read(1)


def _jsonl(path: Path) -> Iterator[Row]:
    with path.open("rb") as file:
        for number, line in enumerate(file, start=1):
            if line.strip():
                where = f"{path}, line {number}"
                yield (number, where, _object(where, _loaded(where, line)))


def _json(path: Path) -> Iterator[Row]:
    """An array of objects, alone or as the only array inside an object, or one object."""
    content = _loaded(str(path), path.read_bytes())
    if isinstance(content, dict):
        arrays = [  # of rows; a column may hold one too, such as a chat's turns
            value
            for value in content.values()
            if isinstance(value, list)
            and all(isinstance(row, dict) and not row.keys() & {"role", "from"} for row in value)
        ]
        if len(arrays) != 1:
            yield (1, f"{path}, line 1", content)
            return
        content = arrays[0]
    for number, cells in enumerate(content):
        where = f"{path}, row {number}"
        yield (number, where, _object(where, cells))


def _loaded(where: str, text: bytes) -> Any:
    try:
        return json.loads(text.decode("utf-8-sig"))
    except (ValueError, RecursionError) as error:
        raise DataError(f"{where}: not readable as JSON: {error}") from error


def _object(where: str, cells: Any) -> dict[str, Any]:
    if not isinstance(cells, dict):
        raise DataError(f"{where}: must be an object with problem and answer, got {cells!r:.80}")
    return cells


def _csv(path: Path) -> Iterator[Row]:
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            head = file.readline()
            file.seek(0)
            delimiter = max(",;\t", key=head.count)
            reader = csv.DictReader(file, delimiter=delimiter, strict=True)
            for cells in reader:
                where = f"{path}, line {reader.line_num}"
                if None in cells or None in cells.values():
                    raise DataError(f"{where}: other cells than the columns {head.strip()!r}")
                yield (reader.line_num, where, dict(cells))
    except (csv.Error, UnicodeDecodeError) as error:
        raise DataError(f"{path}: not readable as CSV: {error}") from error
