"""The comparison as a CSV: a row for each seed, age and method, then their means over seeds."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from kpo.estimators.figures import FIGURES, Array, Replicates, figures

Row = dict[str, Any]

COMPARED = [FIGURES.index(name) for name in ("cosine_batch", "bias", "mse", "mse_scaled")]
"""Figures whose difference to the first method's is a column too."""
ERROR, VERSUS = "_se", "_minus_first"
LOUD = 0.5
"""Share of noise in the square of the truth."""
ALL = "all"
"""In place of a seed: the mean over seeds."""


@dataclass(frozen=True)
class Found:
    """A method at one age: its place, what was counted and measured there, and its moments."""

    rollouts: str
    age: int
    method: str
    batches: int
    measured: Mapping[str, float]
    moments: Replicates

    def row(self, seed: int | str, label: str, first: Replicates) -> Row:
        """Its row, with differences to the moments of the first method at the same place."""
        own = self.moments.map(figures)
        difference = own - first.map(figures)
        versus = [FIGURES[i] + VERSUS for i in COMPARED]
        return {
            **{"seed": seed, "rollouts": self.rollouts, "age": self.age},
            **{"method": self.method, "label": label, "batches": self.batches},
            **self.measured,
            **_with_errors(FIGURES, own.whole, own.errors),
            **_with_errors(versus, difference.whole[COMPARED], difference.errors[COMPARED]),
        }


def _with_errors(names: Sequence[str], values: Array, errors: Array) -> Row:
    row: Row = {}
    for name, value, error in zip(names, values.tolist(), errors.tolist(), strict=True):
        row |= {name: value, name + ERROR: error}
    return row


def rows(seed: int | str, labels: Mapping[str, str], found: Iterable[Found]) -> list[Row]:
    """The rows of one seed; at each place the first method comes first."""
    firsts: dict[tuple[str, int], Replicates] = {}
    return [
        each.row(
            seed,
            labels[each.method],
            firsts.setdefault((each.rollouts, each.age), each.moments),
        )
        for each in found
    ]


def over_seeds(found: Iterable[Sequence[Found]]) -> list[Found]:
    """The means over seeds, each of which has the same places in the same order.

    Standard errors are those at the seeds' own weights: seeds are no sample of more.
    """
    return [_mean(same) for same in zip(*found, strict=True)]


def _mean(same: Sequence[Found]) -> Found:
    measured = {
        key: sum(each.measured[key] for each in same) / len(same) for key in same[0].measured
    }
    return replace(
        same[0],
        batches=sum(each.batches for each in same),
        measured=measured,
        moments=Replicates.mean([each.moments for each in same]),
    )


def doubts(row: Row) -> str | None:
    """What to say of a row whose figures are not to be relied on."""
    place = f"seed {row['seed']}, {row['method']}"
    if not row["truth_noise"] <= LOUD:
        return f"{place}: the true gradient is hardly more than noise; raise --truth"
    if row["batches"] > 1 and math.isnan(row["variance"]):
        return f"{place}: a gradient at age {row['age']} is not finite; its cells are empty"
    return None
