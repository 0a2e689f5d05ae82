"""The rows of samples.jsonl and grades.jsonl: one schema, read with checks, written whole.

A field's annotation says what its JSON value may be; a field with a default may be left out of a
line and is, if it holds the default. What else a line holds is dropped. (Not pydantic: it refuses
the lone surrogates that a model may well write.)
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import MISSING, dataclass, fields
from pathlib import Path
from typing import Any, Literal, TypeVar, get_args, get_origin, get_type_hints

from kpo.common.cli import UserError
from kpo.common.files import write_text
from kpo.evals.grading.rules import DEFAULT
from kpo.evals.grading.statuses import Status

Finish = Literal["stop", "length"]
ProblemKey = tuple[str, str]
"""Benchmark and id of a problem."""
Key = tuple[str, str, int]
"""Benchmark, id of the problem and number of the sample: one response of an evaluation."""


class BadRowError(UserError):
    """A line of a file that cannot be used; the message names file and line."""


@dataclass(frozen=True)
class Row:
    """What rows of samples and of grades have in common: the response that they are about."""

    benchmark: str
    id: str
    sample: int

    @property
    def key(self) -> Key:
        """What names this response among all of an evaluation."""
        return (self.benchmark, self.id, self.sample)

    @property
    def problem(self) -> ProblemKey:
        """What names its problem."""
        return (self.benchmark, self.id)

    def line(self) -> str:
        """The row as a line of JSON, characters beyond ASCII escaped."""
        values = ((field, getattr(self, field.name)) for field in fields(self))
        return json.dumps({f.name: value for f, value in values if value != f.default}) + "\n"


@dataclass(frozen=True)
class Sample(Row):
    r"""One stored response; `answer` is the gold (LaTeX, no box), `tokens` the response's length.

    {"benchmark": "math500", "id": "test/algebra/2584.json", "sample": 0, "answer": "-50",
     "response": "We have ... \\boxed{-50}", "tokens": 212, "finish": "stop"}
    """

    answer: str
    response: str
    tokens: int
    finish: Finish


@dataclass(frozen=True)
class GradeRow(Row):
    r"""One graded response; `extracted` is the text of its answer, null without one.

    differs: the rules beside `rule` that say the opposite of `correct`.

    {"benchmark": "math500", "id": "test/algebra/2584.json", "sample": 0, "correct": true,
     "status": "ok", "extracted": "-50", "tokens": 212, "finish": "stop"}
    {"benchmark": "math500", "id": "test/geometry/434.json", "sample": 3, "correct": true,
     "status": "ok", "extracted": "\\bigl(3,4\\bigr)", "tokens": 98, "finish": "stop",
     "differs": ["math_verify"]}
    {"benchmark": "math500", "id": "test/algebra/24.json", "sample": 1, "correct": false,
     "status": "no_answer", "extracted": null, "tokens": 4096, "finish": "length"}
    """

    correct: bool
    status: Status
    extracted: str | None
    tokens: int
    finish: Finish
    rule: str = DEFAULT
    differs: tuple[str, ...] = ()


AnyRow = TypeVar("AnyRow", bound=Row)


def read_samples(path: Path) -> list[Sample]:
    """Read samples.jsonl. Raises BadRowError in a sentence that names the file and line."""
    return _read(path, Sample)


def read_grades(path: Path) -> list[GradeRow]:
    """Read grades.jsonl. Raises BadRowError in a sentence that names the file and line."""
    return _read(path, GradeRow)


def write_rows(path: Path, rows: Iterable[Row]) -> None:
    """Write rows as a whole: a reader sees the old file or the new one."""
    write_text(path, "".join(row.line() for row in rows))


def _read(path: Path, kind: type[AnyRow]) -> list[AnyRow]:
    try:
        lines = path.read_bytes().split(b"\n")
    except OSError as error:
        raise BadRowError(f"{path} cannot be read: {error.strerror}.") from error
    hints = get_type_hints(kind)
    found: dict[Key, tuple[int, AnyRow]] = {}
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        where = f"{path}, line {number}"
        row = kind(**_checked(line, kind, hints, where))
        if row.key in found:
            raise BadRowError(
                f"{where}: sample {row.sample} of {row.benchmark} {row.id} is already on line"
                f" {found[row.key][0]}."
            )
        found[row.key] = number, row
    return [row for _, row in found.values()]


def _checked(line: bytes, kind: type[Row], hints: dict[str, Any], where: str) -> dict[str, Any]:
    """The fields of one line, each of its type."""
    try:
        values = json.loads(line.decode("utf-8"))
    except (ValueError, RecursionError) as error:
        raise BadRowError(f"{where} is not a whole JSON object ({error}).") from error
    if not isinstance(values, dict):
        raise BadRowError(f"{where} is not a JSON object.")
    missing = [f.name for f in fields(kind) if f.default is MISSING and f.name not in values]
    if missing:
        raise BadRowError(f"{where} has no {', '.join(map(repr, missing))}.")
    row = {name: values[name] for name in hints if name in values}
    for name, value in row.items():
        if not _fits(value, hints[name]):
            shown = json.dumps(value)
            shown = shown if len(shown) <= 60 else shown[:57] + "..."
            allowed = get_args(hints[name]) if get_origin(hints[name]) is Literal else ()
            wrong = f"not {' or '.join(map(repr, allowed))}" if allowed else "of the wrong type"
            raise BadRowError(f"{where}: {name!r} is {shown}, {wrong}.")
        row[name] = tuple(value) if isinstance(value, list) else value
    return row


def _fits(value: Any, hint: Any) -> bool:
    """Whether a JSON value is what an annotation asks for; a boolean is no number."""
    inside = get_args(hint) or (hint,)  # types, or the values of a literal
    if get_origin(hint) is tuple:
        return isinstance(value, list) and all(type(one) in inside for one in value)
    return type(value) in inside or value in inside
