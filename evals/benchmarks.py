"""Benchmarks: problems whose golds were checked before anything is sampled."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from evals.answers import normalise_gold
from evals.grade import check_golds
from kpo.config import Experiment
from kpo.tasks.problems import DataError, Problem, choose_folder, content_hash, load_problems


@dataclass(frozen=True)
class Benchmark:
    """A named list of problems and the hash of its texts and golds as they were loaded."""

    name: str
    problems: list[Problem]
    content: str


def load_benchmarks(experiment: Experiment, folder: Path | None) -> list[Benchmark]:
    """The experiment's benchmarks from `folder`, else from the data section's folder or the hub.

    Raises DataError for data that cannot be read and for a gold that does not parse or is not
    equal to itself, naming benchmark, id and gold.
    """
    folder = folder or choose_folder(experiment.data.benchmarks_folder, "KPO_BENCHMARKS")
    benchmarks = []
    for name in experiment.evaluate.benchmarks:
        loaded = load_problems(
            name,
            folder=folder,
            sources=experiment.data.sources,
            limit=experiment.evaluate.limit,
        )
        problems = [replace(p, answer=normalise_gold(name, p.answer)) for p in loaded]
        try:
            check_golds([(f"{name} {p.id}", p.answer) for p in problems])
        except ValueError as error:
            raise DataError(str(error)) from error
        benchmarks.append(Benchmark(name, problems, content_hash(loaded)))
    return benchmarks
