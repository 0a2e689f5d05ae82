"""How many problems an experiment has, as far as that is known without a hub."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from kpo.config import Experiment
from kpo.tasks.problems import choose_folder, load_problems
from kpo.tasks.sources import SOURCES

ON_THE_HUB = {
    "gsm8k-train": 7473,
    "dapo-math-17k": 17_398,  # distinct ones of the set that it filters
    "aime24": 30,
    "aime25": 30,
    "amc23": 40,
    "math500": 500,
    "minerva": 272,
    "olympiadbench": 675,
    "gsm8k": 1319,
}
"""Problems of the known data sets; what is dropped from them while loading is not taken off."""


def training_problems(experiment: Experiment) -> int | None:
    """Problems of the training set, at most; None where that is not known here.

    Raises DataError for a local file that cannot be read.
    """
    if experiment.task is not None:
        return experiment.task.train
    folder = choose_folder(experiment.data.train_folder, "KPO_TRAIN_PROBLEMS")
    return _count(experiment, experiment.train.problems, folder, None)


def benchmark_problems(experiment: Experiment) -> dict[str, int | None]:
    """Problems of every benchmark; None where that is not known here.

    Raises DataError for a local file that cannot be read.
    """
    return dict(_benchmarks(experiment))


def _benchmarks(experiment: Experiment) -> Iterator[tuple[str, int | None]]:
    evaluate, task = experiment.evaluate, experiment.task
    folder = choose_folder(experiment.data.benchmarks_folder, "KPO_BENCHMARKS")
    for name in evaluate.benchmarks:
        if task is not None:
            yield name, min(task.test, evaluate.limit or task.test)
        else:
            yield name, _count(experiment, name, folder, evaluate.limit)


def _count(experiment: Experiment, name: str, folder: Path | None, limit: int | None) -> int | None:
    if folder is not None:
        sources = experiment.data.sources
        return len(load_problems(name, folder=folder, sources=sources, limit=limit))
    source = experiment.data.sources.get(name, SOURCES.get(name))
    known = SOURCES.get(name)
    if source is None or known is None or (source.hub, source.split) != (known.hub, known.split):
        return limit  # an unknown set has as many, or fewer
    return min(ON_THE_HUB[name], limit or ON_THE_HUB[name])
