"""Where the problems of an experiment's benchmarks come from."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from kpo.config.experiment import Experiment
from kpo.tasks.datasets.columns import PLAIN
from kpo.tasks.problems import ProblemStream, choose_folder, open_problems


def open_benchmarks(experiment: Experiment, folder: Path | None) -> Iterator[ProblemStream]:
    """The experiment's benchmarks from `folder`, else from the data section's folder or the hub.

    Raises UserError for data that cannot be read.
    """
    folder = folder or choose_folder(experiment.data.benchmarks_folder, "KPO_BENCHMARKS")
    sources = experiment.data.sources
    if experiment.task is not None and folder is not None:  # as written, whatever name they have
        sources = dict.fromkeys(experiment.evaluate.benchmarks, PLAIN)
    for name in experiment.evaluate.benchmarks:
        yield open_problems(name, folder=folder, sources=sources)
