"""Golds with answers that are right and wrong: golds.txt, kinds.txt, and the benchmarks' files."""

from __future__ import annotations

import os
from pathlib import Path
from typing import NamedTuple

from kpo.evals.grading.golds import normalise_gold
from kpo.evals.grading.grader import Grade, Grader
from kpo.tasks.datasets.sources import SOURCES

COUNTS = {
    "aime24": 30,
    "aime25": 30,
    "amc23": 40,
    "math500": 500,
    "minerva": 272,
    "olympiadbench": 675,
    "gsm8k": 1319,
}


class Case(NamedTuple):
    """A gold as its benchmark has it, answers that are right and answers that are wrong."""

    benchmark: str
    gold: str
    right: tuple[str, ...]
    wrong: tuple[str, ...]

    @property
    def normalised(self) -> str:
        return normalise_gold(normaliser_of(self.benchmark), self.gold)


def normaliser_of(benchmark: str) -> str | None:
    return SOURCES[benchmark].normaliser if benchmark in SOURCES else None


def read_cases(name: str) -> list[Case]:
    text = Path(__file__).with_name(name).read_text(encoding="utf-8")
    cases = []
    for block in text.split("\n\n")[1:]:
        head, right, wrong = block.strip().split("\n")
        benchmark, gold = head.split(": ", 1)
        assert (right[:2], wrong[:2]) == ("= ", "! ")
        cases.append(
            Case(benchmark, gold, tuple(right[2:].split(" ;; ")), tuple(wrong[2:].split(" ;; ")))
        )
    return cases


def graded_by_one(pairs: list[tuple[str, str]], timeout_s: float) -> dict[tuple[str, str], Grade]:
    """Grades of (gold, answer) pairs, each answer in a box, by one grader."""
    with Grader(workers=2, timeout_s=timeout_s) as grader:
        grades = grader.grade([(gold, f"\\boxed{{{answer}}}") for gold, answer in pairs])
    return dict(zip(pairs, grades, strict=True))


CASES = read_cases("golds.txt")
KINDS = read_cases("kinds.txt")

_BESIDE = Path(__file__).resolve().parents[4] / "shared" / "benchmarks"
_FOLDER = Path(os.environ.get("KPO_BENCHMARKS", _BESIDE))
BENCHMARK_FILES = [path for name in COUNTS if (path := _FOLDER / f"{name}.jsonl").exists()]
