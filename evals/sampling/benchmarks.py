"""Benchmarks as they are evaluated: problems with checked golds, prompts that fit a model."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from transformers import AutoConfig

from kpo.common.cli import UserError
from kpo.common.files import sha256_json
from kpo.common.manifest import package_versions
from kpo.common.source_code import code_hash
from kpo.config.experiment import Experiment
from kpo.evals.grading.grader import check_golds
from kpo.evals.sampling.sources import open_benchmarks
from kpo.tasks.datasets.sources import Source
from kpo.tasks.problems import (
    DataError,
    Problem,
    choose_folder,
    content_hash,
    locate,
    open_problems,
)
from kpo.tasks.prompts import PROTOCOLS


@dataclass(frozen=True)
class Benchmark:
    """A named list of problems, and the hash of its texts and normalised golds."""

    name: str
    problems: list[Problem]
    content: str
    origin: dict[str, str | None]

    def record(self) -> dict[str, int | str]:
        """What must be equal for two evaluations to be on the same problems."""
        return {"problems": len(self.problems), "content_sha256": self.content}


def checker() -> str:
    """Hash of what says whether a gold is usable: the code of grading, and packages."""
    code = code_hash("kpo.evals.grading.grader", "kpo.evals.grading.worker")
    return sha256_json([code, package_versions()])


def load_benchmarks(
    experiment: Experiment, folder: Path | None, checked: Path | None = None
) -> list[Benchmark]:
    """The experiment's benchmarks from `folder`, else from the data section's folder or the hub.

    Raises UserError for data that cannot be read and for a gold that does not parse or is not
    equal to itself, naming benchmark, id and gold; golds of a task that grades itself are its own.
    Problems that stand in `checked`, what evals.benchmarks wrote, are not checked again.
    """
    known = _contents(checked) if checked else set()
    benchmarks = []
    for stream in open_benchmarks(experiment, folder):
        problems = stream.load(experiment.evaluate.limit)
        content = content_hash(problems)
        if not experiment.grades_itself and content not in known:
            check_golds([(f"{stream.name} {p.id}", p.answer) for p in problems])
        benchmarks.append(Benchmark(stream.name, problems, content, stream.origin))
    return benchmarks


def _contents(path: Path) -> set[str]:
    """Hashes of the problems that the `checker` of today found usable, by a file of its record."""
    try:
        records, today = json.loads(path.read_bytes()).values(), checker()
        return {one["content_sha256"] for one in records if one.get("checked_by") == today}
    except (OSError, ValueError, AttributeError, KeyError, TypeError) as error:
        raise UserError(f"{path} is not a JSON file that evals.benchmarks wrote") from error


def all_problems(benchmarks: list[Benchmark]) -> Iterator[tuple[str, Problem]]:
    """Every problem with its benchmark's name."""
    return ((b.name, problem) for b in benchmarks for problem in b.problems)


def encode(
    experiment: Experiment, tokenizer: Any, model: Path, benchmarks: list[Benchmark]
) -> dict[tuple[str, str], list[int]]:
    """Prompt tokens by (benchmark, problem).

    Raises DataError for one that leaves no room for a response in the positions of the model.
    """
    limit = AutoConfig.from_pretrained(model).max_position_embeddings
    protocol = PROTOCOLS[experiment.prompt]
    response = experiment.evaluate.max_response_tokens
    prompts = {}
    for benchmark, problem in all_problems(benchmarks):
        tokens = protocol.encode(tokenizer, problem.problem, "evaluation")
        if len(tokens) + response > limit:
            raise DataError(
                f"{benchmark}: the prompt of {problem.id} has {len(tokens)} tokens and"
                f" evaluate.max_response_tokens is {response}, together more than the model's"
                f" {limit} positions: lower it"
            )
        prompts[benchmark, problem.id] = tokens
    return prompts


def compare_with_hub(experiment: Experiment, folder: Path | None) -> list[str]:
    """A sentence for every benchmark whose rows in the folder are not the hub's, naming a row.

    Raises DataError where no folder is configured, and where either cannot be read.
    """
    folder = folder or choose_folder(experiment.data.benchmarks_folder, "KPO_BENCHMARKS")
    if folder is None:
        raise DataError("--compare-hub: no folder of data files is named, so there is one side")
    sources = experiment.data.sources
    differences = []
    for name in experiment.evaluate.benchmarks:
        known = locate(name, folder=None, sources=sources)
        assert isinstance(known, Source)
        any_rows = {**sources, name: known.model_copy(update={"sha256": None})}
        here = open_problems(name, folder=folder, sources=any_rows).load()
        there = open_problems(name, folder=None, sources=any_rows).load()
        if content_hash(here) != content_hash(there):
            differences.append(f"{name}: {_first_difference(here, there)}")
    return differences


def _first_difference(here: list[Problem], there: list[Problem]) -> str:
    for a, b in zip(here, there, strict=False):
        if a.problem != b.problem:
            return f"the problem of {a.id} is another than that of {b.id} on the hub"
        if a.answer != b.answer:
            return f"the gold of {a.id} is {a.answer!r}, on the hub {b.answer!r}"
    return f"{len(here)} problems, on the hub {len(there)}"
