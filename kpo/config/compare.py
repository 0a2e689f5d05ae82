"""Which rows a table compares: declared in the experiment file, before any result is known.

    compare:
      - { rows: all, against: [first, best, control, base] }   # where the file says nothing
      - { rows: [kpo, ema], against: gspo }                     # rows by name, or by a grid's name

`rows` are names, `all`, or a role. `against` are names or

- `first`: the first baseline of the file;
- `best`: the baseline that turns out best overall. As that is known only afterwards, it declares
  every baseline: whichever is looked at then has been paid for in the correction;
- `control`: the row's own (`control:` at the method); for a proposed row that names none, every row
  of that role;
- `base`: the base policy.

A grid's name stands for all its rows. Behind `against` or `control`, of these, for the ones at the
row's own place in all axes that both grids have.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import product
from typing import Annotated, get_args

from pydantic import Field

from kpo.config.method import Method
from kpo.config.values import Names, Section
from kpo.objective import Role

Pair = tuple[str, str]
"""Names of a row and of its reference."""
Methods = Mapping[str, Method]
ROLES: tuple[str, ...] = get_args(Role)
ROWS = ("all", *ROLES)
REFERENCES = ("first", "best", "control", "base")


class Compare(Section):
    """Rows, and what each of them is set against."""

    rows: Annotated[Names, Field(description=f"{', '.join(ROWS)}, or names")]
    against: Annotated[Names, Field(description=f"{', '.join(REFERENCES)}, or names")]


DEFAULT = [Compare(rows=["all"], against=["first", "best", "control", "base"])]


def declared(methods: Methods, compare: Sequence[Compare]) -> dict[Pair, tuple[str, ...]]:
    """Every pair once, and the words or names of `against` by which it was declared."""
    found: dict[Pair, tuple[str, ...]] = {}
    for entry in compare:
        rows = dict.fromkeys(row for word in entry.rows for row in _rows(word, methods))
        for word, row in product(entry.against, rows):
            for reference in _references(word, row, methods):
                before = found.get((row, reference), ())
                if row != reference and word not in before:
                    found[row, reference] = (*before, word)
    return found


def faults(methods: Methods, compare: Sequence[Compare]) -> Iterator[str]:
    """Sentences about names that there are not, and entries that compare nothing."""
    names = list(dict.fromkeys(method.family or name for name, method in methods.items()))
    for name, method in methods.items():
        key = f"methods.{method.family or name}.control"
        for control in method.control:
            if control not in {*methods, *names}:
                yield _unknown(key, control, names)
            elif not _named(control, name, methods):
                place = ", ".join(f"{axis} {value}" for axis, value in method.at.items())
                yield f"{key} holds {control!r}, a grid without a row at {place}"
    for n, entry in enumerate(compare):
        for key, words in (("rows", ROWS), ("against", REFERENCES)):
            for word in getattr(entry, key):
                if word in words and word in {*methods, *names}:
                    yield f"compare[{n}].{key} holds {word!r}, which is also a row; rename the row"
                elif word not in {*words, *methods, *names}:
                    yield _unknown(f"compare[{n}].{key}", word, [*words, *names])
        for word in entry.against:
            if not declared(methods, [Compare(rows=entry.rows, against=[word])]):
                yield f"compare[{n}] sets {', '.join(entry.rows)} against {word}: there is no pair"


def _unknown(key: str, word: str, known: Sequence[str]) -> str:
    return f"{key} holds {word!r}, but there are only {', '.join(known)}"


def _rows(word: str, methods: Methods) -> list[str]:
    """The rows that a word of `rows` stands for."""
    if word == "all":
        return list(methods)
    if word in ROLES:
        return [name for name, method in methods.items() if method.role == word]
    return [name for name, method in methods.items() if word in (name, method.family)]


def _references(word: str, row: str, methods: Methods) -> list[str]:
    """What a word of `against` stands for, for one row."""
    method, baselines = methods[row], _rows("baseline", methods)
    if word == "control" and method.control:
        return [name for control in method.control for name in _named(control, row, methods)]
    proposed = method.role == "proposed"
    stand = {
        "base": ["base"],
        "first": baselines[:1],
        "best": baselines,
        "control": _rows("control", methods) if proposed else [],
    }
    return stand[word] if word in stand else _named(word, row, methods)


def _named(name: str, row: str, methods: Methods) -> list[str]:
    """The row of that name, or the rows of that grid at the row's own place."""
    at = methods[row].at
    return [
        other
        for other, method in methods.items()
        if other == name
        or (method.family == name and all(method.at[a] == at[a] for a in method.at.keys() & at))
    ]
