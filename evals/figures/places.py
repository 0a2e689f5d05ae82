"""Rows of grid.csv as places of a grid: which settings its families vary, and over which values."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import takewhile

from kpo.evals.figures.data import Row


@dataclass(frozen=True)
class Grid:
    """What rows are places of.

    Attributes:
        axes: columns of the settings that vary within families, the one with most values first;
            of settings that go together, as q and memory do, the last stands for all.
        families: labels by family, in the order of the file.
        alone: rows of no family.
    """

    rows: Sequence[Row]
    axes: Sequence[str]
    families: dict[str, str]
    alone: Sequence[Row]

    def values(self, axis: str) -> list[str]:
        """Of the families' rows, each once, by size."""
        return by_size(row[axis] for row in self.rows if row["family"])

    def at(self, family: str, place: Mapping[str, str]) -> Row | None:
        """The row of a family at a place, if it has one."""
        found = (row for row in self.rows if row["family"] == family)
        return next((r for r in found if all(r[axis] == v for axis, v in place.items())), None)


def grid_of(rows: Sequence[Row]) -> Grid | None:
    """The grid that rows of grid.csv make up: of one axis or two; None where they do not."""
    families = {row["family"]: "" for row in rows if row.get("family")}
    for family in families:
        labels = [row["method"] for row in rows if row["family"] == family]
        parts = zip(*(label.split(", ") for label in labels), strict=False)
        families[family] = ", ".join(p[0] for p in takewhile(lambda p: len({*p}) == 1, parts))
    axes = _axes(rows, families) if families else []
    alone = [row for row in rows if not row.get("family")]
    grid = Grid(rows, axes, families, alone)
    axes.sort(key=lambda axis: -len(grid.values(axis)))
    return grid if len(axes) in (1, 2) else None


def by_size(values: Iterable[str]) -> list[str]:
    """Values, each once: by size where they are numbers, else in their order."""
    distinct = list(dict.fromkeys(values))
    try:
        return sorted(distinct, key=float)
    except ValueError:
        return distinct


def _axes(rows: Sequence[Row], families: Iterable[str]) -> list[str]:
    columns = list(rows[0])
    settings = columns[columns.index("family") + 1 : columns.index("seeds")]
    found: list[str] = []
    for family in families:
        own = [row for row in rows if row["family"] == family]
        for column in reversed(settings):
            varies = len({row[column] for row in own}) > 1
            if varies and not any(_together(own, column, axis) for axis in found):
                found.append(column)
    return found


def _together(rows: Sequence[Row], one: str, other: str) -> bool:
    """Whether each value of one column goes with one of the other, and the other way round."""
    pairs = {(row[one], row[other]) for row in rows}
    return len({a for a, _ in pairs}) == len({b for _, b in pairs}) == len(pairs)
