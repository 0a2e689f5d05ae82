"""A page of a file: a table of CSV, a document of Markdown, a listing of JSON."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from markdown_it import MarkdownIt
from markupsafe import Markup

from kpo.common.cli import UserError
from kpo.evals.pages.render import render

Cells = Sequence[str]


@dataclass(frozen=True)
class Item:
    """Something of a listing: a value, a table of `head` and `rows`, or named parts."""

    name: str = ""
    value: str | None = None
    parts: tuple[Item, ...] = ()
    head: Cells = ()
    rows: Sequence[Cells] = ()

    @property
    def numbers(self) -> set[int]:
        """Places of the columns that hold numbers."""
        return numbers(self.rows)


def page(path: Path, title: str) -> str:
    """The page of a file. Raises UserError for one that is missing or of another kind."""
    kind = KINDS.get(path.suffix)
    if kind is None:
        raise UserError(f"{path} is no file of a kind that has a page: {', '.join(KINDS)}")
    try:
        return kind(path.read_text(encoding="utf-8"), title)
    except FileNotFoundError:
        raise UserError(f"{path}: no such file; run the experiment first") from None


def of_csv(text: str, title: str) -> str:
    """A table; a column's limits stand behind its values."""
    head, *rows = csv.reader(io.StringIO(text))
    folded = [fold(head, row) for row in rows]
    return render("listing", title=title, root=Item(head=_heads(head), rows=folded))


def of_markdown(text: str, title: str) -> str:
    """A document, whose first heading is the title; HTML in it is shown as text."""
    heading, _, rest = text.partition("\n")
    body = MarkdownIt("js-default", {"html": False, "linkify": False}).render(
        rest if heading.startswith("# ") else text
    )
    wide = body.replace("<table>", '<div class="wide"><table>').replace(
        "</table>", "</table></div>"
    )
    return render("page", title=title, body=Markup(wide))


def of_json(text: str, title: str) -> str:
    """What it holds, to be folded out."""
    return render("listing", title=title, root=item("", json.loads(text)))


KINDS: Mapping[str, Callable[[str, str], str]] = {
    ".csv": of_csv,
    ".md": of_markdown,
    ".json": of_json,
}


def item(name: str, value: Any) -> Item:
    """A value of JSON as an item; mappings that have a key in common are rows of a table."""
    if not isinstance(value, dict) or not value:
        return Item(name, _told(value))
    inner = [one for one in value.values() if isinstance(one, dict)]
    if 1 < len(inner) == len(value) and set.intersection(*map(set, inner)):
        flat = {key: _flat(one) for key, one in value.items()}
        columns = list(dict.fromkeys(column for one in flat.values() for column in one))
        rows = [[key, *(one.get(column, "") for column in columns)] for key, one in flat.items()]
        return Item(name, head=("", *columns), rows=rows)
    return Item(name, parts=tuple(item(key, one) for key, one in value.items()))


def _flat(value: Mapping[str, Any], above: str = "") -> dict[str, str]:
    found: dict[str, str] = {}
    for key, one in value.items():
        if isinstance(one, dict):
            found |= _flat(one, f"{above}{key}.")
        else:
            found[above + key] = _told(one)
    return found


def _told(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def fold(head: Cells, row: Cells) -> list[str]:
    """A row whose columns `low` and `high`, or `x_low` and `x_high`, stand behind what they limit.

    ["x", "x_low", "x_high"], ["3", "1", "4"] -> ["3 (1 to 4)"]
    """
    limits = _limits(head)
    cells = []
    for place, cell in enumerate(row):
        if place in limits and cell and row[place + 1]:
            cells.append(f"{cell} ({row[place + 1]} to {row[place + 2]})")
        elif place - 1 not in limits and place - 2 not in limits:
            cells.append(cell)
    return cells


def _heads(head: Cells) -> list[str]:
    limits = _limits(head)
    names = (n for p, n in enumerate(head) if p - 1 not in limits and p - 2 not in limits)
    return [name.replace("_", " ") for name in names]


def _limits(head: Cells) -> set[int]:
    """Places of columns that have their limits in the next two."""
    return {
        place
        for place, name in enumerate(head[:-2])
        if tuple(head[place + 1 : place + 3]) in ((f"{name}_low", f"{name}_high"), ("low", "high"))
    }


def numbers(rows: Sequence[Cells]) -> set[int]:
    """Places of columns in which every cell that is not empty begins with a number."""
    columns = enumerate(zip(*rows, strict=True))
    return {place for place, cells in columns if any(cells) and all(map(_numeric, cells))}


def _numeric(cell: str) -> bool:
    try:
        return not cell or float(cell.partition(" (")[0]) is not None
    except ValueError:
        return False
