"""Problems with a verifiable answer, from the hub or from a folder of JSONL files."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from evals.answers import extract_boxed
from kpo.files import sha256_json
from kpo.tasks.sources import SOURCES, Source


class DataError(ValueError):
    """A data set cannot be used; the message names the file or the hub id, and the row."""


@dataclass(frozen=True)
class Problem:
    """One problem; `answer` is the gold in LaTeX, without its box."""

    id: str
    problem: str
    answer: str


def content_hash(problems: list[Problem]) -> str:
    """Hash of the problems' texts and answers, the same whatever they were loaded from."""
    return sha256_json([[p.problem, p.answer] for p in problems])


def choose_folder(configured: str | None, variable: str) -> Path | None:
    """The folder of JSONL files: the environment variable's, else the config's, else none."""
    folder = os.environ.get(variable) or configured
    return Path(folder) if folder else None


def load_problems(
    name: str,
    *,
    folder: Path | None,
    sources: Mapping[str, Source] | None = None,
    limit: int | None = None,
) -> list[Problem]:
    """The data set `name`: from <folder>/<name>.jsonl if a folder is given, else from the hub.

    Raises DataError for a missing file or column, an empty set, a row that is not text, an id that
    repeats, and for content that is not what the source's hash says.
    """
    source = {**SOURCES, **(sources or {})}.get(name)
    if folder is not None:
        problems = _from_jsonl(folder / f"{name}.jsonl")
    elif source is not None:
        problems = _from_hub(name, source)
    else:
        raise DataError(f"unknown data set {name!r} and no folder to look for it")
    if not problems:
        raise DataError(f"{name}: the data set is empty")
    ids = [problem.id for problem in problems]
    if len(set(ids)) < len(ids):
        twice = next(i for i in ids if ids.count(i) > 1)
        raise DataError(f"{name}: the id {twice!r} stands more than once")
    if source is not None and source.sha256 and source.sha256 != content_hash(problems):
        raise DataError(f"{name}: content hash {content_hash(problems)}, expected {source.sha256}")
    return problems[:limit]


def _from_jsonl(path: Path) -> list[Problem]:
    if not path.is_file():
        raise DataError(f"{path}: no such file")
    problems = []
    with path.open(encoding="utf-8") as file:
        for number, line in enumerate(file, start=1):
            try:
                row = json.loads(line)
            except json.JSONDecodeError as error:
                raise DataError(f"{path}, line {number}: not a JSON object: {error}") from error
            problems.append(_problem(f"{path}, line {number}", row, row_id=f"{number}"))
    return problems


def _from_hub(name: str, source: Source) -> list[Problem]:
    import datasets  # noqa: PLC0415 - slow to import, and not needed for a folder

    try:
        rows = datasets.load_dataset(
            source.hub, source.subset, split=source.split, revision=source.revision
        )
    except Exception as error:
        raise DataError(
            f"{name}: cannot load {source.hub} (split {source.split}, revision {source.revision})"
            f" from the hub: {error}; a folder of JSONL files can be named instead"
        ) from error
    return [
        _problem(f"{source.hub}, row {i}", dict(row), row_id=f"{name}/{i}", source=source)
        for i, row in enumerate(rows)
    ]


def _problem(where: str, row: Any, *, row_id: str, source: Source | None = None) -> Problem:
    """Read one row; a folder's rows have the columns id, problem and answer."""
    if not isinstance(row, dict):
        raise DataError(f"{where}: must be an object with problem and answer, got {row!r:.80}")
    columns = (source.problem, source.answer) if source else ("problem", "answer")
    values = []
    for column in columns:
        if column not in row:
            raise DataError(f"{where}: no column {column!r}; there is {', '.join(map(str, row))}")
        values.append(row[column])
    problem, answer = values
    if source is not None:
        answer = _gold(where, answer, source)
    for column, value in zip(columns, (problem, answer), strict=True):
        if not isinstance(value, str) or not value.strip():
            raise DataError(
                f"{where}: {column} must be a text that is not empty, got {value!r:.80}"
            )
    return Problem(
        id=str(row.get("id", row_id)) if source is None else row_id, problem=problem, answer=answer
    )


def _gold(where: str, value: Any, source: Source) -> Any:
    """The gold as LaTeX without its box, from how it stands in the source's column."""
    if source.answer_form == "first" and isinstance(value, list):
        value = value[0] if value else None
    elif source.answer_form == "hashes" and isinstance(value, str):
        value = value.rpartition("####")[2].strip().replace(",", "")
    elif source.answer_form == "boxed" and isinstance(value, str):
        value = extract_boxed(value)
        if value is None:
            raise DataError(f"{where}: {source.answer} holds no boxed answer")
    return str(value) if isinstance(value, int) else value
