"""A row's problem and gold, from how they stand in its columns."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from decimal import Decimal
from functools import lru_cache
from typing import Any

from kpo.evals.grading.extract import extract_boxed
from kpo.tasks.datasets.reading import DataError
from kpo.tasks.datasets.sources import Source

PLAIN = Source(hub="", split="")  # rows with the columns problem and answer, plain


@dataclass(frozen=True, slots=True)
class Problem:
    """One problem; `answer` is the gold in LaTeX, without its box."""

    id: str
    problem: str
    answer: str


def columns_for(row: Mapping[str, Any], source: Source) -> Source:
    """How to read a file whose first row is `row`: as its source says, else as PLAIN rows.

    The source's instruction and preamble are taken off either way.
    """
    try:
        for column in (source.problem, source.answer):
            _cell("", row, column)
    except DataError:
        phrases = {"instruction": source.instruction, "preamble": source.preamble}
        return PLAIN.model_copy(update=phrases)
    return source


def problem_and_gold(where: str, row: Mapping[str, Any], source: Source) -> tuple[str, str]:
    """The problem's text and its gold. Raises DataError, naming row, column and what is wanted."""
    problem = _last_user_turn(where, source.problem, _cell(where, row, source.problem))
    if isinstance(problem, str):
        problem = without_phrases(problem, source.preamble, source.instruction)
    if not isinstance(problem, str) or not problem.strip():
        raise DataError(f"{where}: {source.problem} must be a text, not empty, got {problem!r:.80}")
    return problem, _gold(where, source, _cell(where, row, source.answer))


def _cell(where: str, row: Mapping[str, Any], column: str) -> Any:
    """The value of a column, or of what `column` leads to inside one."""
    value: Any = row
    for part in (parts := column.split(".")):
        if isinstance(value, Mapping) and part in value:
            value = value[part]
        elif isinstance(value, list) and part.isdigit() and int(part) < len(value):
            value = value[int(part)]
            if isinstance(value, Mapping) and value.get("role", "user") != "user":
                raise DataError(
                    f"{where}: {column} leads to a turn of the {value['role']}; the column alone"
                    f" ({parts[0]}) stands for the last user turn"
                )
        else:
            raise DataError(f"{where}: no column {column!r}; there is {', '.join(map(str, row))}")
    return value


def _parsed(value: Any, start: str) -> Any:
    """What a text that begins so holds as JSON; any other value as it is."""
    if isinstance(value, str) and value.startswith(start):
        with suppress(ValueError, RecursionError):
            return json.loads(value)
    return value


def _last_user_turn(where: str, column: str, value: Any) -> Any:
    """Of a chat, what its user said last, whatever stands before or behind; else the value."""
    value = _parsed(value, "[{")
    if not isinstance(value, list) or not all(isinstance(turn, Mapping) for turn in value):
        return value
    for turn in reversed(value):
        if (turn.get("role") or turn.get("from")) in ("user", "human"):  # two customs
            said = turn.get("content") or turn.get("value")
            if isinstance(said, list):  # in parts, of which each must be a text
                with suppress(KeyError, TypeError):
                    said = "".join(part if isinstance(part, str) else part["text"] for part in said)
            return said
    raise DataError(f"{where}: {column} holds no turn of the user")


_BLANK = r"(?:\s|\\+[nrt])"  # also as it was escaped once too often
_GAP = r"(?:\s|\\+[nrt](?![a-z]))"  # the same where a problem may follow, which may be \triangle
_APOSTROPHES, _QUOTES = "'\u2019\u2018\u02bc`\u00b4", '"\u201c\u201d'
_ESCAPES = {"b": "\x08", "f": "\x0c", "n": "\n", "r": "\r", "t": "\t"}


def without_phrases(problem: str, preamble: str | None, instruction: str | None) -> str:
    """The problem without the prompt's phrases at its beginning and end, as they occur.

    Case, blanks, the kind of apostrophe or its absence, a last full stop, and backslashes that were
    doubled or, with their letter, read as an escape do not matter.
    """
    if preamble is not None:
        problem = re.sub(rf"\A{_BLANK}*{_spellings(preamble)}{_GAP}*", "", problem)
    if instruction is not None:
        start = max(0, len(problem) - 2 * len(instruction) - 100)  # it cannot be longer
        end = re.sub(rf"{_BLANK}*{_spellings(instruction)}{_BLANK}*\Z", "", problem[start:])
        problem = (problem[:start] + end).rstrip()
    return problem


@lru_cache
def _spellings(phrase: str) -> str:
    """A pattern for a phrase, however it is spelled."""
    bare = phrase.strip().rstrip(".!:")
    tokens = re.findall(r"\\[A-Za-z]|\s+|[\s\S]", bare)
    return f"(?i:{''.join(map(_spelling, tokens))})" + (rf"{_BLANK}*[.!:]?" if bare else "")


def _spelling(token: str) -> str:
    if token.isspace():
        return f"{_BLANK}+"
    if token in _APOSTROPHES:
        return f"[{_APOSTROPHES}]?"
    if token in _QUOTES:
        return rf"\\*[{_QUOTES}]"
    if token in "{}":
        return rf"\s*\\*\{token}"
    if token[0] == "\\":
        letter = token[1:]
        return rf"(?:\\+{letter}|{re.escape(_ESCAPES.get(letter, token))})"
    return re.escape(token)


def _gold(where: str, source: Source, value: Any) -> str:
    """The gold as LaTeX without its box, from how it stands in the source's column."""
    column, form = source.answer, source.answer_form
    value = _parsed(value, '["')
    if isinstance(value, list) and value:
        if form != "first" and any(other != value[0] for other in value):
            raise DataError(
                f"{where}: {column} holds {len(value)} answers, {value!r:.80}, and wanted is one;"
                " answer_form: first would take the first"
            )
        value = value[0]
    if form == "hashes" and isinstance(value, str):
        _, mark, behind = value.rpartition("####")
        if not mark:
            raise DataError(f"{where}: {column} holds no ####")
        value = behind.strip().replace(",", "")
    elif form == "boxed" and isinstance(value, str):
        value = extract_boxed(value)
        if value is None:
            raise DataError(f"{where}: {column} holds no boxed answer")
    gold = as_text(value)
    if gold is None or not gold.strip():
        raise DataError(
            f"{where}: {column} must be a text, not empty, or a number, got {value!r:.80}"
        )
    return gold


def as_text(value: Any) -> str | None:
    """A text as it is, a number as people write it, None for everything else."""
    if isinstance(value, str):
        return value
    if isinstance(value, bool) or not isinstance(value, int | float | Decimal):
        return None
    number = Decimal(str(value))
    if not number.is_finite():
        return None
    return str(int(value)) if value == int(value) else format(number, "f")
