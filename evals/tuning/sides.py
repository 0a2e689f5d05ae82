"""Methods side by side: at equal learning rate and default settings, and at those chosen for each.

The last checkpoint counts; `reward_gap` is by how much the training reward was higher at its best
(`evals.table.rewards`), the mean over runs. Shares are in %, differences in points.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from statistics import fmean

from kpo.common.cli import UserError
from kpo.common.text import csv_text, number
from kpo.config.grid import told
from kpo.evals.statistics.aggregates import (
    interquartile_mean,
    over_seeds,
    probability_of_improvement,
)
from kpo.evals.statistics.differences import compare_rows
from kpo.evals.table.data import OVERALL, Row, Table, percent
from kpo.evals.table.rewards import gap, rewards
from kpo.evals.tuning.chosen import AXIS, BOTH, EQUAL, TUNED, is_comparison
from kpo.evals.tuning.sheets import read_choices

SIDES = (EQUAL, TUNED)
Sides = Mapping[str, Row]
"""A method's rows: at equal settings and at its own, or the same one twice."""


def sides_csv(table: Table, surface: Path) -> str:
    """A row a method: how it does at equal settings and at its own, and what the choice cost.

    `surface` is the file of the tuning (`evals.tuning.sheets`). Raises UserError where its choices
    are not what the table's methods were trained with, or the table is of another kind.
    """
    if not is_comparison(table.experiment):
        raise UserError(f"{table.experiment.experiment}: not an experiment of python -m evals.tune")
    families = _families(table)
    choices = read_choices(surface)
    first = next((f for f, sides in families.items() if sides[TUNED].role == "baseline"), None)
    columns = _columns(table.k, first)
    difference = [f"{TUNED}_minus_{EQUAL}{end}" for end in ("", "_low", "_high")]
    header = ["method", "name", *(f"{side}_{column}" for side in SIDES for column in columns)]
    rows = [[*header, *difference, "at_edge", "tuning_runs", "tuning_tokens", "tuning_seconds"]]
    for family, sides in families.items():
        tuned = sides[TUNED]
        if family not in choices or choices[family].settings != tuned.settings_text:
            raise UserError(
                f"{surface}: {family} was not tuned to what {tuned.name} was trained with"
                f" ({tuned.settings_text}); run the tuning and then this experiment again"
            )
        choice, at = choices[family], table.experiment.methods[tuned.name].at
        row = [tuned.label.removesuffix(told(at)), family]
        for side in SIDES:
            row += _side(table, sides[side], families[first][side] if first else None)
        row += [percent(share) for share in _difference(sides)]
        rows.append([*row, choice.at_edge, *map(str, (choice.runs, choice.tokens, choice.seconds))])
    return csv_text(rows)


def _families(table: Table) -> dict[str, Sides]:
    """The rows of each method by side."""
    found: dict[str, dict[str, Row]] = {}
    for row in table.rows:
        if row.name == "base":
            continue
        method = table.experiment.methods[row.name]
        place = method.at[AXIS]
        sides = found.setdefault(str(method.family), {})
        sides |= dict.fromkeys(SIDES, row) if place == BOTH else {place: row}
    for family, sides in found.items():
        if len(sides) < len(SIDES):
            raise UserError(
                f"{family} has a row for {', '.join(sides)} alone; run evals.tune again"
            )
    return dict(found)


def _columns(k: int, first: str | None) -> list[str]:
    limited = [f"avg@{k}", f"iqm@{k}", *([f"p_over_{first}"] if first else [])]
    spread = [f"{name}{end}" for name in limited for end in ("", "_low", "_high")]
    return ["lr", "settings", *spread, "reward_gap", "collapsed"]


def _side(table: Table, row: Row, first: Row | None) -> list[str]:
    """The cells of `_columns`."""
    cell, scores = row.cells["avg", OVERALL], row.by_benchmark
    figures = [cell.mean, cell.low, cell.high, *map(float, over_seeds(interquartile_mean, scores))]
    if first is not None:
        figures += map(float, over_seeds(probability_of_improvement, scores, first.by_benchmark))
    runs = [rewards(table.steps[run]) for run in row.runs.values()]
    return [
        number(table.experiment.train_of(row.name).lr),
        row.settings_text,
        *map(percent, (*figures, fmean(map(gap, runs)), row.collapsed_share)),
    ]


def _difference(sides: Sides) -> tuple[float, float, float]:
    """Tuned minus equal, paired by seed and problem, with its limits."""
    if sides[EQUAL] is sides[TUNED]:
        return 0.0, 0.0, 0.0
    test = compare_rows([sides[side].scores["avg"] for side in SIDES])
    return float(test.mean[0]), float(test.low[0]), float(test.high[0])
