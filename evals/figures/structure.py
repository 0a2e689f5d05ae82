"""Structure in log-ratios beside what chance gives, from structure.csv."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes

from kpo.common.cli import UserError
from kpo.evals.figures.data import UNKNOWN, Row, read_rows, value
from kpo.evals.figures.drawing import SMALL, drawn, legend_below, line, point

MEASURES = {
    "switch": "switches of\ndirection [share]",
    "switch_filtered": "switches once\nfiltered [share]",
    "low_frequency": "power at low\nfrequencies [share]",
    "mean_spread": "spread of means\n[white noise: 1]",
    "gain": "gain of a level\nthat moves [nats]",
    "q": "its Q / V",
}
"""Columns that are drawn: what they are stands in kpo/series/measures.py."""
LOGARITHMIC = {"q"}
MEASURED, SHUFFLED = "measured", "shuffled"
LOOKS: dict[str, dict[str, Any]] = {
    "paper": {"marker": "x"},
    "random signs": {"marker": "^", "markerfacecolor": "white", "markersize": 5},
    SHUFFLED: {"marker": "s", "markerfacecolor": "white", "markersize": 5},
    MEASURED: {"marker": "o", "markersize": 3},
}
"""How a value is marked by what it was measured on; the last on top."""
PLACE = ("experiment", "method", "stage", "use")
USES = {
    "first": "responses not yet trained on",
    "later": "responses trained on before",
}
LAG = "acf_"
TICKS = (1, 2, 4, 8, 16, 32, 64)


def read_structure(path: Path) -> dict[tuple[str, ...], dict[str, Row]]:
    """Rows by place and by what was measured. Raises UserError for another kind of file."""
    found: dict[tuple[str, ...], dict[str, Row]] = {}
    for row in read_rows(path, [*PLACE, "what", *MEASURES]):
        found.setdefault(tuple(row[part] for part in PLACE), {})[row["what"]] = row
    return found


def draw_structure(path: Path, out: Sequence[Path]) -> None:
    """A line a method and stage, a panel a measure; above, responses not yet trained on."""
    places = read_structure(path)
    several = len({place[0] for place in places}) > 1
    of = {use: [place for place in places if place[-1] == use] for use in USES}
    of = {use: own for use, own in of.items() if own}
    size, ratios = (len(of), len(MEASURES)), [len(own) + 0.5 for own in of.values()]
    height = 1.2 + sum(0.18 * ratio + 0.25 for ratio in ratios)
    share: dict[str, Any] = {"sharex": "col", "sharey": "row", "height_ratios": ratios}
    with drawn(out, 9.0, height, *size, **share) as panels:
        for (use, own), across in zip(of.items(), panels, strict=True):
            told = [", ".join(place[0 if several else 1 : -1]) for place in own]
            across[0].set_yticks(range(len(own)), told, fontsize=SMALL)
            across[0].set_ylim(len(own) - 0.4, -0.6)
            across[0].set_title(USES[use], loc="left", fontsize=9)
            for measure, axes in zip(MEASURES, across, strict=True):
                _draw_measure(axes, [places[place] for place in own], measure)
        for (measure, title), axes in zip(MEASURES.items(), panels[-1], strict=True):
            axes.set_xlabel(title, fontsize=SMALL)
            axes.tick_params(axis="x", labelsize=SMALL)
            if measure in LOGARITHMIC:
                axes.set_xscale("log")
        legend_below(panels, columns=4)


def _draw_measure(axes: Axes, places: Sequence[Mapping[str, Row]], measure: str) -> None:
    """One measure of each place, and what chance and the paper give."""
    for what, look in LOOKS.items():
        for y, rows in enumerate(places):
            if what in rows:
                point(axes, y, (value(rows[what][measure]), UNKNOWN, UNKNOWN), **look, label=what)


def draw_autocorrelation(path: Path, out: Sequence[Path]) -> None:
    """A line a method at the last stage of its training, over lags; a panel a use of responses."""
    places = read_structure(path)
    lags = [column for column in next(iter(next(iter(places.values())).values())) if LAG in column]
    if not lags:
        raise UserError(f"{path}: has no autocorrelations, columns {LAG}1 and so on")
    stages = {place[:2]: place[2] for place in places}
    last = {place: rows for place, rows in places.items() if place[2] == stages[place[:2]]}
    styles = {place: n for n, place in enumerate(stages)}
    uses = [use for use in USES if any(place[-1] == use for place in last)]
    with drawn(out, 8.0, 3.8, 1, len(uses), sharey=True) as [panels]:
        for use, axes in zip(uses, panels, strict=True):
            own = {place[:2]: rows for place, rows in last.items() if place[-1] == use}
            chance = [_curve(rows[SHUFFLED], lags) for rows in own.values()]
            low, high = np.min(chance, axis=0), np.max(chance, axis=0)
            ticks = [int(lag.removeprefix(LAG)) for lag in lags]
            axes.fill_between(ticks, low, high, color="0.8", linewidth=0, label=SHUFFLED)
            for place, rows in own.items():
                found = zip(ticks, _curve(rows[MEASURED], lags), strict=True)
                curve = [(lag, (r, UNKNOWN, UNKNOWN)) for lag, r in found]
                line(axes, curve, styles[place], place[1], marked=False)
            axes.set_xscale("log", base=2)
            axes.set_xticks(TICKS, map(str, TICKS))
            axes.set_xlabel("lag [tokens]")
            axes.set_title(USES[use], fontsize=9)
        panels[0].set_ylabel("autocorrelation of log-ratios")
        legend_below([panels])


def _curve(row: Row, lags: Sequence[str]) -> list[float]:
    return [value(row[lag]) for lag in lags]
