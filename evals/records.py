"""The JSONL files between sampling, grading and tables: read with checks, written whole."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from evals.grading.rules import DEFAULT
from kpo.common.files import write_text


class BadRowError(ValueError):
    """A line of a file that cannot be used; the message names file and line."""


@dataclass(frozen=True)
class Sample:
    """One stored response. `answer` is the gold (LaTeX, no box), `tokens` the response length."""

    benchmark: str
    id: str
    sample: int
    answer: str
    response: str
    tokens: int
    finish: str

    @property
    def key(self) -> tuple[str, str, int]:
        """What names this response among all of an evaluation."""
        return (self.benchmark, self.id, self.sample)


@dataclass(frozen=True)
class GradeRow:
    """One graded response, as `grades.jsonl` holds it.

    differs: the rules beside `rule` that say the opposite of `correct`. A line names neither the
    default rule nor no difference.
    """

    benchmark: str
    id: str
    sample: int
    correct: bool
    status: str
    extracted: str | None
    tokens: int
    finish: str
    rule: str = DEFAULT
    differs: tuple[str, ...] = ()

    @property
    def key(self) -> tuple[str, str, int]:
        """What names this response among all of an evaluation."""
        return (self.benchmark, self.id, self.sample)

    def line(self) -> str:
        """The row as JSON."""
        row = asdict(self)
        if self.rule == DEFAULT:
            del row["rule"]
        if not self.differs:
            del row["differs"]
        return json.dumps(row)


_SAMPLE_TYPES = {
    "benchmark": str,
    "id": str,
    "sample": int,
    "answer": str,
    "response": str,
    "tokens": int,
    "finish": str,
}
_GRADE_TYPES = {
    "benchmark": str,
    "id": str,
    "sample": int,
    "correct": bool,
    "status": str,
    "extracted": (str, type(None)),
    "tokens": int,
    "finish": str,
}
_CHOICES = {
    "finish": ("stop", "length"),
    "status": ("ok", "no_answer", "timeout", "error"),
}


def read_samples(path: Path) -> list[Sample]:
    """Read samples.jsonl. Raises BadRowError in a sentence that names the file and line."""
    return [Sample(**row) for row in _rows(path, _SAMPLE_TYPES)]


def read_grades(path: Path) -> list[GradeRow]:
    """Read grades.jsonl. Raises BadRowError in a sentence that names the file and line."""
    rows = [GradeRow(**row) for row in _rows(path, _GRADE_TYPES, {"rule": str, "differs": list})]
    return [replace(row, differs=tuple(row.differs)) for row in rows]


def write_grades(path: Path, rows: Iterable[GradeRow]) -> None:
    """Write grades.jsonl as a whole: a reader sees the old file or the new one."""
    write_text(path, "".join(row.line() + "\n" for row in rows))


def _rows(
    path: Path, types: dict[str, Any], optional: dict[str, Any] | None = None
) -> Iterator[dict[str, Any]]:
    try:
        lines = path.read_bytes().split(b"\n")
    except OSError as error:
        raise BadRowError(f"{path} cannot be read: {error.strerror}.") from error
    seen: dict[tuple[Any, ...], int] = {}
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        where = f"{path}, line {number}"
        row = _checked(line, types, where, optional or {})
        key = (row["benchmark"], row["id"], row["sample"])
        if key in seen:
            raise BadRowError(
                f"{where}: sample {key[2]} of {key[0]} {key[1]} is already on line {seen[key]}."
            )
        seen[key] = number
        yield row


def _checked(
    line: bytes, types: dict[str, Any], where: str, optional: dict[str, Any]
) -> dict[str, Any]:
    """The named values of one line, each of its type; other values of the line are dropped."""
    try:
        row = json.loads(line.decode("utf-8"))
    except (ValueError, RecursionError) as error:
        raise BadRowError(f"{where} is not a whole JSON object ({error}).") from error
    if not isinstance(row, dict):
        raise BadRowError(f"{where} is not a JSON object.")
    missing = [name for name in types if name not in row]
    if missing:
        raise BadRowError(f"{where} has no {', '.join(map(repr, missing))}.")
    types = types | {name: kind for name, kind in optional.items() if name in row}
    for name, kind in types.items():
        value = row[name]
        if not isinstance(value, kind) or (isinstance(value, bool) and kind is int):
            raise BadRowError(f"{where}: {name!r} is {_short(value)}, which is of the wrong type.")
        if name in _CHOICES and value not in _CHOICES[name]:
            wanted = " or ".join(map(repr, _CHOICES[name]))
            raise BadRowError(f"{where}: {name!r} is {_short(value)}, not {wanted}.")
    return {name: row[name] for name in types}


def _short(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= 60 else text[:57] + "..."
