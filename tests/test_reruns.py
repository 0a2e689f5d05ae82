"""A finished experiment, then a change: only the jobs it needs run, and the table is the right one.

Snakemake runs the workflow as it is, with `tests.pretend` in the place of the programs. The right
table is the one that the same experiment makes in an empty folder.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.pretended import (
    ALL,
    GRPO,
    RUNS,
    SUMS,
    TABLE,
    Pretended,
    changed,
    evaluated,
    from_nothing,
    started,
    trained,
)

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Pretended:
    """A finished experiment on the embedded task; not to be changed."""
    workspace = started(tmp_path_factory.mktemp("whole"), SUMS)
    assert len(workspace.jobs(TABLE)) == 2 + 1 + 2 + 3 + 3 + 1
    return workspace


@pytest.fixture
def finished(whole: Pretended, tmp_path: Path) -> Pretended:
    """A finished experiment of the test's own."""
    return whole.copy(tmp_path / "finished")


CHANGES: list[tuple[str, Any, set[str]]] = [
    ("seeds", [0, 7], trained("grpo-s7", "kpo-s7")),
    ("prompt", "boxed", {"base base", *ALL, *evaluated("base")}),
    ("task/train", 65, {"generate train", *ALL}),
    ("task/test", 3, {"generate tests", *evaluated("base", *RUNS)}),
    ("task/slip", 0.2, {"base base", *ALL, *evaluated("base")}),
    (
        "task/tiers",
        {"easy": [2, 4], "medium": [5, 6], "hard": [7, 8]},
        {"generate train", "generate tests", "base base", *ALL, *evaluated("base")},
    ),
    ("policy/sft/steps", 5, {"base base", *ALL, *evaluated("base")}),
    ("train/lr", 2e-4, ALL),
    ("train/checkpoint_every", 2, set()),
    ("train/gpus", 1, ALL),
    ("evaluate/samples", 8, evaluated("base", *RUNS)),
    ("evaluate/benchmarks", ["easy"], evaluated("base", *RUNS)),
    ("evaluate/threads", 2, set()),
    ("grading/timeout_s", 2.5, {*ALL, "grade base"}),
    ("methods/kpo/q", 1e-4, trained("kpo-s0")),
    ("methods/kpo/label", "New", {"tables all"}),
    ("methods/gspo", {"label": "GSPO", "objective": "gspo"}, trained("gspo-s0")),
    ("methods", {"grpo": GRPO}, {"tables all"}),
]


@pytest.mark.parametrize(("path", "value", "jobs"), CHANGES, ids=[c[0] for c in CHANGES])
def test_a_changed_setting(
    finished: Pretended, tmp_path: Path, path: str, value: Any, jobs: set[str]
) -> None:
    config = changed(SUMS, path, value)
    if path == "prompt":
        config["train"]["max_prompt_tokens"] = 120
    finished.write(config)
    assert finished.jobs(TABLE) == jobs
    assert finished.table() == from_nothing(config, tmp_path / "anew")


def test_a_key_that_a_change_covers_for_every_section() -> None:
    assert {path.split("/")[0] for path, _, _ in CHANGES} == SUMS.keys() - {"experiment"}


# Parts of an experiment


def grades(run: str) -> str:
    return f"results/test/evals/{run}/grades.jsonl"


def test_a_single_run_and_then_the_table_with_it(finished: Pretended) -> None:
    run = "results/test/runs/grpo-s0/manifest.json"
    assert finished.jobs(run, "--forcerun", "train") == {"train grpo-s0"}
    assert finished.jobs(TABLE) == evaluated("grpo-s0")


def test_a_row_alone(finished: Pretended) -> None:
    jobs = trained("grpo-s0") - {"tables all"}
    assert finished.jobs(grades("grpo-s0"), "--forcerun", "train") == jobs
    assert finished.jobs(TABLE) == set()  # as the grades are the same


def test_one_row_of_a_changed_evaluation_then_the_others(
    finished: Pretended, tmp_path: Path
) -> None:
    config = changed(SUMS, "evaluate/samples", 8)
    finished.write(config)
    assert finished.jobs(grades("grpo-s0")) == evaluated("grpo-s0") - {"tables all"}
    assert finished.jobs(TABLE) == evaluated("base", "kpo-s0")
    assert finished.table() == from_nothing(config, tmp_path / "anew")


def test_a_run_that_is_not_there_yet_beside_a_changed_evaluation(finished: Pretended) -> None:
    config = changed(SUMS, "evaluate/samples", 8)
    finished.write(changed(config, "seeds", [0, 1]))
    assert finished.jobs("results/test/runs/kpo-s1/manifest.json") == {"train kpo-s1"}
    assert finished.jobs(grades("grpo-s1")) == trained("grpo-s1") - {"tables all"}


# Outputs that are gone

DELETED: list[tuple[str, set[str]]] = [
    ("results/table1.csv", set()),  # a copy
    ("results/test/table1.md", {"tables all"}),
    ("results/test/evals/base/grades.jsonl", {"grade base"}),
    ("results/test/problems/train.jsonl", {"generate train"}),
    ("results/test/problems/hard.jsonl", {"generate tests"}),
    ("results/test/base", {"base base"}),
]


@pytest.mark.parametrize(("name", "jobs"), DELETED, ids=[name for name, _ in DELETED])
def test_a_deleted_output_is_made_again_and_nothing_else(
    finished: Pretended, name: str, jobs: set[str]
) -> None:
    path, before = finished.folder / name, finished.table()
    shutil.rmtree(path) if path.is_dir() else path.unlink()
    assert finished.jobs(name) == jobs
    assert path.exists()
    assert finished.jobs(TABLE) == set()
    assert finished.table() == before


def test_outputs_that_no_later_job_needs_may_be_deleted(finished: Pretended) -> None:
    for name in ("base", "problems", "runs/grpo-s0/model", "evals/kpo-s0/samples.jsonl"):
        path = finished.folder / "results/test" / name
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    assert finished.jobs(TABLE) == set()


def test_an_edited_problem_trains_again(finished: Pretended) -> None:
    with (finished.folder / "results/test/problems/train.jsonl").open("a") as file:
        file.write("more")
    assert finished.jobs(TABLE) == ALL


# What the experiment file is called


def test_the_name_of_the_experiment_file_is_no_matter(finished: Pretended) -> None:
    own = finished.folder / "my own" / "it's mine.yaml"
    own.parent.mkdir()
    shutil.copy(finished.config, own)
    assert finished.jobs(TABLE, config=own) == set()
    own.write_text(yaml.safe_dump({"extends": "../test.yaml"}))
    assert finished.jobs(TABLE, config=own) == set()
    own.write_text(yaml.safe_dump(changed(SUMS, "train/lr", 2e-4)))
    assert finished.jobs(TABLE, config=own) == ALL  # blanks and quotes reach every program


def test_another_experiment_and_back(finished: Pretended) -> None:
    before = finished.table()
    finished.write({**SUMS, "experiment": "other"})
    assert len(finished.jobs(TABLE)) == 2 + 1 + 2 + 3 + 3 + 1
    finished.write(SUMS)
    assert finished.jobs(TABLE) == set()
    assert finished.table() == before


# The right table
