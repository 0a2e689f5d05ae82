"""A table as Markdown, for reading: cells, notes, protocol, and the paper's figures beside ours."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Sequence
from statistics import median
from typing import Any

from evals.table.data import Comparison, Table
from evals.table.render import (
    MARK,
    NOISE,
    STILL,
    UNKNOWN,
    figures,
    in_noise,
    percent,
    settings_text,
)


def markdown(table: Table) -> str:
    """The table, what its marks mean, the protocol, and the paper's figures beside ours."""
    header = ["Method", "Settings", *table.columns]
    body = [
        [
            row.label,
            settings_text(row),
            *(
                figures(table, row, column)
                + (f" {MARK}" if in_noise(table, row, column) else "")
                + (f" {STILL}" if row.still else "")
                for column in table.columns
            ),
        ]
        for row in table.rows
    ]
    notes = "".join(f"- {note}\n" for note in (*_notes(table), *table.notes))
    return (
        f"# Table 1: {table.experiment}\n\n{_grid(header, body)}\n{notes}\n"
        f"Protocol, the same for every row: {_protocol(table)}.\n\n{_beside_paper(table)}"
    )


def _notes(table: Table) -> Iterable[str]:
    k, many = table.k, len(table.seeds) > 1
    seeds = ", ".join(map(str, table.seeds))
    problems = ", ".join(f"{name} {count}" for name, count in table.problems.items())
    over = "training seeds, problems and answers" if many else "problems and answers"
    yield (
        f"Cells: avg@{k} ± half the width of its 95 % interval over {over} / pass@{k}, in %."
        " The limits, those of pass included, stand in table1.csv. `overall` is the mean of the"
        " benchmarks."
    )
    yield from _by_other_rules(table)
    yield f"Training seeds: {seeds}. Problems: {problems}; {k} answers each."
    if not many:
        yield (
            "One training seed: what another seed would change is in no interval, and no"
            " difference between rows is tested."
        )
        return
    yield "The base model is not trained, so its interval is over problems and answers only."
    if table.grpo:
        yield (
            f"{MARK}: the difference to {table.label(table.grpo)} in avg@{k} is {NOISE} (paired by"
            " problem and seed; p > 0.05 after Holm's correction; see differences.csv)."
        )
    reference = table.grpo or table.best
    if reference and (smallest := _detectable(table, reference)):
        yield (
            f"Minimum detectable difference to {table.label(reference)} in avg@{k} (a single test"
            f" at 5 % with 80 % power, before Holm's correction), in points: {smallest}."
        )
    yield from _against_best(table)


def _by_other_rules(table: Table) -> Iterable[str]:
    """By how much the cells depend on which rule says what is right."""
    cells = [(row, b, found) for row in table.rows for b, found in row.diagnostics.items()]
    responses = sum(found.responses for _, _, found in cells)
    for rule in cells[0][2].regraded:
        apart = sum(found.apart[rule] for _, _, found in cells)
        text = f"Graded by {table.rule}. {rule} says the opposite of {apart} of {responses} answers"
        if apart == 0:
            yield f"{text}: no cell depends on which of the two grades."
            continue
        points = [found.regraded[rule] / found.responses for _, _, found in cells]
        moved = sum(found.apart[rule] > 0 for _, _, found in cells)
        most = max(range(len(cells)), key=lambda place: abs(points[place]))
        row, benchmark, _ = cells[most]
        yield (
            f"{text}: {moved} of {len(cells)} cells would change, avg@{table.k} most by"
            f" {100 * points[most]:+.1f} points ({row.label}, {benchmark}; see diagnostics.csv)."
        )


def _detectable(table: Table, reference: str) -> str:
    """The median over trained rows, for every column."""
    trained = {row.name for row in table.rows if row.seeds}
    found = []
    for column in table.columns:
        values = [c.detectable for c in table.against(reference, "avg", column) if c.row in trained]
        if values and not math.isnan(median(values)):
            found.append(f"{column} {percent(median(values), 1)}")
    return ", ".join(found)


