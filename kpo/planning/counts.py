"""How many problems an experiment has, as far as that is known without a hub."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Any

from kpo.config.experiment import Experiment
from kpo.tasks.datasets.sources import SOURCES
from kpo.tasks.problems import DataError, choose_folder, open_problems
from kpo.trainer.training_set import RECORD, training_set


def training_record(experiment: Experiment) -> dict[str, Any] | None:
    """The record of the training set, where its rule wrote it or from files; None without either.

    Prompts that are too long are not among what it says is dropped, as that needs the tokenizer,
    and benchmarks that are not in files are not looked for.
    Raises DataError for a local file that cannot be read.
    """
    data = experiment.data
    written = Path("results") / experiment.experiment / "data"
    if experiment.task is not None:
        return None
    if (written / RECORD).is_file():
        with contextlib.suppress(DataError):  # of other settings
            return training_set(experiment, written).record
    if (folder := choose_folder(data.train_folder, "KPO_TRAIN_PROBLEMS")) is None:
        return None
    if choose_folder(data.benchmarks_folder, "KPO_BENCHMARKS") is None:
        unsearched = data.model_copy(update={"contamination": "keep"})
        experiment = experiment.model_copy(update={"data": unsearched})
    return training_set(experiment, folder).record


def training_problems(experiment: Experiment, record: dict[str, Any] | None) -> int | None:
    """Problems of the training set, of its record if there is one; None where it is not known."""
    return record["problems"] if record else _count(experiment, experiment.train.problems)


def benchmark_problems(experiment: Experiment) -> dict[str, int | None]:
    """Problems of every benchmark; None where that is not known here.

    Raises DataError for a local file that cannot be read.
    """
    folder = choose_folder(experiment.data.benchmarks_folder, "KPO_BENCHMARKS")
    limit = experiment.evaluate.limit  # a set of unknown size has as many, or fewer
    sizes = {name: _count(experiment, name, folder) for name in experiment.evaluate.benchmarks}
    return {
        name: limit if size is None else min(size, limit or size) for name, size in sizes.items()
    }


def _count(experiment: Experiment, name: str, folder: Path | None = None) -> int | None:
    sources = experiment.data.sources
    if experiment.task is not None:
        return experiment.task.size(name)
    if folder is not None:
        return len(open_problems(name, folder=folder, sources=sources).load())
    source = {**SOURCES, **sources}.get(name)
    return source.size if source else None
