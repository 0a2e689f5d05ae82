"""Graded runs as arrays, refused unless they can stand in one table.

A run is a folder with grades.jsonl and manifest.json. All runs of a table must hold the same
problems and samples and have been made under one protocol (prompt, sampling, engine, data).

Deviation: the base policy is evaluated like every other row. Measured: `tiny`: `grpo` against
`base`.
"""

from __future__ import annotations

from collections.abc import Sequence, Set
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from kpo.common.cli import UserError
from kpo.config.experiment import Experiment, run_parts
from kpo.evals.grading.rules import RULES
from kpo.evals.grading.statuses import FAILURES
from kpo.evals.records import GradeRow, Key, read_grades
from kpo.evals.table.data import Tally
from kpo.evals.table.manifests import check_alike, flatten, read_manifest, runs_by

Correct = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Run:
    """One evaluation; `correct` holds [problems, samples] for each benchmark.

    `problems` are their ids; `model` is the hash of the weights that were evaluated.
    """

    problems: dict[str, list[str]]
    correct: dict[str, Correct]
    tallies: dict[str, Tally]
    protocol: dict[str, Any]
    model: str


def read_runs(experiment: Experiment, folder: Path, names: Sequence[str]) -> dict[str, Run]:
    """Read <folder>/<name>/{grades.jsonl,manifest.json} of every run.

    Raises UserError unless all are there and can stand in one table.
    """
    samples = experiment.evaluate.samples
    manifests = {name: read_manifest(folder / name / "manifest.json", "protocol") for name in names}
    protocols = {name: flatten(manifest["protocol"]) for name, manifest in manifests.items()}
    check_alike(protocols, "runs of different protocols")
    hashes = {name: manifest.get("responses_sha256") for name, manifest in manifests.items()}
    for content, alike in runs_by(hashes).items():
        # Two methods share the randomness of a training seed: close policies may answer alike.
        seeds = {run_parts(name)[1] for name in alike}
        if content is not None and len(seeds) > 1:
            raise UserError(
                f"runs {' and '.join(alike)} hold the same responses to the letter: one was"
                " copied, or both were sampled from one model with one seed."
            )
    runs: dict[str, Run] = {}
    keys: list[Key] = []
    for name in names:
        path = folder / name / "grades.jsonl"
        rows = _grades(path, experiment)
        problems = dict.fromkeys(row.problem for row in rows.values())
        keys = keys or [(*problem, j) for problem in problems for j in range(samples)]
        _check_same(path, rows.keys(), names[0], set(keys), samples)
        benchmarks = experiment.evaluate.benchmarks
        parts = {b: [rows[key] for key in keys if key[0] == b] for b in benchmarks}
        runs[name] = Run(
            {b: list(dict.fromkeys(row.id for row in part)) for b, part in parts.items()},
            {b: np.array([r.correct for r in p]).reshape(-1, samples) for b, p in parts.items()},
            {b: tally(part) for b, part in parts.items()},
            protocols[name],
            str(manifests[name].get("model")),
        )
    return runs


def _grades(path: Path, experiment: Experiment) -> dict[Key, GradeRow]:
    """A run's rows, by the rule and of the benchmarks of the experiment."""
    rows = {row.key: row for row in read_grades(path)}
    rule, benchmarks = experiment.rule, experiment.evaluate.benchmarks
    if not rows:
        raise UserError(f"{path} is empty.")
    for row in rows.values():
        if row.rule != rule:
            raise UserError(
                f"{path} was graded by the rule {row.rule}, but the experiment's is {rule}; grade"
                " it again."
            )
        if row.benchmark not in benchmarks:
            raise UserError(
                f"{path}: sample {row.sample} of problem {row.id} is of benchmark"
                f" {row.benchmark!r}, which is not among evaluate.benchmarks"
                f" ({', '.join(benchmarks)})."
            )
    for benchmark in benchmarks:
        if benchmark not in {row.benchmark for row in rows.values()}:
            raise UserError(f"{path} has no row of benchmark {benchmark!r}.")
    return rows


def _check_same(path: Path, keys: Set[Key], first: str, expected: Set[Key], samples: int) -> None:
    """Raise UserError unless a run holds the samples of the first run's problems."""
    for odd, fault in ((keys - expected, "has"), (expected - keys, "lacks")):
        if odd:
            benchmark, problem, sample = min(odd)
            more = f" and {len(odd) - 1} more" if len(odd) > 1 else ""
            raise UserError(
                f"{path} {fault} sample {sample} of {benchmark} {problem}{more}; a run holds"
                f" samples 0 to {samples - 1} (evaluate.samples) of each problem of run {first}."
            )


def tally(rows: Sequence[GradeRow]) -> Tally:
    """Counts of what happened to one benchmark's responses.

    responses, tokens (the sum of their lengths), truncated, each kind of failure, and for every
    other rule than the one graded by `points_by_<rule>`, how many more it finds right, and
    `otherwise_by_<rule>`, on how many it says the opposite.
    """
    found = Tally(row.status for row in rows if row.status in FAILURES)
    found["responses"] = len(rows)
    found["tokens"] = sum(row.tokens for row in rows)
    found["truncated"] = sum(row.finish == "length" for row in rows)
    for rule in RULES:
        apart = [row.correct for row in rows if rule in row.differs]
        found[f"otherwise_by_{rule}"] = len(apart)
        found[f"points_by_{rule}"] = len(apart) - 2 * sum(apart)
    return found
