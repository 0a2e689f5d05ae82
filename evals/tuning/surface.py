"""The tuning surface: every point of every method's grid, and the best one of each.

The points of a family (a row of the experiment file with a `grid`) are compared by avg@k overall
on validation problems, the mean over the tuning's own seeds. Of equal ones the smaller learning
rate is taken, then the one that stands first in the file.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from kpo.common.cli import UserError
from kpo.config.experiment import Experiment
from kpo.evals.table.build import build_table
from kpo.evals.table.data import OVERALL, Cell, Row, Table
from kpo.evals.table.manifests import read_manifest

VALIDATION = "validation"
"""`task.held_out` of an experiment whose scores may choose settings."""
DIGITS = 12
"""Means that agree to so many are equal: what is left is the order of additions."""


@dataclass(frozen=True)
class Cost:
    """What runs took: how many, tokens of their training's responses, seconds of both jobs."""

    runs: int
    tokens: int
    seconds: float


@dataclass(frozen=True)
class Point:
    """A row of the surface: a family's settings at one place of its grid.

    Attributes:
        settings: of objective and training, for readers.
        score: avg@k overall with its limits.
        collapsed: share of its runs, as `evals.table.rewards` defines it.
        edges: axes at whose end the point lies, and which end.
        chosen: whether it is its family's best.
    """

    name: str
    family: str
    at: Mapping[str, str]
    lr: float
    settings: str
    seeds: tuple[int, ...]
    score: Cell
    collapsed: float | None
    cost: Cost
    edges: tuple[str, ...] = ()
    chosen: bool = False


def read_surface(experiment: Experiment, results: Path) -> list[Point]:
    """Every point of the experiment's grids, in the order of the file.

    Raises UserError for an experiment that has no grid or is on test problems, and for runs that
    are missing or cannot stand in one table.
    """
    name = experiment.experiment
    families = {m.family for m in experiment.methods.values()} - {None}
    if not families:
        raise UserError(f"{name}: no method has a grid, so there is nothing to choose from")
    if getattr(experiment.task, "held_out", None) != VALIDATION:
        raise UserError(
            f"{name}: settings are chosen on validation problems: set task.held_out to {VALIDATION}"
        )
    _check_whole(experiment, results / name)
    table = build_table(experiment, results)
    points = [_point(table, row, results / name) for row in table.rows if row.name != "base"]
    points = [point for point in points if point.family]
    return [p for family in families_of(points).values() for p in _chosen(family)]


def families_of(points: Sequence[Point]) -> dict[str, list[Point]]:
    """Points by family, in the order of the file."""
    found: dict[str, list[Point]] = {}
    for point in points:
        found.setdefault(point.family, []).append(point)
    return found


def cost_of(points: Sequence[Point]) -> Cost:
    """Of all the points together."""
    costs = [point.cost for point in points]
    return Cost(
        sum(c.runs for c in costs), sum(c.tokens for c in costs), sum(c.seconds for c in costs)
    )


def _check_whole(experiment: Experiment, folder: Path) -> None:
    """Raise UserError that names the runs which are not there, of all that the surface needs."""
    missing = [
        run
        for run in ["base", *experiment.runs]
        if not (folder / "evals" / run / "grades.jsonl").is_file()
    ]
    if missing:
        more = f" and {len(missing) - 4} more" if len(missing) > 4 else ""
        raise UserError(
            f"{folder}/evals: the surface is not whole: {len(missing)} of"
            f" {len(experiment.runs) + 1} evaluations are missing, {', '.join(missing[:4])}{more}"
        )


def _point(table: Table, row: Row, folder: Path) -> Point:
    method, train = table.experiment.methods[row.name], table.experiment.train_of(row.name)
    runs = row.runs.values()
    tokens = sum(step["response_tokens"] for run in runs for step in table.steps[run])
    manifests = [
        read_manifest(folder / part / run / "manifest.json")
        for run in runs
        for part in ("runs", "evals")
    ]
    return Point(
        row.name,
        method.family or "",
        method.at,
        train.lr,
        row.settings_text,
        row.seeds,
        row.cells["avg", OVERALL],
        row.collapsed_share,
        Cost(
            len(runs),
            round(tokens * train.prompts * train.group),
            sum(float(manifest["wall_time_s"]) for manifest in manifests),
        ),
    )


def _chosen(family: Sequence[Point]) -> Iterator[Point]:
    """The points of a family, with their edges, the best one marked."""
    best = max(family, key=lambda point: (round(point.score.mean, DIGITS), -point.lr))
    axes = {axis: _ordered([point.at[axis] for point in family]) for axis in family[0].at}
    for point in family:
        edges = tuple(
            f"{axis} {end}"
            for axis, values in axes.items()
            for end, value in (("lowest", values[0]), ("highest", values[-1]))
            if len(values) > 1 and point.at[axis] == value
        )
        yield replace(point, edges=edges, chosen=point is best)


def _ordered(values: Sequence[str]) -> list[str]:
    """An axis's values, each once: by size where they are numbers, else as the file has them."""
    distinct = list(dict.fromkeys(values))
    try:
        return sorted(distinct, key=float)
    except ValueError:
        return distinct
