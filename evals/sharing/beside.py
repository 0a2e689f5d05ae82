"""One's own rows beside stored ones, and the differences between the two.

Rows are paired as in an experiment of its own, problem by problem and seed by seed, as far as both
have a seed. What was trained to the same weights in both places is one row, and no difference: it
would pass for a pair that no seed moves.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from kpo.common.cli import UserError
from kpo.config.compare import Pair
from kpo.config.grid import TRAIN
from kpo.config.train import OF_A_METHOD
from kpo.evals.sharing.alike import check_alike, trained_with
from kpo.evals.sharing.stored import SCORES, Stored
from kpo.evals.table.comparisons import comparisons
from kpo.evals.table.data import Grid, Row

THEIRS = "stored:"
"""Before the name of a stored row."""


@dataclass(frozen=True)
class Beside:
    """Two sets of results in one grid.

    Attributes:
        pairs: how many rows and references are compared, which Holm's correction counts.
        seeds: those that both have, by which rows are paired.
        same: one's own rows that are also stored ones, by name, and these.
        apart: how the two were computed otherwise, a phrase each.
    """

    mine: Stored
    theirs: Stored
    grid: Grid
    pairs: int
    seeds: tuple[int, ...]
    same: Mapping[str, str]
    apart: Sequence[str]


def beside(mine: Stored, theirs: Stored, against: Sequence[str] = ()) -> Beside:
    """Set one's own rows against stored ones: those named in `against`, else all.

    Raises UserError for results that cannot be compared, or the name of no stored row.
    """
    apart = check_alike(mine, theirs)
    references = [THEIRS + name for name in _references(theirs, against)]
    same = {name: twin for name in mine.rows if (twin := _twin(mine, theirs, name))}
    own = [row for name, row in _told(mine, theirs).items() if name not in same]
    stored = [
        replace(row, name=THEIRS + name, label=f"{row.label}, stored" if row.seeds else row.label)
        for name, row in _told(theirs, mine).items()
    ]
    rows = [*stored[:1], *own, *stored[1:]]
    seeds = tuple(seed for seed in mine.seeds if seed in theirs.seeds)
    declared: Mapping[Pair, tuple[str, ...]] = {}
    if mine.right and theirs.right and seeds:
        if mine.problems != theirs.problems:
            raise UserError(f"{mine.name} and {theirs.name}: {SCORES} is of other problems")
        declared = _declared(own, stored, references)
    found = comparisons(declared, [_of_seeds(row, seeds) for row in rows]) if declared else ()
    table = Grid(rows, mine.benchmarks, list(found), mine.k)
    return Beside(mine, theirs, table, len(declared), seeds, same, apart)


def _references(theirs: Stored, against: Sequence[str]) -> Sequence[str]:
    if unknown := [name for name in against if name not in theirs.rows]:
        there = ", ".join(theirs.rows)
        raise UserError(f"--against {unknown[0]}: {theirs.name} has no such row; it has {there}")
    return against or [*theirs.rows]


def _twin(mine: Stored, theirs: Stored, name: str) -> str | None:
    """The stored row of the same weights as one's own, seed by seed."""

    def weights(stored: Stored, row: Row) -> dict[int, str]:
        runs = row.runs or {-1: row.name}
        return {seed: stored.manifest("evals", run)["model"] for seed, run in runs.items()}

    own = weights(mine, mine.rows[name])
    return next(
        (
            other
            for other, row in theirs.rows.items()
            if own.items() <= weights(theirs, row).items()
        ),
        None,
    )


def _told(stored: Stored, other: Stored) -> dict[str, Row]:
    """Rows whose settings tell what training has otherwise than some row of either."""
    trains = [
        trained_with(one, run)
        for one in (stored, other)
        for row in one.rows.values()
        for run in [*row.runs.values()][:1]
    ]
    varied = [
        key for key in sorted(OF_A_METHOD) if any(t.get(key) != trains[0].get(key) for t in trains)
    ]
    rows = {}
    for name, row in stored.rows.items():
        of_objective = {k: v for k, v in row.settings.items() if not k.startswith(TRAIN)}
        train = trained_with(stored, row.runs[row.seeds[0]]) if row.seeds else {}
        own = {f"{TRAIN}{key}": train[key] for key in varied if key in train}
        rows[name] = replace(row, settings=of_objective | own)
    return rows


def _of_seeds(row: Row, seeds: Sequence[int]) -> Row:
    """A row with the runs of some of its seeds alone."""
    if not row.seeds:
        return row
    places = [row.seeds.index(seed) for seed in seeds]
    scores = {metric: [block[places] for block in blocks] for metric, blocks in row.scores.items()}
    lost = tuple(seed for seed in row.collapsed if seed in seeds)
    return replace(row, seeds=tuple(seeds), scores=scores, collapsed=lost)


def _declared(
    own: Sequence[Row], stored: Sequence[Row], references: Sequence[str]
) -> Mapping[Pair, tuple[str, ...]]:
    """Every row of one's own against every reference, and as what."""
    first = next((row.name for row in stored if row.role == "baseline"), None)
    words = {f"{THEIRS}base": ("base", "named"), first: ("first", "named")}
    return {(row.name, name): words.get(name, ("named",)) for row in own for name in references}
