"""Numbers of problems: from files, from what is known of the hub, and unknown ones."""

import json
from pathlib import Path
from typing import Any

import pytest

from kpo.problem_counts import ON_THE_HUB, benchmark_problems, training_problems
from kpo.tasks.problems import DataError
from kpo.tasks.sources import SOURCES
from tests.kpo.test_config import HUB, SCRATCH, Tree, changed, load


@pytest.fixture(autouse=True)
def _nothing_but_files(monkeypatch: pytest.MonkeyPatch) -> None:
    def unreachable(*_: Any, **__: Any) -> None:
        raise AssertionError("asked the hub")

    monkeypatch.setattr("kpo.tasks.problems._from_hub", unreachable)
    monkeypatch.delenv("KPO_TRAIN_PROBLEMS", raising=False)
    monkeypatch.delenv("KPO_BENCHMARKS", raising=False)


def counts(folder: Path, tree: Tree) -> tuple[int | None, dict[str, int | None]]:
    experiment = load(folder, tree)
    return training_problems(experiment), benchmark_problems(experiment)


def test_every_known_data_set_has_a_size() -> None:
    assert ON_THE_HUB.keys() == SOURCES.keys()


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


def test_unknown_ones(tmp_path: Path) -> None:
    assert counts(tmp_path, changed(HUB, "train/problems", "mine"))[0] is None
    another = changed(HUB, "data/sources/aime24", {"hub": "me/aime", "split": "train"})
    assert counts(tmp_path, another)[1] == {"aime24": None, "math500": 500}


def test_files(tmp_path: Path) -> None:
    rows = [json.dumps({"problem": f"{i}+1=?", "answer": str(i + 1)}) for i in range(5)]
    for name in ("aime24", "math500", "gsm8k-train"):
        (tmp_path / f"{name}.jsonl").write_text("\n".join(rows) + "\n")
    tree = changed(HUB, "data/train_folder", str(tmp_path))
    tree = changed(tree, "data/benchmarks_folder", str(tmp_path))
    assert counts(tmp_path, tree) == (5, {"aime24": 5, "math500": 5})
    (tmp_path / "aime24.jsonl").write_text("{torn")
    with pytest.raises(DataError, match="aime24"):
        counts(tmp_path, tree)
