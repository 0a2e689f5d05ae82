"""The tuning surface: scores of every method over learning rate and clip, from tuning.csv."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path

from matplotlib.axes import Axes

from kpo.common.cli import UserError
from kpo.evals.figures.data import Row, heading, read_rows, value
from kpo.evals.figures.drawing import SMALL, drawn, legend_below, line
from kpo.evals.figures.places import by_size
from kpo.evals.tuning.sheets import YES

WANTED = ("family", "name", "settings", "avg", "low", "high", "chosen")
ACROSS = 3
"""Panels side by side."""


def draw_tuning(surface: Path, out: Sequence[Path]) -> None:
    """A panel a method: over the first axis, a line a value of the others; the choice circled.

    Raises UserError for a file that is no surface.
    """
    rows = read_rows(surface, WANTED)
    columns = list(rows[0])
    axes = columns[columns.index("name") + 1 : columns.index("settings")]
    if not axes:
        raise UserError(f"{surface}: has no axis between the columns name and settings")
    first, *others = axes
    lines = [", ".join(f"{other} {row[other]}" for other in others if row[other]) for row in rows]
    places = {label: n for n, label in enumerate(dict.fromkeys(lines))}
    by_family: dict[str, list[tuple[str, Row]]] = {}
    for label, row in zip(lines, rows, strict=True):
        by_family.setdefault(row["family"], []).append((label, row))
    across, down = min(ACROSS, len(by_family)), math.ceil(len(by_family) / ACROSS)
    with drawn(
        out, 2.7 * across + 0.3, 0.9 + 2.1 * down, down, across, sharex=True, sharey=True
    ) as panels:
        flat = [one for row in panels for one in row]
        for one in flat[len(by_family) :]:
            one.set_axis_off()
        values = by_size(row[first] for row in rows if row[first])
        for (family, own), one in zip(by_family.items(), flat, strict=False):
            one.set_title(family, fontsize=9)
            one.set_xticks(range(len(values)), values, fontsize=SMALL)
            one.tick_params(labelbottom=True)
            one.set_xlabel(heading(first), fontsize=SMALL)
            _draw_family(one, own, {v: x for x, v in enumerate(values)}, first, places)
        for left, *_ in panels:
            left.set_ylabel("avg@k overall [%]")
        legend_below(panels)


def _draw_family(
    axes: Axes,
    rows: Sequence[tuple[str, Row]],
    x_of: Mapping[str, int],
    first: str,
    places: Mapping[str, int],
) -> None:
    """Lines of one method, each with its label, and a circle around the chosen point."""
    for label in dict.fromkeys(label for label, _ in rows):
        own = [row for other, row in rows if other == label]
        curve = (
            (x_of[r[first]], (value(r["avg"]), value(r["low"]), value(r["high"]))) for r in own
        )
        line(axes, sorted(curve), places[label], label or "no other setting")
    for _, row in rows:
        if row["chosen"] == YES:
            place = [x_of[row[first]]], [value(row["avg"])]
            axes.plot(*place, "ko", markersize=13, markerfacecolor="none", label="chosen")
