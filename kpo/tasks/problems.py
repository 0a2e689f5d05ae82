"""Problems with a verifiable answer, from the hub or from a folder of JSONL files."""

from __future__ import annotations

import json
import os
from collections import Counter
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


def locate(
    name: str, *, folder: Path | None, sources: Mapping[str, Source] | None = None
) -> Path | Source:
    """Where the data set `name` is: <folder>/<name>.jsonl, or without a folder a place on the hub.

    `folder` may also be the .jsonl file itself. Raises DataError for a file that is not there, and
    for a name that is not known where there is no folder.
    """
    if folder is not None:
        path = folder if folder.suffix == ".jsonl" else folder / f"{name}.jsonl"
        if not path.is_file():
            raise DataError(f"{path}: no such file")
        return path
    known = {**SOURCES, **(sources or {})}
    if name not in known:
        raise DataError(
            f"unknown data set {name!r}; known: {', '.join(known)}; for any other a folder of JSONL"
            " files must be named"
        )
    return known[name]


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
    place = locate(name, folder=folder, sources=sources)
    problems = _from_jsonl(place) if isinstance(place, Path) else _from_hub(name, place)
    where = place if isinstance(place, Path) else f"{name} ({place.hub})"
    if not problems:
        raise DataError(f"{where}: the data set is empty")
    ids = Counter(problem.id for problem in problems)
    if repeated := [i for i, count in ids.items() if count > 1]:
        raise DataError(f"{where}: the id {repeated[0]!r} stands more than once")
    source = {**SOURCES, **(sources or {})}.get(name)
    if source is not None and source.sha256 not in (None, content_hash(problems)):
        raise DataError(
            f"{where}: the content's hash is {content_hash(problems)}, expected {source.sha256}"
        )
    return problems[:limit]


def _from_jsonl(path: Path) -> list[Problem]:
    problems = []
    with path.open("rb") as file:
        for number, line in enumerate(file, start=1):
            where = f"{path}, line {number}"
            try:
                row = json.loads(line.decode("utf-8"))
            except (ValueError, RecursionError) as error:
                raise DataError(f"{where}: not a whole JSON object: {error}") from error
            if not isinstance(row, dict):
                raise DataError(f"{where}: must be an object with problem and answer, got {row!r}")
            problems.append(_problem(where, row, str(row.get("id", number)), _FOLDER))
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
        _problem(f"{source.hub}, row {i}", dict(row), f"{name}/{i}", source)
        for i, row in enumerate(rows)
    ]


_FOLDER = Source(hub="", split="")  # a folder's rows have the columns problem and answer, plain


def _problem(where: str, row: dict[str, Any], row_id: str, source: Source) -> Problem:
    """Read one row as the source says."""
    for column in (source.problem, source.answer):
        if column not in row:
            raise DataError(f"{where}: no column {column!r}; there is {', '.join(map(str, row))}")
    problem, answer = row[source.problem], _gold(where, row[source.answer], source)
    for column, value in ((source.problem, problem), (source.answer, answer)):
        if not isinstance(value, str) or not value.strip():
            raise DataError(f"{where}: {column} must be a text, not empty, got {value!r:.80}")
    return Problem(row_id, problem, answer)


def _gold(where: str, value: Any, source: Source) -> Any:
    """The gold as LaTeX without its box, from how it stands in the source's column."""
    match source.answer_form:
        case "first":
            value = value[0] if isinstance(value, list) and value else value
        case "hashes" if isinstance(value, str):
            _, mark, gold = value.rpartition("####")
            if not mark:
                raise DataError(f"{where}: {source.answer} holds no ####")
            value = gold.strip().replace(",", "")
        case "boxed" if isinstance(value, str):
            value = extract_boxed(value)
            if value is None:
                raise DataError(f"{where}: {source.answer} holds no boxed answer")
    whole = isinstance(value, int) or (isinstance(value, float) and value.is_integer())
    return str(int(value)) if whole and not isinstance(value, bool) else value
