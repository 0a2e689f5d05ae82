"""How many jobs of an experiment are left, and how long they take by what such jobs took before.

Seconds come from the experiment's own timings, `results/<experiment>/timings/`, where it has some,
and else from a file of means that were measured elsewhere.
"""

from __future__ import annotations

import csv
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean

from kpo.common.cli import UserError
from kpo.config.experiment import Experiment

ALONE = ("base", "tables", "shootout", "structure")
"""Kinds of jobs that nothing else of their experiment can run beside."""
KINDS = ("base", "train", "sample", "grade", "tables", "shootout", "structure")
COLUMNS = ("experiment", "job", "seconds", "jobs", "machine")
Seconds = Mapping[tuple[str, str], float]
"""Of one job, the mean, by experiment and kind."""
Jobs = Mapping[str, int]
"""How many, by kind."""


@dataclass(frozen=True)
class Measured:
    """Mean seconds of an experiment's jobs of one kind, over how many, and on which machine."""

    experiment: str
    job: str
    seconds: float
    jobs: int
    machine: str


def all_jobs(runs: int) -> Jobs:
    """Of an experiment with so many runs, the base policy's evaluation besides."""
    return {"base": 1, "train": runs, "sample": runs + 1, "grade": runs + 1, "tables": 1}


def jobs_left(experiment: Experiment, results: Path) -> Jobs:
    """Jobs whose outputs are not there; those that a change of settings makes again do not count.

    The base policy is not needed again where every run is there.
    """
    root = results / experiment.experiment
    evaluated = [root / "evals" / run for run in ("base", *experiment.runs)]
    trained = (root / "runs" / run for run in experiment.runs)
    left = {
        "train": _missing(run / "manifest.json" for run in trained),
        "sample": _missing(run / "manifest.json" for run in evaluated),
        "grade": _missing(run / "grades.jsonl" for run in evaluated),
        "tables": _missing([root / "table1.csv"]),
    }
    base = _missing([root / "base.sha256"]) if left["train"] + left["sample"] else 0
    return {"base": base, **left}


def _missing(paths: Iterable[Path]) -> int:
    return sum(not path.exists() for path in paths)


def wall_seconds(jobs: Jobs, experiment: str, seconds: Seconds, cores: int) -> float | None:
    """What jobs take together, each on a core of its own; None where a kind was never measured."""
    if any(count and (experiment, kind) not in seconds for kind, count in jobs.items()):
        return None
    return sum(
        count * seconds[experiment, kind] / (1 if kind in ALONE else cores)
        for kind, count in jobs.items()
        if count
    )


def own_timings(experiment: str, results: Path, machine: str) -> Iterator[Measured]:
    """Means of the times that an experiment's jobs took here."""
    folder = results / experiment / "timings"
    for kind in KINDS:
        files = [folder / f"{kind}.tsv", *sorted((folder / kind).glob("*.tsv"))]
        times = [time for file in files if file.is_file() for time in _benchmark(file)]
        if times:
            yield Measured(experiment, kind, fmean(times), len(times), machine)


def _benchmark(file: Path) -> list[float]:
    """Seconds in a file that Snakemake's `benchmark` wrote."""
    rows = csv.DictReader(file.read_text(encoding="utf-8").splitlines(), delimiter="\t")
    return [float(row["s"]) for row in rows]


def read_seconds(path: Path) -> list[Measured]:
    """The file of means. Raises UserError for one that is missing or of another kind."""
    try:
        rows = [*csv.DictReader(path.read_text(encoding="utf-8").splitlines())]
        return [
            Measured(
                *(row["experiment"], row["job"]),
                float(row["seconds"]),
                int(row["jobs"]),
                row["machine"],
            )
            for row in rows
        ]
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror}") from None
    except (KeyError, ValueError) as error:
        raise UserError(f"{path} is no file of measured seconds ({error})") from None


def seconds_text(measured: Iterable[Measured]) -> str:
    """The text of such a file."""
    lines = [",".join(COLUMNS)]
    lines += [f'{m.experiment},{m.job},{m.seconds:.1f},{m.jobs},"{m.machine}"' for m in measured]
    return "\n".join(lines) + "\n"
