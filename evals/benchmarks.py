"""Benchmarks: problems whose golds are checked before anything is trained or sampled.

    python -m evals.benchmarks --config workflow/config/tiny.yaml \\
        --problems results/tiny/problems --out results/tiny/benchmarks.json
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass, replace
from pathlib import Path

from evals.answers import normalise_gold
from evals.grade import check_golds
from kpo.cli import experiment_argument, fail, load_or_exit
from kpo.config import Experiment
from kpo.files import write_json
from kpo.tasks.problems import DataError, Problem, choose_folder, content_hash, load_problems


@dataclass(frozen=True)
class Benchmark:
    """A named list of problems and the hash of its texts and golds as they were loaded."""

    name: str
    problems: list[Problem]
    content: str

    def record(self) -> dict[str, int | str]:
        """What manifests say of it."""
        return {"problems": len(self.problems), "content_sha256": self.content}


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


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(
        prog="python -m evals.benchmarks",
        description="Load and check every benchmark of the experiment. Reads the experiment file"
        " and the problems; writes a JSON file with the size and content hash of each.",
    )
    experiment_argument(parser)
    parser.add_argument(
        "--problems", type=Path, help="folder of JSONL problems; else as configured"
    )
    parser.add_argument("--out", type=Path, required=True, help="JSON file to write")
    args = parser.parse_args()
    try:
        benchmarks = load_benchmarks(load_or_exit(args.config), args.problems)
    except DataError as error:
        fail(error)
    write_json(args.out, {benchmark.name: benchmark.record() for benchmark in benchmarks})


if __name__ == "__main__":
    main()
