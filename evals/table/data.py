"""What a comparison table holds, before it is written in some format."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from evals.metrics import Floats
from evals.statistics.differences import LEVEL
from kpo.common.cli import UserError
from kpo.config.experiment import Experiment
from kpo.objective import Role

NOISE = "inside the noise"
OVERALL = "overall"
Tally = Counter[str]
"""Counts of a benchmark's responses: see `evals.table.runs.tally`."""


class TableError(UserError):
    """There can be no table; the message is one sentence that names the file."""


@dataclass(frozen=True)
class Cell:
    """A mean and the limits of its 95 % interval, as shares; nan where unknown."""

    mean: float
    low: float
    high: float

    @property
    def half_width(self) -> float:
        """Half the interval's width (which need not lie evenly around the mean)."""
        return (self.high - self.low) / 2


@dataclass(frozen=True)
class Row:
    """The base model (objective "", role None) or a method.

    Attributes:
        settings: every setting of its objective, those left out or derived included.
        scores: of single problems by metric, an array [seeds, problems] a benchmark.
        cells: by (metric, column).
        tallies: by benchmark, over all seeds.
        still: seeds whose runs learnt nothing.
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
    still: tuple[int, ...] = ()


@dataclass(frozen=True)
class Comparison:
    """row - reference in one column of one metric; against: which reference this is."""

    row: str
    reference: str
    against: str
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
class Table:
    """A whole table of an experiment.

    Every row is set against `first`, the first baseline of the experiment file, and against `best`,
    the best of them. `steps` are the metrics of each run's training; `notes` are what else readers
    must know, a sentence or two each.
    """

    experiment: Experiment
    rows: list[Row]
    problems: Mapping[str, int]
    first: str | None
    best: str | None
    comparisons: list[Comparison]
    protocol: Mapping[str, Any]
    reported: list[dict[str, str]]
    steps: Mapping[str, list[dict[str, float]]]
    notes: Sequence[str]

    @property
    def k(self) -> int:
        """Answers to a problem."""
        return self.experiment.evaluate.samples

    @property
    def columns(self) -> tuple[str, ...]:
        """The benchmarks and, last, their macro-average."""
        return (*self.problems, OVERALL)

    def label(self, name: str) -> str:
        """A row's name for readers."""
        return next(row.label for row in self.rows if row.name == name)

    def against(self, reference: str | None, column: str) -> Iterable[Comparison]:
        """Comparisons of avg@k with a reference in one column."""
        for c in self.comparisons:
            if (c.reference, c.metric, c.column) == (reference, "avg", column):
                yield c
