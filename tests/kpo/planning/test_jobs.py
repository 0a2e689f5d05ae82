"""Jobs that are left of an experiment, and their time by what was measured."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from kpo.common.cli import UserError
from kpo.config.experiment import Experiment, load_experiment
from kpo.planning.jobs import (
    Measured,
    all_jobs,
    jobs_left,
    own_timings,
    read_seconds,
    seconds_text,
    wall_seconds,
)
from tests.workspace import TEST_CONFIG

BENCHMARK = "s\th:m:s\tmax_rss\n{}\t0:00:01\t9.5\n"


@pytest.fixture
def experiment(tmp_path: Path) -> Experiment:
    """The test experiment: two methods, two seeds."""
    path = tmp_path / "test.yaml"
    path.write_text(yaml.safe_dump({**TEST_CONFIG, "seeds": [0, 1]}))
    return load_experiment(path)


def make(root: Path, *names: str) -> None:
    for name in names:
        path = root / "test" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("")


def test_where_nothing_is_there_all_is_left(experiment: Experiment, tmp_path: Path) -> None:
    left = {"base": 1, "train": 4, "sample": 5, "grade": 5, "tables": 1}
    assert jobs_left(experiment, tmp_path) == all_jobs(4) == left


def test_what_is_there_is_not_made_again(experiment: Experiment, tmp_path: Path) -> None:
    make(tmp_path, "base.sha256", "runs/grpo-s0/manifest.json", "runs/grpo-s1/manifest.json")
    make(tmp_path, "evals/base/manifest.json", "evals/base/grades.jsonl")
    make(tmp_path, "evals/grpo-s0/manifest.json")
    left = {"base": 0, "train": 2, "sample": 3, "grade": 4, "tables": 1}
    assert jobs_left(experiment, tmp_path) == left


def test_a_base_that_no_job_needs_is_not_made(experiment: Experiment, tmp_path: Path) -> None:
    for run in experiment.runs:
        make(tmp_path, f"runs/{run}/manifest.json")
    for run in ("base", *experiment.runs):
        make(tmp_path, f"evals/{run}/manifest.json", f"evals/{run}/grades.jsonl")
    assert sum(jobs_left(experiment, tmp_path).values()) == 1  # the tables
    make(tmp_path, "table1.csv")
    assert sum(jobs_left(experiment, tmp_path).values()) == 0


def test_jobs_run_beside_each_other_but_for_the_base_and_the_tables() -> None:
    took = {"base": 50.0, "train": 30.0, "sample": 4.0, "grade": 1.0, "tables": 2.0}
    seconds = {("a", kind): value for kind, value in took.items()}
    jobs = {"base": 1, "train": 10, "sample": 10, "grade": 10, "tables": 1}
    assert wall_seconds(jobs, "a", seconds, 1) == 50 + 350 + 2
    assert wall_seconds(jobs, "a", seconds, 2) == 50 + 175 + 2


def test_a_kind_that_was_never_measured_is_not_guessed() -> None:
    seconds = {("a", "train"): 30.0}
    assert wall_seconds({"train": 2, "sample": 1}, "a", seconds, 1) is None
    assert wall_seconds({"train": 2, "sample": 0}, "a", seconds, 1) == 60
    assert wall_seconds({"train": 2}, "b", seconds, 1) is None


def test_times_are_those_that_snakemake_wrote(tmp_path: Path) -> None:
    folder = tmp_path / "test/timings"
    (folder / "train").mkdir(parents=True)
    (folder / "base.tsv").write_text(BENCHMARK.format("44.5"))
    (folder / "train/grpo-s0.tsv").write_text(BENCHMARK.format("20.0"))
    (folder / "train/grpo-s1.tsv").write_text(BENCHMARK.format("30.0"))
    assert [*own_timings("test", tmp_path, "here")] == [
        Measured("test", "base", 44.5, 1, "here"),
        Measured("test", "train", 25.0, 2, "here"),
    ]
    assert [*own_timings("other", tmp_path, "here")] == []


def test_measured_seconds_are_read_as_they_were_written(tmp_path: Path) -> None:
    rows = [Measured("a", "train", 25.5, 4, "x86_64, 2 cores"), Measured("a", "base", 9.0, 1, "m")]
    (tmp_path / "seconds.csv").write_text(seconds_text(rows))
    assert read_seconds(tmp_path / "seconds.csv") == rows


@pytest.mark.parametrize(
    "text", [None, "a,b\n1,2\n", "experiment,job,seconds,jobs,machine\na,b,x,1,m\n"]
)
def test_another_file_is_refused_in_a_sentence(tmp_path: Path, text: str | None) -> None:
    path = tmp_path / "seconds.csv"
    if text is not None:
        path.write_text(text)
    with pytest.raises(UserError, match=r"seconds\.csv"):
        read_seconds(path)
