"""Graded runs as arrays, refused unless they can stand in one table.

A run is a folder with grades.jsonl and manifest.json. All runs of a table must hold the same
problems and samples and have been made under one protocol (prompt, sampling, engine, data).
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from evals.grading.rules import RULES
from evals.grading.statuses import FAILURES
from evals.records import BadRowError, GradeRow, Key, read_grades

Correct = npt.NDArray[np.bool_]


class TableError(ValueError):
    """There can be no table; the message is one sentence that names the file."""


@dataclass(frozen=True)
class Diagnostics:
    """What else happened to a benchmark's responses: counts, and the sum of their lengths.

    regraded: by how many more responses another rule than the one graded by finds right.
    apart: on how many responses it says the opposite.
    """

    responses: int
    truncated: int
    tokens: int
    failures: Mapping[str, int]
    regraded: Mapping[str, int]
    apart: Mapping[str, int]

    def __add__(self, other: Diagnostics) -> Diagnostics:
        return Diagnostics(
            self.responses + other.responses,
            self.truncated + other.truncated,
            self.tokens + other.tokens,
            _summed(self.failures, other.failures),
            _summed(self.regraded, other.regraded),
            _summed(self.apart, other.apart),
        )


def _summed(one: Mapping[str, int], other: Mapping[str, int]) -> dict[str, int]:
    return {key: one.get(key, 0) + other.get(key, 0) for key in [*one, *other]}


@dataclass(frozen=True)
class Run:
    """One evaluation; `correct` holds [problems, samples] for each benchmark.

    `model` is the hash of the weights that were evaluated.
    """

    name: str
    correct: dict[str, Correct]
    diagnostics: dict[str, Diagnostics]
    protocol: dict[str, Any]
    model: str


def read_runs(
    folder: Path, names: Sequence[str], benchmarks: Sequence[str], samples: int, rule: str
) -> dict[str, Run]:
    """Read <folder>/<name>/{grades.jsonl,manifest.json} of every run, or raise TableError.

    rule: what all of them must have been graded by.
    """
    manifests = {name: read_manifest(folder / name / "manifest.json") for name in names}
    protocols = {name: flatten(manifest["protocol"]) for name, manifest in manifests.items()}
    check_alike(protocols, "runs of different protocols")
    _check_distinct({name: m.get("responses_sha256") for name, m in manifests.items()})
    runs: dict[str, Run] = {}
    first: dict[Key, int] = {}
    for name in names:
        path = folder / name / "grades.jsonl"
        rows = _grades(path, benchmarks, rule)
        if not first:
            first = _check_samples(path, rows, benchmarks, samples)
        _check_same(path, name, rows, names[0], first)
        rows.sort(key=lambda row: first[row.key])
        parts = {b: [row for row in rows if row.benchmark == b] for b in benchmarks}
        correct = {b: np.array([r.correct for r in part]) for b, part in parts.items()}
        runs[name] = Run(
            name,
            {b: array.reshape(-1, samples) for b, array in correct.items()},
            {b: _diagnose(part) for b, part in parts.items()},
            protocols[name],
            str(manifests[name].get("model")),
        )
    return runs


def _grades(path: Path, benchmarks: Sequence[str], rule: str) -> list[GradeRow]:
    if not path.is_file():
        raise TableError(f"{path} is missing.")
    try:
        rows = read_grades(path)
    except BadRowError as error:
        raise TableError(str(error)) from error
    if not rows:
        raise TableError(f"{path} is empty.")
    for row in rows:
        if row.rule != rule:
            raise TableError(
                f"{path} was graded by the rule {row.rule}, but grading.rule is {rule}; grade it"
                " again."
            )
        if row.benchmark not in benchmarks:
            raise TableError(
                f"{path}: sample {row.sample} of problem {row.id} is of benchmark"
                f" {row.benchmark!r}, which is not among evaluate.benchmarks"
                f" ({', '.join(benchmarks)})."
            )
    return rows


def _check_samples(
    path: Path, rows: list[GradeRow], benchmarks: Sequence[str], samples: int
) -> dict[Key, int]:
    """Every benchmark is there, with samples 0 ... k - 1 of each problem; the order of all keys."""
    found: dict[tuple[str, str], set[int]] = {}
    for row in rows:
        found.setdefault((row.benchmark, row.id), set()).add(row.sample)
    for benchmark in benchmarks:
        if benchmark not in {name for name, _ in found}:
            raise TableError(f"{path} has no row of benchmark {benchmark!r}.")
    for (benchmark, problem), numbers in found.items():
        if numbers != set(range(samples)):
            raise TableError(
                f"{path}: problem {problem} of {benchmark} has {len(numbers)} samples, numbered"
                f" {min(numbers)} to {max(numbers)}, but evaluate.samples is {samples}, numbered"
                f" 0 to {samples - 1}."
            )
    keys = ((b, problem, j) for b, problem in found for j in range(samples))
    return {key: place for place, key in enumerate(keys)}


def _check_same(
    path: Path, name: str, rows: list[GradeRow], first_name: str, first: Mapping[Key, int]
) -> None:
    keys = {row.key for row in rows}
    for here, there, odd in (
        (name, first_name, sorted(keys - first.keys())),
        (first_name, name, sorted(first.keys() - keys)),
    ):
        if odd:
            benchmark, problem, sample = odd[0]
            more = f", and {len(odd) - 1} more," if len(odd) > 1 else ""
            raise TableError(
                f"{path}: sample {sample} of {benchmark} {problem}{more} is in run {here} but not"
                f" in run {there}."
            )


def _diagnose(rows: list[GradeRow]) -> Diagnostics:
    others = [rule for rule in RULES if rule != rows[0].rule]
    return Diagnostics(
        responses=len(rows),
        truncated=sum(row.finish == "length" for row in rows),
        tokens=sum(row.tokens for row in rows),
        failures=Counter(row.status for row in rows if row.status in FAILURES),
        regraded={r: sum(-1 if g.correct else 1 for g in rows if r in g.differs) for r in others},
        apart={r: sum(r in g.differs for g in rows) for r in others},
    )


def read_manifest(path: Path, key: str = "protocol") -> dict[str, Any]:
    """A manifest with a mapping at `key`. Raises TableError without one."""
    if not path.is_file():
        raise TableError(f"{path} is missing, so the run's {key} is unknown.")
    try:
        manifest = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise TableError(f"{path} is not readable as JSON ({error}).") from error
    content = manifest.get(key) if isinstance(manifest, dict) else None
    if not isinstance(content, dict) or not content:
        raise TableError(f"{path} has no {key}.")
    return manifest


def _check_distinct(hashes: Mapping[str, str | None]) -> None:
    """Raise TableError for two runs whose responses are the same to the letter."""
    owner: dict[str, str] = {}
    for run, content in hashes.items():
        if content is None:
            continue
        if content in owner:
            raise TableError(
                f"runs {owner[content]} and {run} hold the same responses to the letter: one was"
                " copied, or both were sampled from one model with one seed."
            )
        owner[content] = run


def flatten(nested: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """{"a": {"b": 1}} -> {"a.b": 1}; an empty mapping stays a value."""
    flat: dict[str, Any] = {}
    for key, value in nested.items():
        if isinstance(value, Mapping) and value:
            flat.update(flatten(value, f"{prefix}{key}."))
        else:
            flat[f"{prefix}{key}"] = value
    return flat


def check_alike(records: Mapping[str, dict[str, Any]], what: str) -> None:
    """Raise TableError, saying which runs differ in which key of their flat records."""
    keys = dict.fromkeys(key for record in records.values() for key in record)
    faults = []
    for key in keys:
        runs_by_value: dict[str, list[str]] = {}
        for run, record in records.items():
            value = json.dumps(record[key], sort_keys=True) if key in record else "absent"
            runs_by_value.setdefault(value, []).append(run)
        if len(runs_by_value) > 1:
            sides = (f"{value} in {listed(runs)}" for value, runs in runs_by_value.items())
            faults.append(f"{key} is {' and '.join(sides)}")
    if faults:
        raise TableError(f"manifest.json: {what}: {'; '.join(faults)}.")


def listed(names: list[str]) -> str:
    """Names for a sentence, the first few of many."""
    if len(names) <= 4:
        return ", ".join(names)
    return f"{', '.join(names[:3])} and {len(names) - 3} more runs"
