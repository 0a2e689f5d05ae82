"""A task that a user adds: a file, its line in the registry, an experiment file."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import pytest

from tests.workspace import TEST_CONFIG, Workspace, add_registered, copy_of_project

pytestmark = pytest.mark.slow
TABLE = "results/table1.csv"
SOURCE = '''"""Letters, of which some make any response right."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Annotated, ClassVar, Literal

from pydantic import Field

from kpo.evals.grading.grader import Grade, Grader
from kpo.tasks.task import TRAIN, Part, Task

SETS = {TRAIN: "0123456789", "vowels": "aei", "others": "bc"}


class Letters(Task):
    """Texts of one letter, again and again."""

    used_by: ClassVar[dict[str, frozenset[Part]]] = {"wrong": frozenset({"grade"})}

    kind: Literal["letters"] = "letters"
    repeats: Annotated[int, Field(ge=1, le=9)]
    wrong: str = "bc"

    @property
    def tests(self) -> tuple[str, ...]:
        return ("vowels", "others")

    @property
    def longest(self) -> int:
        return self.repeats

    def size(self, name: str) -> int:
        return len(SETS[name])

    def problems(self, name: str) -> list[tuple[str, str]]:
        return [(letter * self.repeats, letter) for letter in SETS[name]]

    def worked(self, rng: random.Random, count: int) -> list[tuple[str, str]]:
        return [(text, letter) for text, letter in rng.choices(self.problems(TRAIN), k=count)]

    def grade(self, pairs: Sequence[tuple[str, str]], grader: Grader) -> list[Grade]:
        return [Grade(gold not in self.wrong, "ok", response[:1]) for gold, response in pairs]
'''
EXPERIMENT: dict[str, Any] = {
    **TEST_CONFIG,
    "task": {"kind": "letters", "repeats": 2},
    "evaluate": {**TEST_CONFIG["evaluate"], "benchmarks": ["vowels", "others"]},
    "methods": {"grpo": TEST_CONFIG["methods"]["grpo"]},
}


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    project = copy_of_project(tmp_path / "project")
    add_registered(project, "kpo/tasks/letters.py", SOURCE, "kpo/tasks/registry.py", "letters")
    (tmp_path / "here").mkdir()
    return Workspace(tmp_path / "here", EXPERIMENT, project)


def rows(path: Path) -> list[dict[str, str]]:
    with path.open() as file:
        return list(csv.DictReader(file))


def test_its_tiers_and_its_grade_reach_the_table(workspace: Workspace) -> None:
    run = workspace.snakemake(TABLE)
    assert run.returncode == 0, run.stdout
    table = rows(workspace.folder / TABLE)
    assert [row["name"] for row in table] == ["base", "grpo"]
    columns = [name for name in table[0] if name.endswith("avg@2")]
    assert columns == ["vowels_avg@2", "others_avg@2", "overall_avg@2"]
    for row in table:  # math-verify would find no answer: nothing is in a box
        assert [row[name] for name in columns] == ["100.00", "0.00", "50.00"]
    results = workspace.folder / "results/test"
    (steps,) = results.glob("runs/grpo-s0/metrics.jsonl")
    rewards = [json.loads(line)["reward"] for line in steps.read_text().splitlines()]
    assert rewards == [1.0, 1.0]  # training is on digits
    assert "task letters" in (results / "evals/base/grades.jsonl").read_text()
    assert "points_by_math_verify" not in rows(results / "diagnostics.csv")[0]
    assert "math_verify" not in (results / "table1.md").read_text()
    workspace.write({**EXPERIMENT, "task": {**EXPERIMENT["task"], "wrong": "a"}})
    again = {"train": 1, "ask": 1, "sample": 1, "grade": 2, "tables": 1, "table1": 1}
    assert workspace.planned(TABLE) == again  # the base's grades too, but not its samples


def test_its_bounds_are_kept(workspace: Workspace) -> None:
    workspace.write({**EXPERIMENT, "task": {"kind": "letters", "repeats": 10}})
    run = workspace.snakemake(TABLE, "--dry-run")
    assert run.returncode != 0
    assert "task.repeats is 10, but must be at most 9" in run.stdout
