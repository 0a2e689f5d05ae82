"""Objectives as estimators of the policy gradient by age of the rollouts, from shootout.csv."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from kpo.evals.figures.data import read_rows, value
from kpo.evals.figures.drawing import SMALL, drawn, legend_below, point

ALL = "all"
"""In place of a seed: the mean over seeds."""
MEASURES = {
    "cosine_batch": "cosine with the true gradient",
    "mse_scaled": "error left at the best step size",
}
FRESH, USED = "fresh", "trained_on"
LOOKS = {FRESH: ("o", "black", "not yet trained on"), USED: ("D", "white", "trained on")}


def draw_shootout(path: Path, out: Sequence[Path]) -> None:
    """A line a method, a panel an age and measure, with two standard errors to each side."""
    wanted = ["seed", "rollouts", "age", "label", *MEASURES]
    rows = [row for row in read_rows(path, wanted) if row["seed"] == ALL]
    labels = list(dict.fromkeys(row["label"] for row in rows))
    ages = sorted({int(row["age"]) for row in rows})
    height = 0.8 + len(MEASURES) * (0.6 + 0.17 * len(labels))
    size = len(MEASURES), len(ages)
    with drawn(out, 8.5, height, *size, sharex="row", sharey=True) as panels:
        for (measure, title), across in zip(MEASURES.items(), panels, strict=True):
            for age, axes in zip(ages, across, strict=True):
                for row in (row for row in rows if int(row["age"]) == age):
                    marker, fill, told = LOOKS[row["rollouts"]]
                    mean, error = value(row[measure]), 2 * value(row[f"{measure}_se"])
                    y = labels.index(row["label"]) + (0.2 if row["rollouts"] == USED else 0)
                    ends = mean, mean - error, mean + error
                    point(axes, y, ends, marker=marker, markerfacecolor=fill, label=told)
                axes.set_title(f"age {age} [updates]", fontsize=9)
            across[len(ages) // 2].set_xlabel(title)
            across[0].set_yticks(range(len(labels)), labels, fontsize=SMALL)
        panels[0][0].invert_yaxis()
        legend_below(panels)
