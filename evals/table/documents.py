"""A table as Markdown, for reading, and as LaTeX, for a paper: the templates beside this module.

A template's tags are <% ... %> and << ... >>, as braces are LaTeX's own.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from itertools import chain
from pathlib import Path
from statistics import median
from typing import Any

import jinja2

from kpo.evals.table.data import (
    BASELINE,
    NOISE,
    OVERALL,
    OWN,
    UNKNOWN,
    Comparison,
    Grid,
    Table,
    percent,
)
from kpo.evals.table.trainings import STILL

MARK = "≈"
"""Of a cell that differs from the first baseline's by no more than noise."""
_ESCAPES = {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    STILL: r"\ddag{}",
    UNKNOWN: "--",
    **{char: f"\\{char}" for char in "&%$#_{}"},
}


def escape(text: str) -> str:
    """Text for LaTeX."""
    return text.translate({ord(char): spelled for char, spelled in _ESCAPES.items()})


def markdown(table: Table) -> str:
    """The table, what its marks mean, the protocol, and the paper's figures beside ours."""
    reported = [column for column in (table.reported or [{}])[0] if column != "method"]
    benchmarks = list(dict.fromkeys(column.rpartition("_")[0] for column in reported))
    shared = [benchmark for benchmark in benchmarks if benchmark in table.columns]
    return _filled(
        "table1.md",
        table,
        grid=grid(table),
        other_rules=list(_other_rules(table)),
        detectable=_detectable(table),
        differences=differences(table),
        pairs=len({frozenset(pair) for pair in table.experiment.compared}),
        shared=shared,
        papers_grid=_aligned(_papers_cells(table, shared or benchmarks)),
    )


def latex(table: Table) -> str:
    """The table with booktabs rules; a dagger marks what `MARK` marks in Markdown."""
    return _filled("table1.tex", table)


def _filled(name: str, table: Table, **more: Any) -> str:
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent),
        undefined=jinja2.StrictUndefined,
        autoescape=False,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        block_start_string="<%",
        block_end_string="%>",
        variable_start_string="<<",
        variable_end_string=">>",
    )
    environment.filters |= {"tex": escape, "short": _short}
    more |= {"MARK": MARK, "NOISE": NOISE, "UNKNOWN": UNKNOWN, "k": table.k}
    more |= {"experiment": table.experiment, "many": len(table.experiment.seeds) > 1}
    return environment.get_template(f"{name}.jinja").render(table=table, **more)


def grid(table: Grid) -> str:
    """The rows themselves, in Markdown."""
    return _aligned(_cells(table))


def differences(table: Grid) -> str:
    """What those rows are set against of which that is told, in Markdown."""
    return _aligned(_difference_cells(table))


def _cells(table: Grid) -> Iterable[list[str]]:
    """Header and rows of the table itself."""
    yield ["Method", "Settings", *table.columns]
    for row in table.rows:
        cells = [
            row.figures(column)
            + f" {MARK}" * table.in_noise(row, column)
            + f" {STILL}" * bool(row.still)
            for column in table.columns
        ]
        yield [row.label, row.settings_text, *cells]


def _papers_cells(table: Table, benchmarks: Sequence[str]) -> Iterable[list[str]]:
    """Header and rows of the paper's figures, ours beside them where a benchmark was run here."""
    ours = {row.label: row for row in table.rows}
    header = [[f"{b}, paper", f"{b}, ours"] if b in table.columns else [b] for b in benchmarks]
    yield ["Method", *chain(*header)]
    for row in table.reported:
        cells = [row["method"]]
        for b in benchmarks:
            known = (text or UNKNOWN for c, text in row.items() if c.startswith(f"{b}_"))
            cells.append(" / ".join(known))
            if b in table.columns:
                here = ours.get(row["method"])
                cells.append(here.figures(b) if here else UNKNOWN)
        yield cells


