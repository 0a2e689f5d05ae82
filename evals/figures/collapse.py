"""Is collapse predicted by how much of a drift the filter lets through?

A filter that starts at 0 and passes the share s of a steady drift is clipped, for that drift, like
a clip 1 / s times as wide on the response's mean (`kpo.memory.mean_pass_share`). If that is why
runs collapse, reward falls with that width alone, whatever the arm is: arms without any filter that
have the same width must collapse too, and filters with a long memory that shrink nothing must not.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, get_args

from kpo.common.cli import UserError
from kpo.common.files import write_text
from kpo.common.text import csv_text
from kpo.evals.figures.data import Row, limits, read_rows
from kpo.evals.figures.drawing import drawn, legend_below
from kpo.memory import Start, mean_pass_share

WANTED = ("name", "clip_high", "response_tokens", "reward_last5_%", "collapsed_%")
"""Columns of grid.csv that an arm cannot do without."""
MOST_NAMES = 16
"""Of more arms in a figure only the exceptions are named; all stand in the CSV beside it."""
APART, NEAR = 1.25, 1.3
"""Factors between symbols side by side, and within which they are taken for one place."""
KINDS = {"": ("no filter", "s"), "known": ("start known", "o")}
KINDS |= {"steady": ("start steady", "^"), "diffuse": ("start diffuse", "D")}


@dataclass(frozen=True)
class Arm:
    """A row of an experiment: its clip, and how it fared over its seeds.

    Attributes:
        start: the filter's, or "" for an arm without one.
        passed: share of a steady drift, mean over a response of `tokens`; 1 without a filter.
        width: the upper clip over `passed`; infinite without a clip.
        reward, low, high: mean of the last five steps in %, with its limits over seeds.
        collapsed: of its runs, %.
    """

    experiment: str
    name: str
    start: str
    tokens: float
    passed: float
    width: float
    reward: float
    low: float
    high: float
    collapsed: float


def read_arms(grid: Path) -> list[Arm]:
    """The trained rows of results/<experiment>/grid.csv that have a clip, or none, of their ratio.

    Raises UserError for a file that is not there or lacks a column.
    """
    rows = read_rows(grid, WANTED)
    return [_arm(grid.parent.name, row) for row in rows if row["reward_last5_%"]]


def _arm(experiment: str, row: Row) -> Arm:
    tokens, passed = float(row["response_tokens"]), 1.0
    start = row.get("start", "") if row.get("q") else ""
    if start:
        (known,) = (known for known in get_args(Start) if known == start)
        passed = mean_pass_share(round(tokens), float(row["q"]), known)
    clip = float(row["clip_high"]) if row["clip_high"] else math.inf
    reward, low, high = limits(row, "reward_last5_%")
    return Arm(
        experiment,
        row["name"],
        start,
        tokens,
        passed,
        width=clip / passed,
        reward=reward,
        low=low,
        high=high,
        collapsed=float(row["collapsed_%"]),
    )


def arm_rows(arms: Iterable[Arm]) -> Iterable[list[str]]:
    """Header and rows of the figure's CSV."""
    names = [field.name for field in fields(Arm)]
    yield names
    for arm in arms:
        values = (getattr(arm, name) for name in names)
        yield [v if isinstance(v, str) else f"{v:.6g}".replace("nan", "") for v in values]


def misjudged(arms: Sequence[Arm]) -> tuple[float, list[Arm]]:
    """The width that best parts arms of which most runs collapse from the others, and its errors.

    A width such that all wider arms should collapse and no other; the fewest errors, the narrowest
    of several such widths; in the middle, on a log scale, between the arms that it parts.
    """
    widths = sorted({0.0, *(arm.width for arm in arms)})
    wrong = {
        width: [arm for arm in arms if (arm.width > width) != (arm.collapsed > 50)]
        for width in widths
    }
    best = min(widths, key=lambda width: len(wrong[width]))
    above = min((width for width in widths if width > best), default=best)
    return best if math.isinf(above) else math.sqrt(best * above), wrong[best]


def draw_collapse(grids: Sequence[Path], out: Sequence[Path]) -> None:
    """The figure of these experiments' arms, a CSV beside it; says which arms are exceptions.

    Raises UserError where nothing was trained.
    """
    arms = [arm for path in grids for arm in read_arms(path)]
    if not arms:
        raise UserError(f"{', '.join(map(str, grids))}: no trained rows")
    width, wrong = misjudged(arms)
    _draw(arms, width, out, named=arms if len(arms) <= MOST_NAMES else wrong)
    write_text(out[0].with_suffix(".csv"), csv_text(arm_rows(arms)))
    names = ", ".join(f"{arm.experiment}/{arm.name}" for arm in wrong) or "none"
    print(
        f"{len(arms)} arms: where the clip that a drift meets is wider than {width:.3g}, most runs"
        f" collapse, with {len(wrong)} exceptions ({names})"
    )


def _draw(
    arms: Sequence[Arm], threshold: float, out: Sequence[Path], *, named: Collection[Arm]
) -> None:
    """Reward and share of collapsed runs over the width of the clip that a drift meets.

    Arms of one width stand side by side; those of `named` with their names.
    """
    finite = [arm.width for arm in arms if math.isfinite(arm.width)]
    beyond = 10 ** (math.ceil(math.log10(max(finite))) + 1)  # where "no clip" stands
    with drawn(out, 7.0, 6.0, rows=2, sharex=True) as ((above,), (below,)):
        places = _side_by_side([min(arm.width, beyond) for arm in arms])
        for arm, x in zip(arms, places, strict=True):
            label, marker = KINDS[arm.start]
            errors = [[arm.reward - arm.low], [arm.high - arm.reward]]
            style: dict[str, Any] = {"marker": marker, "color": "black", "markerfacecolor": "white"}
            style |= {"linestyle": ""}
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
        legend_below([[above]], columns=4)


def _side_by_side(widths: Sequence[float]) -> list[float]:
    """Values that are nearly equal apart from each other, on a log scale."""
    groups = [round(math.log(width) / math.log(NEAR)) for width in widths]
    seen, of = Counter[int](), Counter(groups)
    places = []
    for width, group in zip(widths, groups, strict=True):
        places.append(width * APART ** (seen[group] - (of[group] - 1) / 2))
        seen[group] += 1
    return places
