"""An experiment's runs, read and compared: every row, cell and difference of its table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from evals.metrics import Floats, avg_scores, interval, pass_scores, variance_levels
from evals.statistics.differences import Tests, compare_rows, holm_families
from evals.table.contamination import contamination_notes
from evals.table.data import OVERALL, Cell, Comparison, Row, Table, Tally
from evals.table.reported import read_reported
from evals.table.runs import Run, read_runs
from evals.table.trainings import (
    Manifests,
    check_trainings,
    read_steps,
    read_trainings,
    still_runs,
    training_notes,
)
from kpo.config.experiment import Experiment
from kpo.registry import settings_of


def build_table(experiment: Experiment, results: Path) -> Table:
    """Read every run of the experiment and work out all cells and comparisons.

    Raises TableError for runs that are incomplete or cannot stand in one table.
    """
    evaluate = experiment.evaluate
    folder = results / experiment.experiment
    trainings = read_trainings(folder / "runs", experiment.runs)
    runs = read_runs(
        folder / "evals",
        ["base", *experiment.runs],
        evaluate.benchmarks,
        evaluate.samples,
        experiment.rule,
    )
    check_trainings(folder, trainings, {name: run.model for name, run in runs.items()})
    columns = (*evaluate.benchmarks, OVERALL)
    rows = [
        _row(experiment, name, [runs[member] for member in members], trainings, columns)
        for name, members in _members(experiment).items()
    ]
    references = _references(rows)
    steps = read_steps(folder / "runs", trainings)
    return Table(
        experiment=experiment,
        rows=rows,
        problems={b: len(correct) for b, correct in runs["base"].correct.items()},
        first=next(iter(references), None),
        best=next(reversed(references), None),
        comparisons=[
            comparison
            for metric in ("avg", "pass")
            for comparison in _comparisons(metric, columns, rows, references)
        ],
        protocol=runs["base"].protocol,
        reported=read_reported(results / "reported" / "table1.csv"),
        steps=steps,
        notes=[
            *training_notes(trainings, steps),
            *contamination_notes(folder / "data", trainings, evaluate.benchmarks),
        ],
    )


def _members(experiment: Experiment) -> dict[str, list[str]]:
    """The runs of every row, in the order of the seeds."""
    rows = {name: [f"{name}-s{seed}" for seed in experiment.seeds] for name in experiment.methods}
    return {"base": ["base"], **rows}


def _row(
    experiment: Experiment,
    name: str,
    runs: Sequence[Run],
    trainings: Manifests,
    columns: Sequence[str],
) -> Row:
    k = experiment.evaluate.samples
    correct = [np.stack([run.correct[b] for run in runs]) for b in columns[:-1]]
    scores = {
        "avg": [avg_scores(answers) for answers in correct],
        "pass": [pass_scores(answers, k) for answers in correct],
    }
    cells = {
        (metric, column): _cell(chosen)
        for metric, blocks in scores.items()
        for column, chosen in zip(columns, [*([x] for x in blocks), blocks], strict=True)
    }
    tallies = {b: Tally() for b in columns[:-1]}
    for benchmark, total in tallies.items():
        for run in runs:
            total.update(run.tallies[benchmark])
    if name == "base":
        return Row(name, "Base model", "", None, {}, (), scores, cells, tallies)
    method = experiment.methods[name]
    still = still_runs(trainings)
    return Row(
        name,
        method.label,
        method.objective,
        method.role,
        settings_of(method.build()),
        tuple(experiment.seeds),
        scores,
        cells,
        tallies,
        still=tuple(seed for seed in experiment.seeds if f"{name}-s{seed}" in still),
    )


def _cell(blocks: Sequence[Floats]) -> Cell:
    """The mean of one or more benchmarks' scores."""
    levels = variance_levels(blocks)
    return Cell(float(levels.mean), *map(float, interval(levels)))


def _references(rows: Sequence[Row]) -> dict[str, str]:
    """The rows that others are set against, and as what: the first baseline and the best one.

    The best is that with the highest avg@k overall.
    """
    baselines = [row for row in rows if row.role == "baseline"]
    if not baselines:
        return {}
    first = baselines[0].name
    best = max(baselines, key=lambda row: row.cells["avg", OVERALL].mean).name
    if first == best:
        return {first: f"{first}, best baseline"}
    return {first: first, best: "best baseline"}


def _comparisons(
    metric: str, columns: Sequence[str], rows: Sequence[Row], references: Mapping[str, str]
) -> list[Comparison]:
    """Every row against every reference, in every column.

    Controls count for Holm's correction as baselines do: they are trained for being compared with.
    """
    blocks = [row.scores[metric] for row in rows]
    tests = [compare_rows([[row[b]] for row in blocks]) for b in range(len(columns) - 1)]
    tests.append(compare_rows(blocks))
    compared = [i for i, row in enumerate(rows) if row.role in ("baseline", "control")]
    adjusted = holm_families(tests, compared)
    places = {row.name: place for place, row in enumerate(rows)}
    return [
        Comparison(row.name, name, against, metric, column, *_tested(test, p, pair))
        for name, against in references.items()
        for row in rows
        if row.name != name
        for pair in [(places[row.name], places[name])]
        for column, test, p in zip(columns, tests, adjusted, strict=True)
    ]


def _tested(
    test: Tests, adjusted: Floats, pair: tuple[int, int]
) -> tuple[Cell, float, float, float]:
    """Of row - reference, which `test` may hold the other way round.

    Its difference, what could be detected, p and Holm's p.
    """
    row, reference = pair
    n = test.pairs.index((max(pair), min(pair)))
    sign = 1 if row > reference else -1
    low, high = sorted(sign * float(end[n]) for end in (test.low, test.high))
    difference = Cell(sign * float(test.mean[n]), low, high)
    return difference, float(test.detectable[n]), float(test.p[n]), float(adjusted[n])
