"""Problems with a verifiable answer, from the hub or from a folder of JSONL files."""

from __future__ import annotations

import json
import os
import re
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


@dataclass(frozen=True)
class ProblemSet:
    """A data set as it was loaded.

    `origin` is where from: {"file"} for a file, {"hub", "subset", "split", "revision"} for the hub.
    `revision` is then the commit that was resolved (None for a folder in the place of a hub id).
    """

    problems: list[Problem]
    origin: dict[str, str | None]


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
    """The problems of `load_problem_set`."""
    return load_problem_set(name, folder=folder, sources=sources, limit=limit).problems


def load_problem_set(
    name: str,
    *,
    folder: Path | None,
    sources: Mapping[str, Source] | None = None,
    limit: int | None = None,
) -> ProblemSet:
    """The data set `name`: from <folder>/<name>.jsonl if a folder is given, else from the hub.

    Rows from the hub must have the content hash of their source, if it has one. A file must have
    that of an entry of `sources`; what is known of the hub does not bind it.
    Raises DataError for other content, a missing file, revision, split or column, an empty set, a
    row that is not text, and an id that repeats.
    """
    place = locate(name, folder=folder, sources=sources)
    where = place if isinstance(place, Path) else f"{name} ({place.hub})"
    if isinstance(place, Path):
        loaded = ProblemSet(_from_jsonl(place), {"file": place.name})
        source = (sources or {}).get(name)
    else:
        loaded, source = _from_hub(name, place), place
    problems = loaded.problems
    if not problems:
        raise DataError(f"{where}: the data set is empty")
    ids = Counter(problem.id for problem in problems)
    if repeated := [i for i, count in ids.items() if count > 1]:
        raise DataError(f"{where}: the id {repeated[0]!r} stands more than once")
    if source is not None and source.sha256 not in (None, content_hash(problems)):
        raise DataError(
            f"{where}: the content's hash is {content_hash(problems)}, expected {source.sha256};"
            f" data.sources.{name}.sha256 of the experiment can name another, or null for any"
        )
    return ProblemSet(problems[:limit], loaded.origin)


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


def _from_hub(name: str, source: Source) -> ProblemSet:
    import datasets  # noqa: PLC0415 - slow to import, and not needed for a folder

    try:
        builder = datasets.load_dataset_builder(source.hub, source.subset, revision=source.revision)
        builder.download_and_prepare()
        rows = builder.as_dataset(split=source.split)
    except Exception as error:
        raise DataError(
            f"{name}: cannot load {source.hub} (split {source.split}, revision {source.revision})"
            f" from the hub: {' '.join(str(error).split())}; a folder of JSONL files can be named"
            " instead"
        ) from error
    problems = [
        _problem(f"{source.hub}, row {i}", dict(row), f"{name}/{i}", source)
        for i, row in enumerate(rows)
    ]
    commit = builder.hash if re.fullmatch("[0-9a-f]{40}", str(builder.hash)) else None
    origin = {"hub": source.hub, "subset": source.subset, "split": source.split}
    return ProblemSet(problems, {**origin, "revision": commit})


_FOLDER = Source(hub="", split="")  # a folder's rows have the columns problem and answer, plain


def _problem(where: str, row: dict[str, Any], row_id: str, source: Source) -> Problem:
    """Read one row as the source says."""
    problem, answer = (_cell(where, row, column) for column in (source.problem, source.answer))
    if source.instruction is not None and isinstance(problem, str):
        problem = problem.rstrip().removesuffix(source.instruction).rstrip()
    answer = _gold(where, answer, source)
    for column, value in ((source.problem, problem), (source.answer, answer)):
        if not isinstance(value, str) or not value.strip():
            raise DataError(f"{where}: {column} must be a text, not empty, got {value!r:.80}")
    return Problem(row_id, problem, answer)


def _cell(where: str, row: dict[str, Any], column: str) -> Any:
    """The value of a column, or of what `column` leads to inside one."""
    value: Any = row
    for part in column.split("."):
        if isinstance(value, dict) and part in value:
            value = value[part]
        elif isinstance(value, list) and part.isdigit() and int(part) < len(value):
            value = value[int(part)]
        else:
            raise DataError(f"{where}: no column {column!r}; there is {', '.join(map(str, row))}")
    return value


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
