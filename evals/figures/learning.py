"""How training went, step by step: means over seeds and their 95 % limits, from curves.csv."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from kpo.common.cli import UserError
from kpo.evals.figures.data import Limits, Row, read_rows, value
from kpo.evals.figures.drawing import SMALL, WIDTH, drawn, legend_below, line
from kpo.evals.figures.places import grid_of
from kpo.evals.statistics.aggregates import mean_over_seeds

PANELS = {
    "reward": "reward [%]",
    "entropy": "entropy [nats]",
    "kl_old": "KL to old [nats]",
    "clip_fraction": "clipped [%]",
}
"""Metrics that are drawn where they were logged, and what their axes are called."""
SHARES = {"reward", "clip_fraction"}
LOGARITHMIC = "kl_old"
REFERENCE: dict[str, Any] = {"color": "0.6", "linewidth": 2.5}
LEAST_SEEDS = 3
"""Of which limits are drawn."""
Curve = list[tuple[float, Limits]]
"""Steps, and at each the mean with its limits."""
Curves = Mapping[str, Mapping[str, Curve]]
"""By name of the row and metric."""


def read_curves(path: Path) -> Curves:
    """Means over seeds of every row's metrics, in the order of the file."""
    rows = read_rows(path, ["name", "seed", "step", "reward"])
    logged = [metric for metric in PANELS if metric in rows[0]]
    return {
        name: {metric: _curve([r for r in rows if r["name"] == name], metric) for metric in logged}
        for name in dict.fromkeys(row["name"] for row in rows)
    }


def _curve(rows: Sequence[Row], metric: str) -> Curve:
    """Steps at which all of a row's seeds have a value."""
    found: dict[int, list[float]] = {}
    for row in rows:
        if row[metric]:
            found.setdefault(int(row["step"]), []).append(value(row[metric]))
    seeds = max(map(len, found.values()), default=0)
    whole = {step: values for step, values in found.items() if len(values) == seeds}
    over_seeds = _share if metric in SHARES else _mean
    return [(step, over_seeds(values)) for step, values in whole.items()]


def _mean(values: Sequence[float]) -> Limits:
    """Of what is not below 0; neither are its limits."""
    mean, low, high = (max(float(x), 0.0) for x in mean_over_seeds(values))
    return (mean, low, high) if len(values) >= LEAST_SEEDS else (mean, np.nan, np.nan)


def _share(values: Sequence[float]) -> Limits:
    """In %; nor are they above 100."""
    mean, low, high = (100 * float(x) for x in np.minimum(_mean(values), 1))
    return mean, low, high


def groups(rows: Sequence[Row]) -> dict[str, dict[str, str]]:
    """Which rows of grid.csv share a line of panels: labels of the lines by name, by heading.

    Those of a family that differ in the axis of its grid with most values; every other row has its
    own, as have those of a family that is no grid.
    """
    families: dict[str | None, list[Row]] = {}
    for row in rows:
        families.setdefault(row.get("family"), []).append(row)
    grids = {family: grid_of(members) for family, members in families.items()}
    found: dict[str, dict[str, str]] = {}
    for row in rows:
        label, mine = row["method"], ""
        if grid := grids[row.get("family")]:
            axis, *others = grid.axes
            label = grid.families[row["family"]]
            label += "".join(f", {other.removeprefix('train.')} {row[other]}" for other in others)
            mine = f"{axis.removeprefix('train.')} {row[axis]}".replace("_", " ")
        found.setdefault(label, {})[row["name"]] = mine
    return found


def draw_learning(curves_path: Path, grid_path: Path, out: Sequence[Path]) -> None:
    """A line of panels a method, one a metric; the file's first method in grey in all of them.

    Raises UserError where the two files do not have the same rows.
    """
    curves = read_curves(curves_path)
    rows = [row for row in read_rows(grid_path, ["name", "method"]) if row["name"] in curves]
    if unknown := curves.keys() - {row["name"] for row in rows}:
        raise UserError(f"{grid_path}: has no row {min(unknown)}, which {curves_path} has")
    lines = groups(rows)
    first, label = rows[0]["name"], rows[0]["method"].replace("_", " ")
    size = len(lines), len(curves[first])
    alone = "the method" if len(lines) == len(curves) else None
    linear = _middle(curve[LOGARITHMIC] for curve in curves.values() if LOGARITHMIC in curve)
    with drawn(out, WIDTH, 0.8 + 1.05 * len(lines), *size, sharex=True, sharey="col") as axes:
        every = [one for panels in axes for one in panels]
        for one in every:  # they share axes: scaled once, not all of them again for each line
            one.set_autoscale_on(False)
        for (heading, names), panels in zip(lines.items(), axes, strict=True):
            panels[0].set_title(heading.replace("_", " "), loc="left", fontsize=9)
            for metric, one in zip(curves[first], panels, strict=True):
                steps = [step for step, _ in curves[first][metric]]
                means = [mean for _, (mean, _, _) in curves[first][metric]]
                one.plot(steps, means, **REFERENCE, label=f"{label} (everywhere)")
                for place, (name, told) in enumerate(names.items()):
                    line(one, curves[name][metric], place, told or alone, marked=False)
                _name_axes(one, metric, linear)
        for one in every:
            one.set_autoscale_on(True)
        for one in axes[-1]:
            one.set_xlabel("step", fontsize=SMALL)
            one.xaxis.set_major_locator(MaxNLocator(5, integer=True))
            if one.get_yscale() == "symlog":
                one.set_ylim(bottom=0)
        legend_below(axes)


def _middle(curves: Iterable[Curve]) -> float:
    """The power of ten below the median of all means."""
    means = [mean for curve in curves for _, (mean, _, _) in curve if mean > 0]
    return float(10 ** np.floor(np.log10(np.median(means)))) if means else 1.0


def _name_axes(axes: Axes, metric: str, linear: float) -> None:
    """Title and scale: LOGARITHMIC's is linear up to `linear`, as its intervals may reach 0."""
    axes.set_ylabel(PANELS[metric], fontsize=SMALL)
    axes.tick_params(labelsize=SMALL)
    if metric == LOGARITHMIC:
        axes.set_yscale("symlog", linthresh=linear)
