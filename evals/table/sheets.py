"""A table as CSV, for programs. Shares are in %, differences in points."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from itertools import chain
from operator import itemgetter
from statistics import fmean

from kpo.common.text import csv_text, number
from kpo.evals.grading.statuses import FAILURES
from kpo.evals.table import kept, rewards, summaries
from kpo.evals.table.data import Table, percent
from kpo.evals.table.trainings import STILL

_STEPS: dict[str, tuple[str, Callable[[list[float]], float]]] = {
    "reward_first_%": ("reward", itemgetter(0)),
    "reward_last_%": ("reward", itemgetter(-1)),
    "reward_last5_%": ("reward", rewards.last),
    "reward_best_%": ("reward", rewards.best),
    "reward_gap_%": ("reward", rewards.gap),
    "entropy_first": ("entropy", itemgetter(0)),
    "entropy_last": ("entropy", itemgetter(-1)),
    **{f"{name}_%": (name, fmean) for name in ("truncated", *FAILURES, "zero_std_groups")},
    "clip_%": ("clip_fraction", fmean),
    "grad_norm_max": ("grad_norm", max),
    "kl_old_max": ("kl_old", max),
    "logprob_mismatch_mean": ("logprob_mismatch_mean", fmean),
    "logprob_mismatch_max": ("logprob_mismatch_max", max),
    "noise_rms": ("noise_rms", fmean),
    "noise_max": ("noise_max", max),
    "noise_clip_%": ("noise_clip_fraction", fmean),
}
"""Columns of training.csv: a metric of a run's steps, and what is taken of it over them."""


def csv_files(table: Table) -> dict[str, str]:
    """Text of every CSV file, by name."""
    return {
        "table1.csv": csv_text(_table_rows(table)),
        "diagnostics.csv": csv_text(_diagnostic_rows(table)),
        "differences.csv": csv_text(_difference_rows(table)),
        "training.csv": csv_text(_training_rows(table)),
        "grid.csv": csv_text(summaries.grid_rows(table)),
        "aggregates.csv": csv_text(summaries.aggregate_rows(table)),
        "scores.csv": csv_text(kept.score_rows(table)),
        "curves.csv": csv_text(kept.curve_rows(table)),
    }


def _table_rows(table: Table) -> Iterable[list[str]]:
    keys = table.setting_columns
    places = [(metric, column) for column in table.columns for metric in ("avg", "pass")]
    names = [f"{column}_{metric}@{table.k}" for metric, column in places]
    limits = [[name, f"{name}_low", f"{name}_high"] for name in names]
    yield ["method", "name", "objective", *keys, "seeds", *chain(*limits)]
    for row in table.rows:
        settings = [number(row.settings.get(key)) for key in keys]
        cells = [row.cells[place] for place in places]
        shares = [percent(share) for c in cells for share in (c.mean, c.low, c.high)]
        seeds = " ".join(f"{seed}{STILL * (seed in row.still)}" for seed in row.seeds)
        yield [row.label, row.name, row.objective, *settings, seeds, *shares]


def _diagnostic_rows(table: Table) -> Iterable[list[str]]:
    counts, rules = ["truncated", *FAILURES], table.experiment.other_rules
    by_rule = [f"{what}_by_{rule}" for rule in rules for what in ("points", "otherwise")]
    yield [
        *("method", "name", "role", "benchmark", "responses", "mean_tokens"),
        *(f"{name}_%" for name in counts),
        *(name.replace("otherwise", "%_otherwise") for name in by_rule),
    ]
    for row in table.rows:
        for benchmark, tally in row.tallies.items():
            responses = tally["responses"]
            yield [
                *(row.label, row.name, row.role or "", benchmark, str(responses)),
                f"{tally['tokens'] / responses:.2f}",
                *(percent(tally[name] / responses) for name in counts + by_rule),
            ]


def _training_rows(table: Table) -> Iterable[list[str]]:
    yield ["method", "name", "role", "seed", "steps", "collapsed", *_STEPS]
    for row in table.rows:
        for seed, run in row.runs.items():
            steps = table.steps[run]
            cells = ["yes" if seed in row.collapsed else "no"]
            for column, (metric, taken) in _STEPS.items():
                values = [float(step[metric]) for step in steps if metric in step]
                value = taken(values) if values else None
                cells.append(percent(value) if column.endswith("%") else number(value, 3))
            yield [row.label, row.name, row.role or "", str(seed), str(len(steps)), *cells]


def _difference_rows(table: Table) -> Iterable[list[str]]:
    yield [
        *("method", "name", "reference", "against", "benchmark", "metric"),
        *("difference", "low", "high", "detectable", "p", "p_holm", "verdict"),
    ]
    for c in table.comparisons:
        yield [
            *(table.label(c.row), c.row, c.reference, ", ".join(c.against), c.column),
            f"{c.metric}@{table.k}",
            *map(percent, (c.difference.mean, c.difference.low, c.difference.high)),
            percent(c.detectable),
            *("" if math.isnan(p) else f"{p:.2g}" for p in (c.p, c.p_holm)),
            c.verdict,
        ]
