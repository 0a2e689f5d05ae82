"""What an experiment declares to compare, tested."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from kpo.config.compare import Pair
from kpo.evals.metrics import Floats
from kpo.evals.statistics.differences import Tests, compare_rows, holm_families
from kpo.evals.table.data import AS, BASELINE, BEST, NAMED, OVERALL, Cell, Comparison, Row


def comparisons(
    declared: Mapping[Pair, tuple[str, ...]], rows: Sequence[Row]
) -> Iterator[Comparison]:
    """Every declared pair in every metric and column; rows: the base model and all methods.

    declared: as what each pair is, in words of the experiment file (`kpo.config.compare`).
    """
    apart = {place for place, row in enumerate(rows) if row.collapsed}
    places = {row.name: place for place, row in enumerate(rows)}
    lines = _lines(declared, _best(rows))
    pairs = [(places[row], places[reference]) for row, reference in declared]
    for metric in ("avg", "pass"):
        blocks = [row.scores[metric] for row in rows]
        columns = (*rows[0].tallies, OVERALL)
        singles = ([[row[b]] for row in blocks] for b in range(len(columns) - 1))
        tests = [compare_rows(single, apart) for single in (*singles, blocks)]
        adjusted = holm_families(tests, pairs)
        for (row, reference), against in lines.items():
            for column, test, p in zip(columns, tests, adjusted, strict=True):
                found = _tested(test, p, places[row], places[reference])
                yield Comparison(row, reference, against, metric, column, *found)


def _best(rows: Sequence[Row]) -> str | None:
    """The baseline with the highest avg@k overall."""
    overall = {row.name: row.cells["avg", OVERALL].mean for row in rows if row.role == "baseline"}
    return max(overall, key=overall.__getitem__, default=None)


def _lines(
    declared: Mapping[Pair, tuple[str, ...]], best: str | None
) -> dict[Pair, tuple[str, ...]]:
    """The pairs as they are told, and as what, now that the best baseline is known.

    Two baselines that might have been the best are told once, the best as the reference.
    """
    lines: dict[Pair, tuple[str, ...]] = {}
    for (row, reference), words in declared.items():
        turned, candidate = (reference, row), words == ("best",) and reference != best
        if candidate and turned in declared and (row == best or turned in lines):
            continue
        told = [BEST if (w, reference) == ("best", best) else AS.get(w, NAMED) for w in words]
        known = [text for text in told if text != BASELINE] or told
        lines[row, reference] = tuple(dict.fromkeys(known))
    return lines


def _tested(
    test: Tests, adjusted: Floats, row: int, reference: int
) -> tuple[Cell, float, float, float]:
    """Of row - reference, which `test` may hold the other way round.

    Its difference, what could be detected, p and Holm's p.
    """
    n = test.pairs.index((max(row, reference), min(row, reference)))
    sign = 1 if row > reference else -1
    low, high = sorted(sign * float(end[n]) for end in (test.low, test.high))
    difference = Cell(sign * float(test.mean[n]), low, high)
    return difference, float(test.detectable[n]), float(test.p[n]), float(adjusted[n])
