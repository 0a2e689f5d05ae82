"""What a comparison table holds, and the texts of its parts that all formats share."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from kpo.common.text import number
from kpo.config.experiment import Experiment, run_name
from kpo.config.grid import TRAIN
from kpo.config.train import Train
from kpo.evals.metrics import Floats
from kpo.evals.statistics.differences import LEVEL
from kpo.objective import Role
from kpo.registry import setting_names, usual_words

NOISE = "inside the noise"
OVERALL = "overall"
UNKNOWN = "—"
FIRST, BEST, BASELINE = "first baseline", "best baseline", "baseline"
CONTROL, NAMED = "control", "named"
AS = {"first": FIRST, "best": BASELINE, "control": CONTROL, "base": "base model"}
"""What a reference is by a word of the experiment file; one of the baselines is the best."""
OWN = {CONTROL, NAMED}
"""References that not every row is set against."""
Tally = Counter[str]
"""Counts of a benchmark's responses: see `evals.table.runs.tally`."""


def percent(share: float | None, digits: int = 2) -> str:
    """A share in %, empty where unknown."""
    return "" if share is None or math.isnan(share) else f"{100 * share:z.{digits}f}"


@dataclass(frozen=True)
class Cell:
    """A mean and the limits of its 95 % interval, as shares; nan where unknown."""

    mean: float
    low: float
    high: float

    def limits(self, digits: int, sign: str = "") -> str:
        """`low to high` in %, or in points with their sign."""
        if math.isnan(self.low):
            return UNKNOWN
        return " to ".join(f"{100 * end:{sign}z.{digits}f}" for end in (self.low, self.high))


@dataclass(frozen=True)
class Row:
    """The base model (objective "", role None) or a method.

    Attributes:
        settings: every setting of its objective, those left out or derived included, and those of
            training that some row of the table has otherwise than the others.
        scores: of single problems by metric, an array [seeds, problems] a benchmark.
        cells: by (metric, column).
        tallies: by benchmark, over all seeds.
        still: seeds whose runs learnt nothing.
        collapsed: seeds whose runs collapsed: see `evals.table.rewards`.
        family: the grid that it is a point of.
    """

    name: str
    label: str
    objective: str
    role: Role | None
    settings: Mapping[str, Any]
    seeds: tuple[int, ...]
    scores: Mapping[str, list[Floats]]
    cells: Mapping[tuple[str, str], Cell]
    tallies: Mapping[str, Tally]
    still: tuple[int, ...]
    collapsed: tuple[int, ...] = ()
    family: str | None = None

    @property
    def by_benchmark(self) -> Floats:
        """avg@k [seeds, benchmarks]."""
        return np.stack([scores.mean(axis=-1) for scores in self.scores["avg"]], axis=-1)

    @property
    def runs(self) -> dict[int, str]:
        """Names of its runs by seed."""
        return {seed: run_name(self.name, seed) for seed in self.seeds}

    @property
    def collapsed_share(self) -> float | None:
        """Of its runs; None for the base model, which has none."""
        return len(self.collapsed) / len(self.seeds) if self.seeds else None

    @property
    def settings_text(self) -> str:
        """The settings for readers; a filter by q and by memory in tokens, a clip by both sides.

        Words that are an objective's default, and what is off where nothing is said, are left out.
        """
        usual = usual_words(self.objective)
        left = dict(self.settings)
        parts = []
        if left.get("q") is not None and left.get("memory") is not None:
            memory = float(number(float(left.pop("memory")), 3))
            parts.append(f"q {number(left.pop('q'), 3)} (memory {memory:.15g} tokens)")
        if {"clip_low", "clip_high"} <= left.keys():
            low, high = left.pop("clip_low"), left.pop("clip_high")
            parts.append("no clip" if low is None else f"clip {number(low, 3)} / {number(high, 3)}")
        parts += [
            f"{name.removeprefix(TRAIN)} {number(value, 3) or 'none'}"
            for name, value in left.items()
            if name not in usual or usual[name] != value
        ]
        return ", ".join(parts) or UNKNOWN

    def figures(self, column: str) -> str:
        """`avg (low to high) / pass` of a column."""
        avg, passed = self.cells["avg", column], self.cells["pass", column]
        return f"{percent(avg.mean, 1)} ({avg.limits(1)}) / {percent(passed.mean, 1)}"


@dataclass(frozen=True)
class Comparison:
    """row - reference in one column of one metric; against: as what the reference is declared."""

    row: str
    reference: str
    against: tuple[str, ...]
    metric: str
    column: str
    difference: Cell
    detectable: float
    p: float
    p_holm: float

    @property
    def verdict(self) -> str:
        """What the corrected test says of the row."""
        if math.isnan(self.p_holm):
            return "not tested"
        if self.p_holm > LEVEL:
            return NOISE
        return "higher" if self.difference.mean > 0 else "lower"


@dataclass(frozen=True)
class Grid:
    """Rows side by side, with what is known of their differences; `k` are answers to a problem."""

    rows: Sequence[Row]
    benchmarks: tuple[str, ...]
    comparisons: Sequence[Comparison]
    k: int

    @property
    def columns(self) -> tuple[str, ...]:
        """The benchmarks and, last, their macro-average."""
        return (*self.benchmarks, OVERALL)

    def label(self, name: str) -> str:
        """A row's name for readers."""
        return next(row.label for row in self.rows if row.name == name)

    @property
    def first(self) -> str | None:
        """The first baseline of the experiment file, if rows are set against it."""
        return next((c.reference for c in self.comparisons if FIRST in c.against), None)

    @property
    def best(self) -> str | None:
        """The best baseline overall, if rows are set against it."""
        return next((c.reference for c in self.comparisons if BEST in c.against), None)

    def compared(self, column: str) -> Iterable[Comparison]:
        """All comparisons of avg@k in one column."""
        return (c for c in self.comparisons if (c.metric, c.column) == ("avg", column))

    def in_noise(self, row: Row, column: str) -> bool:
        """Whether the row's avg@k differs from the first baseline's by no more than noise."""
        pair = {row.name, self.first}
        return any(
            {c.row, c.reference} == pair and c.verdict == NOISE for c in self.compared(column)
        )

    @property
    def not_compared(self) -> list[str]:
        """Labels of rows that are not set against the first baseline."""
        told = [{c.row, c.reference} for c in self.compared(OVERALL)]
        others = (row for row in self.rows if row.name != self.first)
        return [row.label for row in others if {row.name, self.first} not in told]


@dataclass(frozen=True)
class Table(Grid):
    """A whole table of an experiment.

    `problems` are the ids of each benchmark's, `steps` the metrics of each run's training; `notes`
    are what else readers must know, a sentence or two each.
    """

    experiment: Experiment
    problems: Mapping[str, Sequence[str]]
    protocol: Mapping[str, Any]
    reported: list[dict[str, str]]
    steps: Mapping[str, list[dict[str, float]]]
    notes: Sequence[str]

    @property
    def setting_columns(self) -> list[str]:
        """Every setting that some row has, of its objective and then of training."""
        of_training = [f"{TRAIN}{key}" for key in Train.model_fields]
        there = {key for row in self.rows for key in row.settings}
        objectives = [row.objective for row in self.rows if row.objective]
        return [key for key in [*setting_names(objectives), *of_training] if key in there]
