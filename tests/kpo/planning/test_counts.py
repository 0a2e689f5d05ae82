"""Numbers of problems: from files, from what is known of the hub, and unknown ones."""

import json
from pathlib import Path
from typing import Any

import pytest

from kpo.planning.counts import (
    benchmark_problems,
    training_problems,
    training_record,
)
from kpo.tasks.datasets.sources import SOURCES
from kpo.tasks.problems import DataError, Problem, content_hash
from kpo.trainer.training_set import TrainingSet, write
from tests.kpo.config.experiments import HUB, SCRATCH, Tree, changed, load


@pytest.fixture(autouse=True)
def _nothing_but_files(monkeypatch: pytest.MonkeyPatch) -> None:
    def unreachable(*_: Any, **__: Any) -> None:
        raise AssertionError("asked the hub")

    monkeypatch.setattr("kpo.tasks.problems._from_hub", unreachable)
    monkeypatch.delenv("KPO_TRAIN_PROBLEMS", raising=False)
    monkeypatch.delenv("KPO_BENCHMARKS", raising=False)


def counts(folder: Path, tree: Tree) -> tuple[int | None, dict[str, int | None]]:
    experiment = load(folder, tree)
    record = training_record(experiment)
    return training_problems(experiment, record), benchmark_problems(experiment)


def test_every_known_data_set_has_a_size() -> None:
    assert all(source.size for source in SOURCES.values())


def test_the_tasks(tmp_path: Path) -> None:
    assert counts(tmp_path, SCRATCH) == (64, {"easy": 4, "hard": 4})
    limited = changed(SCRATCH, "evaluate/limit", 3)
    assert counts(tmp_path, limited)[1] == {"easy": 3, "hard": 3}


def test_the_hubs(tmp_path: Path) -> None:
    assert counts(tmp_path, HUB) == (7473, {"aime24": 30, "math500": 500})
    limited = changed(HUB, "evaluate/limit", 100)
    assert counts(tmp_path, limited)[1] == {"aime24": 30, "math500": 100}
    another_commit = changed(HUB, "data/sources/aime24", {"revision": "abc"})
    assert counts(tmp_path, another_commit)[1]["aime24"] == 30
    another_split = changed(HUB, "data/sources/aime24", {"split": "test"})
    assert counts(tmp_path, another_split)[1]["aime24"] is None
    told = changed(HUB, "data/sources/aime24", {"hub": "me/aime", "split": "train", "size": 90})
    assert counts(tmp_path, told)[1]["aime24"] == 90


def test_unknown_ones(tmp_path: Path) -> None:
    assert counts(tmp_path, changed(HUB, "train/problems", "mine"))[0] is None
    another = changed(HUB, "data/sources/aime24", {"hub": "me/aime", "split": "train"})
    assert counts(tmp_path, another)[1] == {"aime24": None, "math500": 500}


def test_files(tmp_path: Path) -> None:
    rows = [json.dumps({"problem": f"{i}+1=?", "answer": str(i + 1)}) for i in range(6)]
    for name in ("aime24", "math500"):
        (tmp_path / f"{name}.jsonl").write_text("\n".join(rows[:5]) + "\n")
    (tmp_path / "gsm8k-train.jsonl").write_text("\n".join(rows * 2) + "\n")
    tree = changed(HUB, "data/train_folder", str(tmp_path))
    tree = changed(tree, "data/benchmarks_folder", str(tmp_path))
    assert counts(tmp_path, tree) == (1, {"aime24": 5, "math500": 5})  # 5 are the benchmarks'
    here = changed(tree, "data/benchmarks_folder", None)
    assert counts(tmp_path, here) == (6, {"aime24": 30, "math500": 500})
    (tmp_path / "aime24.jsonl").write_text("{torn")
    with pytest.raises(DataError, match="aime24"):
        counts(tmp_path, tree)


def test_what_the_rule_wrote(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tree = changed(HUB, "data/contamination", "keep")
    experiment = load(tmp_path, tree)
    rows = [Problem("a", "1+1=?", "2")]
    record = {"name": "gsm8k-train", "problems": 1, "problems_sha256": content_hash(rows)}
    settings = experiment.section("data")
    write(TrainingSet(rows, {**record, "settings": settings}, []), tmp_path / "results/x/data")
    monkeypatch.chdir(tmp_path)
    assert counts(tmp_path, changed(tree, "experiment", "x"))[0] == 1
    assert counts(tmp_path, changed(HUB, "experiment", "x"))[0] == 7473  # of other settings
