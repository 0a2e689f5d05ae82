"""The comparison as a CSV: a row for each seed, age and method, then their means over seeds."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Mapping, Sequence
from typing import Any

from kpo.estimators.figures import FIGURES, Array, Replicates

Row = dict[str, Any]

PLACE = ("rollouts", "age", "method", "label")
"""What says which row it is, beside the seed."""
COMPARED = [FIGURES.index(name) for name in ("cosine_batch", "bias", "mse", "mse_scaled")]
"""Figures whose difference to the first method's is a column too."""
ERROR, VERSUS = "_se", "_minus_first"
LOUD = 0.5
"""Share of noise in the square of the truth."""
ALL = "all"
"""In place of a seed: the mean over seeds."""


def figures_row(own: Replicates, first: Replicates) -> Row:
    """A method's figures, and their differences to the first method's, with standard errors."""
    difference = own - first
    versus = [FIGURES[i] + VERSUS for i in COMPARED]
    return {
        **_with_errors(FIGURES, own.whole, own.errors),
        **_with_errors(versus, difference.whole[COMPARED], difference.errors[COMPARED]),
    }


def _with_errors(names: Sequence[str], values: Array, errors: Array) -> Row:
    row: Row = {}
    for name, value, error in zip(names, values.tolist(), errors.tolist(), strict=True):
        row |= {name: value, name + ERROR: error}
    return row


def doubts(row: Row) -> str | None:
    """What to say of a row whose figures are not to be relied on."""
    place = f"seed {row['seed']}, {row['method']}"
    if not row["truth_noise"] <= LOUD:
        return f"{place}: the true gradient is hardly more than noise; raise --truth"
    if row["batches"] > 1 and math.isnan(row["variance"]):
        return f"{place}: a gradient at age {row['age']} is not finite; its cells are empty"
    return None


def over_seeds(rows: Sequence[Row]) -> list[Row]:
    """The mean rows of several seeds; standard errors stay those at the seeds' own weights."""
    places: dict[tuple[Any, ...], list[Row]] = {}
    for row in rows:
        places.setdefault(tuple(row[key] for key in PLACE), []).append(row)
    return [_mean(same) for same in places.values()]


def _mean(rows: Sequence[Row]) -> Row:
    n, mean = len(rows), {**rows[0], "seed": ALL}
    for key in rows[0].keys() - {"seed", *PLACE}:
        values = [row[key] for row in rows]
        if key == "batches":
            mean[key] = sum(values)
        elif key.endswith(ERROR):
            mean[key] = math.hypot(*values) / n
        else:
            mean[key] = sum(values) / n
    return mean


def text(rows: Sequence[Mapping[str, Any]]) -> str:
    """Rows as CSV; a cell is empty where noise leaves a figure without a value."""
    file = io.StringIO()
    writer = csv.DictWriter(file, list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows({key: _cell(value) for key, value in row.items()} for row in rows)
    return file.getvalue()


def _cell(value: Any) -> str:
    if not isinstance(value, float):
        return str(value)
    return f"{value:.5g}" if math.isfinite(value) else ""
