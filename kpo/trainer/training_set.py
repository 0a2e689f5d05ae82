"""The training set of an experiment: its rows cleaned and its golds checked, once for all runs.

The embedded task's problems differ by construction, also from those that are held out, and are
taken as they are.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from tqdm import tqdm

from kpo.common.files import atomic_folder, write_json, write_jsonl, write_text
from kpo.config.experiment import Experiment
from kpo.evals.grading.grader import Grader
from kpo.tasks.datasets.cleaning import Drop, clean, count
from kpo.tasks.datasets.similarity import NGRAM, SHARE, Overlap
from kpo.tasks.problems import (
    DataError,
    Problem,
    choose_folder,
    content_hash,
    open_problems,
    refuse_repeated_ids,
)

PROBLEMS, DROPPED, RECORD = "problems.jsonl", "dropped.jsonl", "data.json"
CONTENT = "content.sha256"
GOLD_TIMEOUT_S = 20.0


@dataclass(frozen=True)
class TrainingSet:
    """Problems to train on, and how they came about.

    `record` has the name of the set, where it is from, its number of rows, how many were dropped
    and why, and the benchmarks whose problems were looked for; `drops` are the rows themselves.
    """

    problems: list[Problem]
    record: dict[str, Any]
    drops: list[Drop]


def stated(record: dict[str, Any]) -> str:
    """How many rows are trained on, by a record, and how many not and why."""
    dropped = ", ".join(f"{n:,} {reason}" for reason, n in record["dropped"].items())
    return (
        f"{record['name']}: {record['problems']:,} of {record['rows']:,} rows are trained on;"
        f" dropped: {dropped.replace('_', ' ') or 'none'}"
    )


def training_set(
    experiment: Experiment, folder: Path | None, *, workers: int = 2, progress: bool = False
) -> TrainingSet:
    """The experiment's training set, from `folder`, else from the data section's or the hub.

    A folder that `write` has filled is read as it is. Raises DataError for data that cannot be
    read, rows that the data section refuses, and a folder of other settings.
    """
    name = experiment.train.problems
    if folder is not None and (folder / RECORD).is_file():
        return _read(experiment, folder)
    if experiment.task is not None:
        return _of_the_task(experiment, folder)
    data = experiment.data
    folder = folder or choose_folder(data.train_folder, "KPO_TRAIN_PROBLEMS")
    searched, overlap = _benchmarks(experiment)
    stream = open_problems(name, folder=folder, sources=data.sources)
    with Grader(workers=workers, timeout_s=GOLD_TIMEOUT_S) as grader:
        rows = tqdm(stream, name, unit=" rows", disable=not progress)
        problems, drops = clean(stream.where, rows, data.cleaning(), grader, overlap)
    if not problems:
        raise DataError(f"{stream.where}: no row is left to train on ({count(drops)})")
    refuse_repeated_ids(stream.where, problems)
    record = {
        "name": name,
        "origin": stream.origin,
        "rows": stream.count,
        "rows_sha256": stream.content,
        "problems": len(problems),
        "problems_sha256": content_hash(problems),
        "dropped": count(drops),
        "contamination": searched,
        "settings": experiment.section("data"),
    }
    return TrainingSet(problems, record, drops)


def _of_the_task(experiment: Experiment, folder: Path | None) -> TrainingSet:
    name = experiment.train.problems
    if folder is None:
        raise DataError(f"{name}: the task's problems are in a folder, which --problems must name")
    problems = open_problems(name, folder=folder).load()
    record = {"name": name, "rows": len(problems), "problems": len(problems), "dropped": {}}
    return TrainingSet(problems, {**record, "problems_sha256": content_hash(problems)}, [])


def _benchmarks(experiment: Experiment) -> tuple[dict[str, Any] | None, Overlap | None]:
    """What is looked for: the whole benchmarks of the experiment, whatever part is evaluated."""
    data = experiment.data
    if data.contamination == "keep":
        return None, None
    folder = choose_folder(data.benchmarks_folder, "KPO_BENCHMARKS")
    sets = {
        name: open_problems(name, folder=folder, sources=data.sources).load()
        for name in experiment.evaluate.benchmarks
    }
    overlap = Overlap((name, p.id, p.problem) for name, found in sets.items() for p in found)
    contents = {name: content_hash(problems) for name, problems in sets.items()}
    return {"ngram": NGRAM, "share": SHARE, "benchmarks": contents}, overlap


def write(found: TrainingSet, out: Path) -> None:
    """Write the folder of a training set: problems, dropped rows, record, the problems' hash."""
    with atomic_folder(out, RECORD) as folder:
        write_jsonl(folder / PROBLEMS, map(asdict, found.problems))
        write_jsonl(folder / DROPPED, (drop.row() for drop in found.drops))
        write_json(folder / RECORD, found.record)
        write_text(folder / CONTENT, found.record["problems_sha256"] + "\n")


def _read(experiment: Experiment, folder: Path) -> TrainingSet:
    record = json.loads((folder / RECORD).read_text(encoding="utf-8"))
    if record["name"] != experiment.train.problems:
        raise DataError(f"{folder}: holds {record['name']}, not {experiment.train.problems}")
    if record["settings"] != experiment.section("data"):
        raise DataError(f"{folder}: made of other data or under other settings; make it again")
    problems = open_problems("problems", folder=folder / PROBLEMS).load()
    if content_hash(problems) != record["problems_sha256"]:
        raise DataError(f"{folder / PROBLEMS}: not what {RECORD} says; make it again")
    return TrainingSet(problems, record, [])
