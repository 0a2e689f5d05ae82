"""Responses to a task that grades itself are evaluated by its grade, as in training."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import pytest

from kpo.common.cli import UserError
from kpo.config.experiment import load_experiment
from kpo.evals import grade, regrade
from kpo.evals.grading.grader import Grade, Grader
from kpo.evals.sampling.benchmarks import load_benchmarks
from kpo.evals.table.runs import read_runs
from kpo.tasks.registry import TASKS
from kpo.tasks.task import Task
from tests.evals.stored import row, write
from tests.kpo.config.experiments import SCRATCH, changed
from tests.kpo.config.experiments import write as write_experiment

GOLD = "$at least 5"
"""Of a task that finds right what math-verify cannot even read."""


class Floor(Task):
    """Asks for numbers that are large enough."""

    kind: Literal["floor"] = "floor"
    drops: int = 0

    @property
    def tests(self) -> tuple[str, ...]:
        return ("minerva",)

    @property
    def longest(self) -> int:
        return 3

    def size(self, name: str) -> int:
        return 64

    def problems(self, name: str) -> list[tuple[str, str]]:
        return [(f"{name[0]}{i}", GOLD) for i in range(64)]

    def worked(self, rng: Any, count: int) -> list[tuple[str, str]]:
        return []

    def grade(self, pairs: Sequence[tuple[str, str]], grader: Grader) -> list[Grade]:
        told = [int(response) for _, response in pairs[self.drops :]]
        bounds = [int(gold.removeprefix("$at least ")) for gold, _ in pairs]
        return [
            Grade(t >= b, "ok", str(t), ("math_verify",))
            for t, b in zip(told, bounds, strict=False)
        ]


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setitem(TASKS, "floor", Floor)
    tree = changed(changed(SCRATCH, "task", {"kind": "floor"}), "evaluate/benchmarks", ["minerva"])
    tree["evaluate"]["samples"] = 1
    return write_experiment(tmp_path / "floor.yaml", tree)


@pytest.fixture
def samples(tmp_path: Path) -> Path:
    responses = ("4", "5", "6")
    return write(tmp_path / "samples.jsonl", [row(i, GOLD, r) for i, r in enumerate(responses)])


def graded(samples: Path, *options: str) -> Path:
    out = samples.with_name("grades.jsonl")
    grade.main(["--samples", str(samples), "--out", str(out), *options])
    return out


def test_its_grade_and_golds_are_the_tasks(config: Path, samples: Path) -> None:
    out = graded(samples, "--config", str(config))
    rows = [json.loads(line) for line in out.read_text().splitlines()]
    assert [r["correct"] for r in rows] == [False, True, True]
    assert {r["rule"] for r in rows} == {"task floor"}
    assert not any("differs" in r for r in rows)  # it stands beside no other rule


def test_without_the_experiment_the_rule_decides_as_ever(samples: Path) -> None:
    rows = [json.loads(line) for line in graded(samples).read_text().splitlines()]
    assert [(r["correct"], r["status"]) for r in rows] == [(False, "no_answer")] * 3


@pytest.mark.parametrize(
    ("task", "sentence"),
    [
        ({"train": 64, "test": 4}, "has no task with a grade of its own; leave it out"),
        ({"kind": "floor", "drops": 1}, "task floor: grade gave 2 grades for 3 responses"),
    ],
)
def test_what_cannot_grade_writes_nothing(
    config: Path,
    samples: Path,
    capsys: pytest.CaptureFixture[str],
    task: dict[str, Any],
    sentence: str,
) -> None:
    benchmark = "minerva" if "kind" in task else "easy"
    tree = changed(changed(SCRATCH, "task", task), "evaluate/benchmarks", [benchmark])
    write_experiment(config, tree)
    with pytest.raises(SystemExit, match="2"):
        graded(samples, "--config", str(config))
    error = capsys.readouterr().err
    assert sentence in error
    assert error.count("\n") == 1
    assert not samples.with_name("grades.jsonl").exists()


def test_a_table_takes_no_other_grades(config: Path, samples: Path) -> None:
    experiment = load_experiment(config)
    assert experiment.other_rules == []
    run = samples.parent / "base"
    run.mkdir()
    (run / "manifest.json").write_text(json.dumps({"protocol": {"samples": 1}, "model": "m"}))
    graded(samples).rename(run / "grades.jsonl")
    with pytest.raises(UserError, match="by the rule by_kind, but the experiment's is task floor"):
        read_runs(experiment, samples.parent, ["base"])
    graded(samples, "--config", str(config)).rename(run / "grades.jsonl")
    runs = read_runs(experiment, samples.parent, ["base"])
    assert runs["base"].correct["minerva"].tolist() == [[False], [True], [True]]


def test_a_report_of_graders_knows_that_no_other_rule_was_asked(
    config: Path, samples: Path, tmp_path: Path
) -> None:
    grades, out = graded(samples, "--config", str(config)), tmp_path / "report.md"
    files = ["--samples", str(samples), "--grades", str(grades), "--out", str(out)]
    regrade.main(files)
    report = out.read_text()
    assert "| task floor (graded) | 3 | 2 |" in report
    assert "math_verify" not in report
    assert "by_kind" not in report


def test_its_golds_need_not_be_mathematics(config: Path, tmp_path: Path) -> None:
    problem = {"id": "minerva/0", "problem": "m0", "answer": GOLD}
    (tmp_path / "minerva.jsonl").write_text(json.dumps(problem) + "\n")
    (found,) = load_benchmarks(load_experiment(config), tmp_path)
    assert [p.answer for p in found.problems] == [GOLD]


def test_its_code_is_what_grades_and_training_depend_on(config: Path) -> None:
    experiment = load_experiment(config)
    assert experiment.task is not None
    section = experiment.task.section("grade")
    assert experiment.section("grade")["task"] == section
    assert experiment.section("train", "grpo")["task"] == section
    assert "code" in section
