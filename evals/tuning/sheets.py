"""The tuning surface as CSV, written and read back. Scores are in %."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from kpo.common.cli import UserError
from kpo.common.text import csv_text
from kpo.evals.table.data import percent
from kpo.evals.tuning.surface import Point

YES, NO = "yes", "no"


def surface_csv(points: Sequence[Point]) -> str:
    """A row a point; `at_edge` of a chosen one names the axes at whose end it lies."""
    axes = list(dict.fromkeys(axis for point in points for axis in point.at))
    rows = (
        [
            *(point.family, point.name, *(point.at.get(axis, "") for axis in axes)),
            *(point.settings, " ".join(map(str, point.seeds))),
            *map(percent, (point.score.mean, point.score.low, point.score.high, point.collapsed)),
            *((YES, "; ".join(point.edges)) if point.chosen else (NO, "")),
            *(str(point.cost.runs), str(point.cost.tokens), f"{point.cost.seconds:.0f}"),
        ]
        for point in points
    )
    header = ["family", "name", *axes, "settings", "seeds", "avg", "low", "high"]
    return csv_text(
        [[*header, "collapsed", "chosen", "at_edge", "runs", "tokens", "seconds"], *rows]
    )


@dataclass(frozen=True)
class Choice:
    """What `surface_csv` says of a family: the settings chosen, at which edges, for what cost."""

    settings: str
    at_edge: str
    runs: int
    tokens: int
    seconds: int


def read_choices(path: Path) -> dict[str, Choice]:
    """The choice of each family. Raises UserError for a file that is missing or of another kind."""
    if not path.is_file():
        raise UserError(f"{path} is missing; python -m evals.tune writes it")
    rows = [*csv.DictReader(path.read_text(encoding="utf-8").splitlines())]
    try:
        return {
            row["family"]: Choice(
                row["settings"],
                row["at_edge"],
                *(
                    sum(int(r[column]) for r in rows if r["family"] == row["family"])
                    for column in ("runs", "tokens", "seconds")
                ),
            )
            for row in rows
            if row["chosen"] == YES
        }
    except (KeyError, ValueError) as error:
        raise UserError(f"{path} is no tuning surface ({error}); make it again") from None
