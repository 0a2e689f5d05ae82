"""What a table was made from, small enough to keep: scores of problems, curves of training.

Every figure of a table but diagnostics can be worked out again from these two.
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import chain

import numpy as np

from kpo.common.text import number
from kpo.evals.table.data import Table

CURVES = (
    *("reward", "entropy", "kl_old", "clip_fraction", "ess_raw", "ess_used", "grad_norm"),
    *("switch_raw", "switch_used", "switch_large_raw", "switch_large_used"),
    "switch_shuffled_used",
)
"""Metrics of a step: see kpo/trainer/README.md."""


def score_rows(table: Table) -> Iterable[list[str]]:
    """A line a problem: of its `answers` answers how many are right, by evaluated model."""
    runs = (run for row in table.rows for run in row.runs.values())
    yield ["benchmark", "problem", "answers", "base", *runs]
    for place, (benchmark, problems) in enumerate(table.problems.items()):
        blocks = [row.scores["avg"][place] for row in table.rows]
        right = np.rint(np.concatenate(blocks) * table.k).astype(int)  # [models, problems]
        for problem, counts in zip(problems, right.T.tolist(), strict=True):
            yield [benchmark, problem, str(table.k), *map(str, counts)]


def curve_rows(table: Table) -> Iterable[list[str]]:
    """A line a step of every run; a metric that it did not log is empty."""
    logged = set(chain.from_iterable(chain.from_iterable(table.steps.values())))
    metrics = [metric for metric in CURVES if metric in logged]
    yield ["name", "seed", "step", *metrics]
    for row in table.rows:
        for seed, run in row.runs.items():
            for step, values in enumerate(table.steps[run]):
                cells = (number(values.get(metric), 5) for metric in metrics)
                yield [row.name, str(seed), str(step), *cells]
