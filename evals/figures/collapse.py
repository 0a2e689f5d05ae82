"""Is collapse predicted by how much of a drift the filter lets through?

A filter that starts at 0 and passes the share s of a steady drift is clipped, for that drift, like
a clip 1 / s times as wide on the response's mean (`kpo.memory.mean_pass_share`). If that is why
runs collapse, reward falls with that width alone, whatever the arm is: arms without any filter that
have the same width must collapse too, and filters with a long memory that shrink nothing must not.
"""

from __future__ import annotations

import csv
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import get_args

from kpo.common.cli import UserError
from kpo.memory import Start, mean_pass_share

WANTED = ("name", "clip_high", "response_tokens", "reward_last5_%", "collapsed_%")
"""Columns of grid.csv that an arm cannot do without."""


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


def read_grid(grid: Path) -> list[dict[str, str]]:
    """The rows of a grid.csv. Raises UserError for a file that is not there."""
    try:
        with grid.open(encoding="utf-8", newline="") as file:
            return list(csv.DictReader(file))
    except FileNotFoundError:
        raise UserError(f"{grid}: no such file; run the experiment first") from None


def read_arms(grid: Path) -> list[Arm]:
    """The trained rows of results/<experiment>/grid.csv that have a clip, or none, of their ratio.

    Raises UserError for a file that is not there or lacks a column.
    """
    rows = read_grid(grid)
    if missing := [column for column in WANTED if rows and column not in rows[0]]:
        raise UserError(f"{grid}: has no column {missing[0]}; it has {', '.join(rows[0])}")
    return [_arm(grid.parent.name, row) for row in rows if row["reward_last5_%"]]


def _arm(experiment: str, row: dict[str, str]) -> Arm:
    tokens, passed = float(row["response_tokens"]), 1.0
    start = row.get("start", "") if row.get("q") else ""
    if start:
        (known,) = (known for known in get_args(Start) if known == start)
        passed = mean_pass_share(round(tokens), float(row["q"]), known)
    clip = float(row["clip_high"]) if row["clip_high"] else math.inf
    reward, low, high = (
        float(row[f"reward_last5_%{end}"] or "nan") for end in ("", "_low", "_high")
    )
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
