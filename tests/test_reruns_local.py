"""Files of one's own behind a finished experiment: models, problems and code count by content."""

import os
import shutil
from pathlib import Path

import pytest

from tests.pretended import (
    ALL,
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
from tests.workspace import REPO, copy_of_project

pytestmark = pytest.mark.slow
LOCAL = {
    **{key: value for key, value in SUMS.items() if key != "task"},
    "policy": {"kind": "pretrained", "model": "../model"},
    "data": {"train_folder": "../data", "benchmarks_folder": "../data"},
    "train": {**SUMS["train"], "problems": "gsm8k-train"},
    "evaluate": {**SUMS["evaluate"], "benchmarks": ["aime24"]},
}


@pytest.fixture(autouse=True)
def _no_folders(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("KPO_TRAIN_PROBLEMS", raising=False)
    monkeypatch.delenv("KPO_BENCHMARKS", raising=False)


def write_files(folder: Path) -> None:
    """A model and problems, beside the folder that snakemake works in."""
    for name in ("model/config.json", "data/gsm8k-train.jsonl", "data/aime24.jsonl"):
        (folder / name).parent.mkdir(exist_ok=True, parents=True)
        (folder / name).write_text('{"problem": "1+1=?", "answer": "2"}\n')


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Pretended:
    folder = tmp_path_factory.mktemp("local")
    write_files(folder)
    workspace = started(folder / "here", LOCAL)
    jobs = workspace.jobs(TABLE)
    first = {"benchmarks all", "training_set all", "base base"}
    assert jobs == {*first, *ALL, *evaluated("base")}
    return workspace


@pytest.fixture
def finished(whole: Pretended, tmp_path: Path) -> Pretended:
    write_files(tmp_path)
    return whole.copy(tmp_path / "here")


def replace(path: Path) -> None:
    """Other content, as old as the first: what a file's time says is no matter."""
    path.write_text('{"problem": "1+2=?", "answer": "3"}\n')
    os.utime(path, (0, 0))


EVERYTHING = {"base base", "benchmarks all", *ALL, *evaluated("base")}


@pytest.mark.parametrize(
    ("name", "jobs"),
    [
        ("data/gsm8k-train.jsonl", {"training_set all", *ALL}),
        ("data/aime24.jsonl", evaluated("base", *RUNS)),
        ("model/config.json", EVERYTHING),
    ],
)
def test_a_replaced_file_is_seen(
    finished: Pretended, tmp_path: Path, name: str, jobs: set[str]
) -> None:
    replace(tmp_path / name)
    assert finished.jobs(TABLE) == jobs
    assert finished.table() == from_nothing(LOCAL, tmp_path / "anew")


def test_a_file_that_is_touched_or_moved_is_the_same_file(
    finished: Pretended, tmp_path: Path
) -> None:
    for name in ("model", "data"):
        shutil.copytree(tmp_path / name, tmp_path / f"other-{name}")
        shutil.rmtree(tmp_path / name)
    config = changed(LOCAL, "policy/model", "../other-model")
    config["data"] = dict.fromkeys(config["data"], "../other-data")
    finished.write(config)
    assert finished.jobs(TABLE) == set()


@pytest.mark.parametrize(
    ("variable", "name", "jobs"),
    [
        ("KPO_TRAIN_PROBLEMS", "gsm8k-train.jsonl", {"training_set all", *ALL}),
        ("KPO_BENCHMARKS", "aime24.jsonl", evaluated("base", *RUNS)),
    ],
)
def test_a_variable_that_names_other_problems_is_seen(
    finished: Pretended,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    variable: str,
    name: str,
    jobs: set[str],
) -> None:
    shutil.copytree(tmp_path / "data", tmp_path / "more")
    monkeypatch.setenv(variable, str(tmp_path / "more"))
    assert finished.jobs(TABLE) == set()  # the same problems
    replace(tmp_path / "more" / name)
    assert finished.jobs(TABLE) == jobs
    assert finished.table() == from_nothing(LOCAL, tmp_path / "anew")


def test_a_bad_gold_stops_the_work_before_it_starts(tmp_path: Path) -> None:
    write_files(tmp_path)
    with (tmp_path / "data/aime24.jsonl").open("a") as file:
        file.write('{"problem": "1+1=?", "answer": "bad gold"}\n')
    workspace = started(tmp_path / "here", LOCAL)
    jobs = workspace.jobs(TABLE, fails=True)
    assert not [job for job in jobs if job.startswith("train ")]


# Code of one's own


@pytest.fixture
def project(tmp_path: Path) -> Path:
    return copy_of_project(tmp_path / "project")


def test_an_edited_objective_trains_again_and_an_edited_grader_grades_again(
    project: Path, tmp_path: Path
) -> None:
    workspace = started(tmp_path / "here", SUMS, project)
    workspace.jobs(TABLE)
    objective, text = project / "baselines/grpo.py", (REPO / "baselines/grpo.py").read_text()
    objective.write_text(f"# A remark.\n{text}")
    assert workspace.jobs(TABLE) == set()
    objective.write_text(text.replace("z = token_log", "z = 2 * token_log"))
    assert objective.read_text() != text
    assert workspace.jobs(TABLE) == trained("grpo-s0")
    assert workspace.table() == from_nothing(SUMS, tmp_path / "anew", project)
    grading = project / "evals/grading/equivalence.py"
    grading.write_text(f"{grading.read_text()}\nSTRICT = True\n")
    assert workspace.jobs(TABLE) == {*(f"grade {run}" for run in ("base", *RUNS)), "tables all"}
