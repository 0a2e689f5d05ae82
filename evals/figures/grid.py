"""Columns of one grid.csv: over the axes of its grid, or row by row where it has none."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from matplotlib.axes import Axes

from kpo.common.cli import UserError
from kpo.evals.figures.data import Row, heading, limits, read_rows
from kpo.evals.figures.drawing import WIDTH, drawn, legend_below, line, point
from kpo.evals.figures.places import Grid, grid_of


def draw_grid(path: Path, out: Sequence[Path], columns: Sequence[str]) -> None:
    """Draw the rows that have values. Raises UserError where there are none, or no such column."""
    rows = read_rows(path, ["method", *columns])
    for column in columns:
        if not any(row[column] for row in rows):
            raise UserError(f"{path}: no row has a value in the column {column}")
    rows = [row for row in rows if any(row[column] for column in columns)]
    if grid := grid_of(rows):
        _draw_lines(grid, columns, out)
    else:
        _draw_rows(rows, columns, out)


def _draw_lines(grid: Grid, columns: Sequence[str], out: Sequence[Path]) -> None:
    """A line a family over the axis with most values, a panel a value of the other axis."""
    axis, *others = grid.axes
    panels = [{other: v} for other in others for v in grid.values(other)] or [{}]
    size = len(columns), len(panels)
    width = WIDTH if len(panels) > 1 else 0.75 * WIDTH
    with drawn(out, width, 0.6 + 2.3 * len(columns), *size, sharex=True, sharey="row") as axes:
        for column, across in zip(columns, axes, strict=True):
            across[0].set_ylabel(heading(column))
            for place, one in zip(panels, across, strict=True):
                _draw_panel(one, grid, column, place)
        for place, top, bottom in zip(panels, axes[0], axes[-1], strict=True):
            top.set_title(", ".join(f"{heading(a)}: {v}" for a, v in place.items()), fontsize=9)
            bottom.set_xlabel(heading(axis))
        legend_below(axes)


def _draw_panel(axes: Axes, grid: Grid, column: str, place: Mapping[str, str]) -> None:
    """The families at one place of the other axis; a row of no family is as high everywhere."""
    axis, values = grid.axes[0], grid.values(grid.axes[0])
    for n, (family, label) in enumerate(grid.families.items()):
        rows = (grid.at(family, {**place, axis: v}) for v in values)
        curve = [(x, limits(row, column)) for x, row in enumerate(rows) if row]
        line(axes, curve, n, label)
    ends = (-0.3, len(values) - 0.7)
    for n, row in enumerate(grid.alone, len(grid.families)):
        if row[column]:
            level = limits(row, column)
            line(axes, [(x, level) for x in ends], n, row["method"], marked=False)
    axes.set_xticks(range(len(values)), values)


def _draw_rows(rows: Sequence[Row], columns: Sequence[str], out: Sequence[Path]) -> None:
    """Rows one below the other, a panel a column."""
    width = 5.0 + 2.0 * (len(columns) - 1)
    with drawn(out, width + 2, 1.2 + 0.22 * len(rows), 1, len(columns), sharey=True) as [axes]:
        for column, one in zip(columns, axes, strict=True):
            for y, row in enumerate(rows):
                point(one, y, limits(row, column))
            one.set_xlabel(heading(column))
        axes[0].set_yticks(range(len(rows)), [row["method"] for row in rows])
        axes[0].invert_yaxis()
