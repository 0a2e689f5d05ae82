"""An experiment's runs, read and compared: every row, cell and difference of its table."""

from __future__ import annotations

from collections.abc import Container, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from evals.metrics import Floats, avg_scores, interval, pass_scores, variance_levels
from evals.statistics.differences import compare_rows, holm_families
from evals.table.data import OVERALL, Cell, Comparison, Row, Table, Tally
from evals.table.manifests import read_manifest, read_reported
from evals.table.runs import Run, read_runs
from evals.table.trainings import (
    check_trainings,
    contamination_notes,
    read_steps,
    still_runs,
    training_notes,
)
from kpo.config.experiment import Experiment
from kpo.objective import Role
from kpo.registry import settings_of


def build_table(experiment: Experiment, results: Path) -> Table:
    """Read every run of the experiment and work out all cells and comparisons.

    Raises UserError for runs that are incomplete or cannot stand in one table.
    """
    folder = results / experiment.experiment
    trainings = {
        run: read_manifest(folder / "runs" / run / "manifest.json", "settings", "learning")
        for run in experiment.runs
    }
    runs = read_runs(experiment, folder / "evals", ["base", *experiment.runs])
    check_trainings(folder, trainings, {name: run.model for name, run in runs.items()})
    still = still_runs(trainings)
    rows = [_row(experiment, name, runs, still) for name in ("base", *experiment.methods)]
    references = _references(rows)
    steps = read_steps(folder / "runs", trainings)
    notes = contamination_notes(folder / "data", trainings, experiment.evaluate.benchmarks)
    return Table(
        experiment=experiment,
        rows=rows,
        problems={b: len(correct) for b, correct in runs["base"].correct.items()},
        first=next(iter(references), None),
        best=next(reversed(references), None),
        comparisons=[c for metric in ("avg", "pass") for c in _compared(metric, rows, references)],
        protocol=runs["base"].protocol,
        reported=read_reported(results / "reported" / "table1.csv"),
        steps=steps,
        notes=[*training_notes(trainings, steps), *notes],
    )


def _row(experiment: Experiment, name: str, runs: Mapping[str, Run], still: Container[str]) -> Row:
    """The base model, or a method: its runs in the order of the seeds."""
    seeds = {f"{name}-s{seed}": seed for seed in experiment.seeds if name != "base"}
    mine = [runs[run] for run in seeds or [name]]
    benchmarks, k = experiment.evaluate.benchmarks, experiment.evaluate.samples
    columns = (*benchmarks, OVERALL)
    correct = [np.stack([run.correct[b] for run in mine]) for b in benchmarks]
    scores = {"avg": [*map(avg_scores, correct)], "pass": [pass_scores(c, k) for c in correct]}
    cells = {
        (metric, column): _cell(chosen)
        for metric, blocks in scores.items()
        for column, chosen in zip(columns, [*([x] for x in blocks), blocks], strict=True)
    }
    tallies = {b: Tally() for b in benchmarks}
    for benchmark, total in tallies.items():
        for run in mine:
            total.update(run.tallies[benchmark])
    told: tuple[str, str, Role | None, dict[str, Any]] = "Base model", "", None, {}
    if method := experiment.methods.get(name):
        told = method.label, method.objective, method.role, settings_of(method.build())
    stood = tuple(seed for run, seed in seeds.items() if run in still)
    return Row(name, *told, tuple(seeds.values()), scores, cells, tallies, stood)


def _cell(blocks: Sequence[Floats]) -> Cell:
    """The mean of one or more benchmarks' scores."""
    levels = variance_levels(blocks)
    return Cell(float(levels.mean), *map(float, interval(levels)))


def _references(rows: Sequence[Row]) -> dict[str, str]:
    """The rows that others are set against, and as what: the first baseline, the best overall."""
    baselines = [row for row in rows if row.role == "baseline"]
    if not baselines:
        return {}
    first = baselines[0].name
    best = max(baselines, key=lambda row: row.cells["avg", OVERALL].mean).name
    if first == best:
        return {first: f"{first}, best baseline"}
    return {first: first, best: "best baseline"}


def _compared(
    metric: str, rows: Sequence[Row], references: Mapping[str, str]
) -> Iterator[Comparison]:
    """Every row against every reference, in every column.

    Controls count for Holm's correction as baselines do: they are trained for being compared with.
    """
    blocks = [row.scores[metric] for row in rows]
    columns = (*rows[0].tallies, OVERALL)
    tests = [compare_rows([[row[b]] for row in blocks]) for b in range(len(columns) - 1)]
    tests.append(compare_rows(blocks))
    counted = [i for i, row in enumerate(rows) if row.role in ("baseline", "control")]
    adjusted = holm_families(tests, counted)
    places = {row.name: place for place, row in enumerate(rows)}
    for reference, against in references.items():
        for name in (name for name in places if name != reference):
            row, other = places[name], places[reference]
            n = tests[0].pairs.index((max(row, other), min(row, other)))
            sign = 1 if row > other else -1  # tests are of the later row minus the earlier one
            for column, test, p_holm in zip(columns, tests, adjusted, strict=True):
                low, high = sorted(sign * float(end[n]) for end in (test.low, test.high))
                yield Comparison(
                    *(name, reference, against, metric, column),
                    Cell(sign * float(test.mean[n]), low, high),
                    *(float(found[n]) for found in (test.detectable, test.p, p_holm)),
                )
