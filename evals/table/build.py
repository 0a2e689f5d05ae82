"""An experiment's runs, read and compared: every row, cell and difference of its table."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence, Set
from pathlib import Path
from typing import Any

import numpy as np

from kpo.config.experiment import Experiment, run_name
from kpo.config.grid import TRAIN
from kpo.evals.metrics import Floats, avg_scores, interval, pass_scores, variance_levels
from kpo.evals.table.comparisons import comparisons
from kpo.evals.table.data import OVERALL, Cell, Row, Table, Tally
from kpo.evals.table.manifests import read_manifest, read_reported
from kpo.evals.table.rewards import collapsed_runs
from kpo.evals.table.runs import Correct, Run, read_runs
from kpo.evals.table.trainings import (
    check_trainings,
    contamination_notes,
    read_steps,
    still_runs,
    training_notes,
)
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
    check_trainings(experiment, folder, trainings, {name: run.model for name, run in runs.items()})
    steps = read_steps(folder / "runs", trainings)
    gone = {*still_runs(trainings)}, {*collapsed_runs(steps)}
    rows = [_row(experiment, name, runs, gone) for name in ("base", *experiment.methods)]
    notes = contamination_notes(folder / "data", trainings, experiment.evaluate.benchmarks)
    return Table(
        rows=rows,
        benchmarks=tuple(experiment.evaluate.benchmarks),
        comparisons=list(comparisons(experiment.compared, rows)),
        k=experiment.evaluate.samples,
        experiment=experiment,
        problems=runs["base"].problems,
        protocol=runs["base"].protocol,
        reported=read_reported(results / "reported" / "table1.csv"),
        steps=steps,
        notes=[
            *_engine_notes(experiment, runs["base"].protocol),
            *training_notes(trainings, steps),
            *notes,
        ],
    )


def _engine_notes(experiment: Experiment, protocol: Mapping[str, Any]) -> Iterator[str]:
    """Where another engine stood in for vLLM."""
    if not experiment.evaluate.asks_for_engine and protocol.get("engine.name") != "vllm":
        yield (
            f"Answers were sampled with {protocol.get('engine.name')}, as vLLM was not installed:"
            " not to be set beside answers of vLLM, whose draws are others."
        )


def _row(
    experiment: Experiment, name: str, runs: Mapping[str, Run], gone: tuple[Set[str], Set[str]]
) -> Row:
    """The base model, or a method: its runs in the order of the seeds.

    gone: names of the runs that learnt nothing, and of those that collapsed.
    """
    seeds = {run_name(name, seed): seed for seed in experiment.seeds if name != "base"}
    mine = [runs[run] for run in seeds or [name]]
    benchmarks = experiment.evaluate.benchmarks
    correct = {b: np.stack([run.correct[b] for run in mine]) for b in benchmarks}
    scores, cells = scored(correct)
    tallies = {b: Tally() for b in benchmarks}
    for benchmark, total in tallies.items():
        for run in mine:
            total.update(run.tallies[benchmark])
    told: tuple[str, str, Role | None, dict[str, Any]] = "Base model", "", None, {}
    if method := experiment.methods.get(name):
        own = {key for row in experiment.methods.values() for key in row.train}
        train = experiment.train_of(name).model_dump(mode="json", include=own)
        settings = settings_of(method.build()) | {f"{TRAIN}{key}": train[key] for key in train}
        told = method.label, method.objective, method.role, settings
    still, collapsed = (tuple(s for run, s in seeds.items() if run in lost) for lost in gone)
    family = method.family if method else None
    seen = tuple(seeds.values())
    return Row(name, *told, seen, scores, cells, tallies, still, collapsed, family)


def scored(
    correct: Mapping[str, Correct],
) -> tuple[dict[str, list[Floats]], dict[tuple[str, str], Cell]]:
    """A row's scores and cells from its answers [seeds, problems, samples] to each benchmark."""
    scores = {
        "avg": [avg_scores(block) for block in correct.values()],
        "pass": [pass_scores(block, block.shape[-1]) for block in correct.values()],
    }
    cells = {
        (metric, column): _cell(chosen)
        for metric, blocks in scores.items()
        for column, chosen in zip(
            (*correct, OVERALL), [*([x] for x in blocks), blocks], strict=True
        )
    }
    return scores, cells


def _cell(blocks: Sequence[Floats]) -> Cell:
    """The mean of one or more benchmarks' scores."""
    levels = variance_levels(blocks)
    return Cell(float(levels.mean), *map(float, interval(levels)))
