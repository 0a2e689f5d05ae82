"""What a comparison table holds, before it is written in some format."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

from evals.table.runs import Diagnostics


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
    """The base model (objective "") or a method setting; cells by (metric, column).

    `still` are those of the seeds whose runs learnt nothing, `noise` is what rounding does to the
    log-ratios of its runs (`kpo.trainer.noise`), empty where that was not measured.
    """

    SETTINGS: ClassVar = ("q", "memory", "clip_low", "clip_high")

    name: str
    label: str
    objective: str
    settings: Mapping[str, float | None]
    seeds: tuple[int, ...]
    cells: Mapping[tuple[str, str], Cell]
    diagnostics: Mapping[str, Diagnostics]
    still: tuple[int, ...] = ()
    noise: Mapping[str, float] = field(default_factory=dict)

    @property
    def is_baseline(self) -> bool:
        """A trained row that is not KPO."""
        return self.objective not in ("", "kpo")


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
    verdict: str


@dataclass(frozen=True)
class Table:
    """A whole table: columns are the benchmarks and, last, their macro-average.

    `notes` are what else its readers must know, a sentence or two each.
    """

    experiment: str
    k: int
    problems: Mapping[str, int]
    columns: tuple[str, ...]
    seeds: tuple[int, ...]
    rows: list[Row]
    grpo: str | None
    best: str | None
    comparisons: list[Comparison]
    protocol: Mapping[str, Any]
    rule: str
    reported: list[dict[str, str]]
    notes: Sequence[str]

    def label(self, name: str) -> str:
        """A row's name for readers."""
        return next(row.label for row in self.rows if row.name == name)

    def against(self, reference: str | None, metric: str, column: str) -> list[Comparison]:
        """Comparisons with a reference in one column."""
        return [
            c
            for c in self.comparisons
            if (c.reference, c.metric, c.column) == (reference, metric, column)
        ]
