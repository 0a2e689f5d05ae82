"""Drawing: matplotlib, as PNG or SVG by the file's name, legible in black and white."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from evals.figures.collapse import Arm, read_grid
from kpo.common.cli import UserError

mpl.use("Agg")
mpl.rcParams.update({"font.size": 9, "svg.hashsalt": "kpo", "axes.spines.top": False})
mpl.rcParams.update({"axes.spines.right": False, "axes.grid": True, "grid.alpha": 0.3})
APART, NEAR = 1.25, 1.3
"""Factors between symbols side by side, and within which they are taken for one place."""
KINDS = {"": ("no filter", "s"), "known": ("start known", "o")}
KINDS |= {"steady": ("start steady", "^"), "diffuse": ("start diffuse", "D")}


@contextmanager
def drawn(out: Path, width: float, height: float, rows: int = 1) -> Iterator[list[Axes]]:
    """Axes one below the other, saved in the end: the same bytes for the same data; inches."""
    if out.suffix not in (".png", ".svg"):
        raise UserError(f"--out is {out}, but must end in .png or .svg")
    figure = Figure(figsize=(width, height), layout="constrained")
    axes = figure.subplots(rows, sharex=True, squeeze=False)
    yield list(axes[:, 0])
    out.parent.mkdir(parents=True, exist_ok=True)
    stamp = {"Date": None} if out.suffix == ".svg" else {"Software": None}
    figure.savefig(out, dpi=150, metadata=stamp)


def draw_collapse(
    arms: Sequence[Arm], threshold: float, out: Path, *, named: Collection[Arm]
) -> None:
    """Reward and share of collapsed runs over the width of the clip that a drift meets.

    Arms of one width stand side by side; those of `named` with their names.
    """
    finite = [arm.width for arm in arms if math.isfinite(arm.width)]
    beyond = 10 ** (math.ceil(math.log10(max(finite))) + 1)  # where "no clip" stands
    with drawn(out, 7.0, 6.0, rows=2) as (above, below):
        places = _side_by_side([min(arm.width, beyond) for arm in arms])
        for arm, x in zip(arms, places, strict=True):
            label, marker = KINDS[arm.start]
            errors = [[arm.reward - arm.low], [arm.high - arm.reward]]
            style: dict[str, Any] = {"marker": marker, "color": "black", "markerfacecolor": "white"}
            above.errorbar(x, arm.reward, errors, **style, elinewidth=0.7, capsize=2, label=label)
            if arm in named:
                above.annotate(
                    arm.name,
                    (x, arm.high),
                    (0, 3),
                    textcoords="offset points",
                    rotation=90,
                    ha="center",
                    fontsize=6,
                )
            below.plot(x, arm.collapsed, **style)
        below.set_xscale("log")
        below.set_xlabel(f"upper clip / mean pass share ({beyond:.0e}: no clip)")
        below.set_ylabel("collapsed runs [%]")
        above.set_ylabel("reward, last 5 steps [%]")
        above.margins(y=0.2)
        for axes in (above, below):
            if threshold > 0:
                axes.axvline(threshold, color="black", linestyle=":")
        handles, labels = above.get_legend_handles_labels()
        once = dict(zip(labels, handles, strict=True))
        above.legend(once.values(), once.keys(), loc="lower left")


def _side_by_side(widths: Sequence[float]) -> list[float]:
    """Values that are nearly equal apart from each other, on a log scale."""
    groups = [round(math.log(width) / math.log(NEAR)) for width in widths]
    seen, of = Counter[int](), Counter(groups)
    places = []
    for width, group in zip(widths, groups, strict=True):
        places.append(width * APART ** (seen[group] - (of[group] - 1) / 2))
        seen[group] += 1
    return places


def draw_grid(grid: Path, column: str, out: Path) -> None:
    """A grid's rows one below the other: a column of grid.csv with its limits."""
    rows = [row for row in read_grid(grid) if row.get(column)]
    if not rows:
        raise UserError(f"{grid}: no row has a value in the column {column}")
    with drawn(out, 7.0, 1.2 + 0.22 * len(rows)) as (axes,):
        for y, row in enumerate(rows):
            x, low, high = (float(row[f"{column}{end}"] or "nan") for end in ("", "_low", "_high"))
            axes.errorbar(x, y, xerr=[[x - low], [high - x]], fmt="ko", capsize=2)
        axes.set_yticks(range(len(rows)), [row["method"] for row in rows])
        axes.invert_yaxis()
        axes.set_xlabel(f"{column.replace('_', ' ')}, 95 % limits")
