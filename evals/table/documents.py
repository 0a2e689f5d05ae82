"""A table as Markdown, for reading, and as LaTeX, for a paper: the templates beside this module.

A template's tags are <% ... %> and << ... >>, as braces are LaTeX's own.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Sequence
from dataclasses import astuple
from itertools import chain
from pathlib import Path
from statistics import median
from typing import Any

import jinja2

from evals.table.data import NOISE, OVERALL, UNKNOWN, Table, percent
from evals.table.trainings import STILL

MARK = "≈"
"""Of a cell that differs from the first baseline's by no more than noise."""
_ESCAPES = {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    STILL: r"\ddag{}",
    "±": r"$\pm$",
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
        grid=_grid(_cells(table)),
        other_rules=list(_other_rules(table)),
        detectable=_detectable(table),
        against_best=_against_best(table),
        shared=shared,
        papers_grid=_grid(_papers_cells(table, shared or benchmarks)),
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


def _cells(table: Table) -> Iterable[list[str]]:
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
    """The smallest difference to the first baseline: the median of trained rows, by column."""
    trained = {row.name for row in table.rows if row.role}
    found = []
    for column in table.columns:
        values = [c.detectable for c in table.against(table.first, column) if c.row in trained]
        if values and not math.isnan(median(values)):
            found.append(f"{column} {percent(median(values), 1)}")
    return ", ".join(found)


def _against_best(table: Table) -> str:
    """How each proposed row stands against the best baseline overall."""
    proposed = {row.name for row in table.rows if row.role == "proposed"}
    found = [c for c in table.against(table.best, OVERALL) if c.row in proposed]
    points = [[f"{100 * x:+.1f}" for x in astuple(c.difference)] for c in found]
    return "; ".join(
        f"{table.label(c.row)} {mean} ({low} to {high}; p {c.p_holm:.2g}), {c.verdict}"
        for c, (mean, low, high) in zip(found, points, strict=True)
    )


def _short(value: Any) -> str:
    """A value of the protocol; a content hash by its first 12 digits."""
    text = "none" if value is None else str(value)
    return text[:12] if re.fullmatch(r"[0-9a-f]{40,}", text) else text


def _grid(cells_of_lines: Iterable[Sequence[str]]) -> str:
    """A Markdown table whose columns line up as plain text too; numbers to the right."""
    rows = [[cell.replace("|", "\\|") for cell in line] for line in cells_of_lines]
    columns = []
    for head, *cells in zip(*rows, strict=True):
        width = max(map(len, [head, *cells]))
        rule, side = "-" * (width - 1), "<" if head in ("Method", "Settings") else ">"
        lines = [head, f":{rule}" if side == "<" else f"{rule}:", *cells]
        columns.append([f"{cell:{side}{width}}" for cell in lines])
    return "\n".join(f"| {' | '.join(cells)} |" for cells in zip(*columns, strict=True))