def _against_best(table: Table) -> Iterable[str]:
    """How each KPO row stands against the best baseline overall."""
    if table.best is None:
        return
    kpo = {row.name for row in table.rows if row.objective == "kpo"}
    found = [c for c in table.against(table.best, "avg", table.columns[-1]) if c.row in kpo]
    if found:
        yield (
            f"Against {table.label(table.best)}, the best baseline overall, avg@{table.k} in points"
            " (95 % interval of a single comparison; p after Holm's correction):"
            f" {'; '.join(_sentence(table, c) for c in found)}."
        )


def _sentence(table: Table, c: Comparison) -> str:
    mean, low, high = (
        f"{100 * x:+.1f}" for x in (c.difference.mean, c.difference.low, c.difference.high)
    )
    return f"{table.label(c.row)} {mean} ({low} to {high}; p {c.p_holm:.2g}), {c.verdict}"


def _protocol(table: Table) -> str:
    """`key = value` of the protocol; content hashes by their first 12 digits."""
    return ", ".join(f"{key} = {_short(value)}" for key, value in table.protocol.items())


def _short(value: Any) -> str:
    text = "none" if value is None else str(value)
    return text[:12] if re.fullmatch(r"[0-9a-f]{40,}", text) else text


def _beside_paper(table: Table) -> str:
    """The paper's figures, and ours where a benchmark is in both."""
    title = "## The figures reported in the paper (arXiv 2602.10609)"
    reported = [column for column in (table.reported or [{}])[0] if column != "method"]
    benchmarks = list(dict.fromkeys(column.rpartition("_")[0] for column in reported))
    shared = [benchmark for benchmark in benchmarks if benchmark in table.columns]
    if shared:
        text = (
            "Model, training and sampling are not the same, so compare the order of the rows, not"
            " their level. Cells: avg / pass in %, the paper's at 16 answers a problem, ours at"
            f" {table.k}; {UNKNOWN} is unknown or not run."
        )
    else:
        text = (
            "None of its benchmarks was run here, and model and protocol are not the same. Cells:"
            f" avg@16 / pass@16 in %; {UNKNOWN} is unknown."
        )
    ours = {row.label: row for row in table.rows}
    header = ["Method"]
    body = [[row["method"]] for row in table.reported]
    for benchmark in shared or benchmarks:
        header += [f"{benchmark}, paper", f"{benchmark}, ours"] if shared else [benchmark]
        for cells, row in zip(body, table.reported, strict=True):
            given = [figure for column, figure in row.items() if column.startswith(f"{benchmark}_")]
            cells.append(" / ".join(figure or UNKNOWN for figure in given))
            if shared and row["method"] in ours:
                cells.append(figures(table, ours[row["method"]], benchmark))
            elif shared:
                cells.append(UNKNOWN)
    return f"{title}\n\n{text}\n\n{_grid(header, body)}"


def _grid(header: Sequence[str], body: Sequence[Sequence[str]]) -> str:
    """A Markdown table whose columns line up as plain text too; numbers to the right."""
    rows = [[cell.replace("|", "\\|") for cell in row] for row in (header, *body)]
    widths = [max(len(row[i]) for row in rows) for i in range(len(header))]
    left = [i < 2 and header[i] in ("Method", "Settings") for i in range(len(header))]
    lines = [
        " | ".join(
            cell.ljust(width) if to_left else cell.rjust(width)
            for cell, width, to_left in zip(row, widths, left, strict=True)
        )
        for row in rows
    ]
    rule = " | ".join(
        ":" + "-" * (width - 1) if to_left else "-" * (width - 1) + ":"
        for width, to_left in zip(widths, left, strict=True)
    )
    return "".join(f"| {line} |\n" for line in (lines[0], rule, *lines[1:]))
