"""A row in few numbers: means over its seeds for a grid, and statistics beside the mean.

Limits are of 95 % over training seeds alone: another training on the same problems. (Those of avg@k
are the table's own, over problems and answers too.)
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from statistics import fmean

import numpy as np

from kpo.common.text import number
from kpo.evals.metrics import Floats
from kpo.evals.statistics.aggregates import (
    Estimate,
    interquartile_mean,
    mean_over_seeds,
    over_seeds,
    performance_profile,
    probability_of_improvement,
)
from kpo.evals.table import rewards
from kpo.evals.table.data import OVERALL, Table, percent

Steps = Sequence[Mapping[str, float]]
LEAST_SEEDS = 3
"""Of which limits are given."""
THRESHOLDS = np.arange(1, 20) / 20
_RUN: dict[str, Callable[[Steps], float | None]] = {
    "reward_last5_%": lambda steps: _of(steps, rewards.last),
    "reward_gap_%": lambda steps: _of(steps, rewards.gap),
    "response_tokens": lambda steps: _mean(steps, "response_tokens"),
    "ess_raw_%": lambda steps: _mean(steps, "ess_raw"),
    "ess_used_%": lambda steps: _mean(steps, "ess_used"),
    "grad_norm": lambda steps: _mean(steps, "grad_norm"),
    "clip_%": lambda steps: _mean(steps, "clip_fraction"),
    "kl_old": lambda steps: _mean(steps, "kl_old"),
}
"""Columns of grid.csv: what is taken of one run's steps."""


def grid_rows(table: Table) -> Iterable[list[str]]:
    """A line a row: its settings, and means over its seeds with their limits."""
    keys, avg = table.setting_columns, f"{OVERALL}_avg@{table.k}"
    limited = [name for column in _RUN for name in (column, f"{column}_low", f"{column}_high")]
    evaluated = [avg, f"{avg}_low", f"{avg}_high"]
    yield ["method", "name", "family", *keys, "seeds", "collapsed_%", *limited, *evaluated]
    for row in table.rows:
        runs = [table.steps[run] for run in row.runs.values()]
        cells = [row.label, row.name, row.family or ""]
        cells += [number(row.settings.get(key)) for key in keys]
        cells += [str(len(runs)), percent(row.collapsed_share)]
        for column, taken in _RUN.items():
            values = [value for run in runs if (value := taken(run)) is not None]
            cells += _over_runs(values, share=column.endswith("%"))
        overall = row.cells["avg", OVERALL]
        yield [*cells, *map(percent, (overall.mean, overall.low, overall.high))]


def aggregate_rows(table: Table) -> Iterable[list[str]]:
    """Interquartile mean, probability of improvement over references, performance profile; in %."""
    yield ["method", "name", "statistic", "reference", "threshold", "value", "low", "high"]
    scores = {row.name: row.by_benchmark for row in table.rows if row.seeds}
    for name, own in scores.items():
        told = [table.label(name), name]
        found = over_seeds(interquartile_mean, own)
        yield [*told, "interquartile mean", "", "", *_of_seeds(found, own)]
        references = [c.reference for c in table.compared(OVERALL) if c.row == name]
        for reference in (r for r in references if r in scores):
            found = over_seeds(probability_of_improvement, own, scores[reference])
            yield [*told, "probability of improvement", reference, "", *_of_seeds(found, own)]
        profile = over_seeds(lambda x: performance_profile(x, THRESHOLDS), own)
        for threshold, *one in zip(THRESHOLDS, *profile, strict=True):
            cells = [percent(threshold, 0), *_of_seeds(Estimate(*one), own)]
            yield [*told, "share of scores above", "", *cells]


def _of(steps: Steps, statistic: Callable[[Sequence[float]], float]) -> float | None:
    values = rewards.rewards(steps)
    return statistic(values) if values else None


def _mean(steps: Steps, metric: str) -> float | None:
    values = [float(step[metric]) for step in steps if metric in step]
    return fmean(values) if values else None


def _of_seeds(found: Estimate, scores: Floats) -> list[str]:
    """An estimate in %, its limits only where there are enough seeds for any."""
    if len(scores) < LEAST_SEEDS:
        return [percent(float(found.value)), "", ""]
    return [percent(float(value)) for value in found]


def _over_runs(values: Sequence[float], *, share: bool) -> list[str]:
    """The mean of what no run has below 0, nor, if it is a share, above 1, and its limits."""
    if not values:
        return [""] * 3
    found = (float(value) for value in mean_over_seeds(values))
    if share:
        return [percent(min(max(value, 0), 1)) for value in found]
    return ["" if math.isnan(value) else number(max(value, 0.0), 4) for value in found]
