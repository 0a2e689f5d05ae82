"""How many problems an experiment has, as far as that is known without a hub."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from kpo.config.experiment import Experiment
from kpo.tasks.datasets.sources import SOURCES
from kpo.tasks.problems import DataError, choose_folder, load_problems
from kpo.tasks.task import TRAIN
from kpo.trainer.training_set import RECORD, training_set


def training_record(experiment: Experiment) -> dict[str, Any] | None:
    """The record of the training set, where its rule wrote it or from files; None without either.

    Prompts that are too long are not among what it says is dropped, as that needs the tokenizer,
    and benchmarks that are not in files are not looked for.
    Raises DataError for a local file that cannot be read.
    """
    data = experiment.data
    written = Path("results") / experiment.experiment / "data"
    if experiment.task is None and (written / RECORD).is_file():
        with contextlib.suppress(DataError):  # of other settings
            return training_set(experiment, written).record
    folder = choose_folder(data.train_folder, "KPO_TRAIN_PROBLEMS")
    if experiment.task is not None or folder is None:
        return None
    if choose_folder(data.benchmarks_folder, "KPO_BENCHMARKS") is None:
        unsearched = data.model_copy(update={"contamination": "keep"})
        experiment = experiment.model_copy(update={"data": unsearched})
    return training_set(experiment, folder).record


def training_problems(experiment: Experiment, record: dict[str, Any] | None) -> int | None:
    """Problems of the training set, of its record if there is one; None where it is not known."""
    if record is not None:
        return int(record["problems"])
    if experiment.task is not None:
        return experiment.task.size(TRAIN)
    return _count(experiment, experiment.train.problems, None, None)


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
            yield name, min(task.size(name), evaluate.limit or task.size(name))
        else:
            yield name, _count(experiment, name, folder, evaluate.limit)


def _count(experiment: Experiment, name: str, folder: Path | None, limit: int | None) -> int | None:
    if folder is not None:
        sources = experiment.data.sources
        return len(load_problems(name, folder=folder, sources=sources, limit=limit))
    source = {**SOURCES, **experiment.data.sources}.get(name)
    if source is None or source.size is None:
        return limit  # an unknown set has as many, or fewer
    return min(source.size, limit or source.size)