def _other_rules(table: Table) -> Iterable[dict[str, Any]]:
    """By how much the cells depend on which rule says what is right."""
    cells = [(row, b, tally) for row in table.rows for b, tally in row.tallies.items()]
    for rule in table.experiment.other_rules:
        apart = [tally[f"otherwise_by_{rule}"] for _, _, tally in cells]
        points = [tally[f"points_by_{rule}"] / tally["responses"] for _, _, tally in cells]
        most = max(range(len(cells)), key=lambda place: abs(points[place]))
        yield {
            "rule": rule,
            "apart": sum(apart),
            "responses": sum(tally["responses"] for _, _, tally in cells),
            "moved": sum(map(bool, apart)),
            "cells": len(cells),
            "points": f"{100 * points[most]:+.1f}",
            "where": f"{cells[most][0].label}, {cells[most][1]}",
        }


def _detectable(table: Table) -> str:
    """The smallest difference to the first baseline: the median of all methods, by column."""
    found = []
    for column in table.columns:
        values = [c.detectable for c in table.compared(column) if c.reference == table.first]
        if values and not math.isnan(median(values)):
            found.append(f"{column} {percent(median(values), 1)}")
    return ", ".join(found)


def _difference_cells(table: Grid) -> Iterable[list[str]]:
    """Header and rows of what those rows are set against that are proposed, collapsed or have a
    control of their own.

    A column is a reference, or a grid whose points are references of the rows at their place.
    """
    roles = {row.name: row.role for row in table.rows}
    told = [c for c in table.compared(OVERALL) if c.against != (BASELINE,)]
    lost = {row.name for row in table.rows if row.collapsed}
    shown = {c.row for c in told if roles[c.row] == "proposed" or OWN & {*c.against}} | lost
    columns: dict[str, dict[str, str]] = {}
    for c in told:
        points = f"{100 * c.difference.mean:+.1f} ({c.difference.limits(1, '+')})"
        for head in _headings(table, c):
            cells = columns.setdefault(f"minus {head}", {})
            cells[c.row] = points + f" {MARK}" * (c.verdict == NOISE)
    columns = {head: cells for head, cells in columns.items() if shown & cells.keys()}
    yield ["Method", *columns]
    for name in (name for name in roles if name in shown):
        yield [table.label(name), *(cells.get(name, UNKNOWN) for cells in columns.values())]


def _headings(table: Grid, comparison: Comparison) -> Iterable[str]:
    """Columns of a reference: one of its own, or, as what not every row has, one of its grid."""
    families = {row.name: row.family for row in table.rows}

    def family(c: Comparison) -> str | None:
        return families[c.reference] if OWN & {*c.against} else None

    name = family(comparison)
    points = Counter(c.row for c in table.compared(OVERALL) if family(c) == name)
    alone = name is not None and max(points.values()) == 1
    if alone:
        yield f"{name} at its place"
    if not alone or {*comparison.against} - OWN:
        label = table.label(comparison.reference)
        yield f"{label}, best" if comparison.reference == table.best else label


def _short(value: Any) -> str:
    """A value of the protocol; a content hash by its first 12 digits."""
    text = "none" if value is None else str(value)
    return text[:12] if re.fullmatch(r"[0-9a-f]{40,}", text) else text


def _aligned(cells_of_lines: Iterable[Sequence[str]]) -> str:
    """A Markdown table whose columns line up as plain text too; numbers to the right."""
    rows = [[cell.replace("|", "\\|") for cell in line] for line in cells_of_lines]
    columns = []
    for head, *cells in zip(*rows, strict=True):
        width = max(map(len, [head, *cells]))
        rule, side = "-" * (width - 1), "<" if head in ("Method", "Settings") else ">"
        lines = [head, f":{rule}" if side == "<" else f"{rule}:", *cells]
        columns.append([f"{cell:{side}{width}}" for cell in lines])
    return "\n".join(f"| {' | '.join(cells)} |" for cells in zip(*columns, strict=True))
