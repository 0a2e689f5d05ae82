"""Two sets of results side by side, in Markdown, in the words of a table."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from kpo.config.experiment import run_name
from kpo.evals.sharing.beside import Beside
from kpo.evals.sharing.stored import SCORES, TRAINING
from kpo.evals.table.data import NOISE
from kpo.evals.table.documents import MARK, differences, grid
from kpo.evals.table.trainings import STILL


def markdown(found: Beside) -> str:
    """The grid, what its readers must know, and the differences if there are any."""
    notes = (*_cells(found), *_pairs(found), *_same(found), *_trained(found))
    parts = [
        f"# {found.mine.name} beside {found.theirs.name}",
        grid(found.grid),
        "\n".join(f"- {note}" for note in notes),
    ]
    if found.pairs:
        words = (
            f"Row minus column in avg@{found.grid.k} overall, in points (95 % limits of a single"
            f" comparison); {MARK}: {NOISE} after Holm's correction for these {found.pairs} pairs."
        )
        parts += ["## Differences", words, differences(found.grid)]
    return "\n\n".join(parts) + "\n"


def _cells(found: Beside) -> Iterator[str]:
    k = found.grid.k
    yield (
        f"Cells: avg@{k} (limits of its 95 % interval) / pass@{k}, in %. `overall` is the mean of"
        " the benchmarks."
    )
    yield f"Rows called stored are those of {found.theirs.name}."
    if found.grid.first:
        yield (
            f"{MARK}: the difference to {found.grid.label(found.grid.first)} in avg@{k} is {NOISE}"
            " (paired by problem and seed; p > 0.05 after Holm's correction)."
        )


def _pairs(found: Beside) -> Iterator[str]:
    """By which seeds rows are paired, or why they are not."""
    sides = (found.mine, found.theirs)
    seeds = {side.name: side.seeds for side in sides}
    if len(found.same) == len(found.mine.rows):
        yield f"No differences: every row of {found.mine.name} is a stored one, too."
    elif bare := [side.name for side in sides if not side.right]:
        yield (
            f"No differences: {' and '.join(bare)} has no {SCORES} and {TRAINING}, by which rows"
            " are paired."
        )
    elif not found.seeds:
        told = " and ".join(f"{_listed(own)} in {name}" for name, own in seeds.items())
        yield f"No differences: no training seed is in both ({told})."
    elif len(found.seeds) == 1:
        yield (
            f"Differences are of the one training seed in both, {found.seeds[0]}: what another"
            " would change is in no interval, and no difference is tested."
        )
    elif any(own != found.seeds for own in seeds.values()):
        both = _listed(found.seeds)
        yield f"Differences are of the training seeds in both, {both}; cells of all."


def _same(found: Beside) -> Iterator[str]:
    """Rows that are in both places."""
    labels = [found.theirs.rows[twin].label for twin in found.same.values()]
    if labels:
        yield f"The same weights in both, so shown once, as stored: {', '.join(labels)}."
    moved = [
        found.theirs.rows[twin].label
        for name, twin in found.same.items()
        if found.mine.right and found.theirs.right and not _same_answers(found, name, twin)
    ]
    if moved:
        yield (
            f"Of {', '.join(moved)} the same weights gave other answers in {found.mine.name}: the"
            " engine does not compute the same in both places."
        )


def _same_answers(found: Beside, name: str, twin: str) -> bool:
    seeds = found.mine.rows[name].seeds
    runs = [(run_name(name, seed), run_name(twin, seed)) for seed in seeds] or [(name, twin)]
    return all(
        np.array_equal(found.mine.right[own], found.theirs.right[other]) for own, other in runs
    )


def _trained(found: Beside) -> Iterator[str]:
    """What is to be known of how rows were trained."""
    rows = found.grid.rows
    if still := [row.label for row in rows if row.still]:
        yield f"{STILL}: the row has runs that learnt nothing: {', '.join(still)}."
    if lost := [f"{r.label} {len(r.collapsed)} of {len(r.seeds)}" for r in rows if r.collapsed]:
        yield f"Collapsed: {', '.join(lost)} runs."
    if found.apart:
        yield (
            "Computed otherwise, which should change nothing but rounding and is not refused:"
            f" {'; '.join(found.apart)}."
        )


def _listed(seeds: tuple[int, ...]) -> str:
    return ", ".join(map(str, seeds))
