"""What stands in the sections: names that runs were stored under, and hashes of local files."""

import json
from pathlib import Path

import pytest

from kpo.config.experiment import Experiment
from tests.kpo.config.experiments import HUB, SCRATCH, Tree, changed, load

PARTS = {
    "problems": "task",
    "test_problems": "task",
    "base": "policy prompt task positions",
    "data": "data cleaning",
    "train": "train prompt data grading method",
    "evaluate": "evaluate prompt data",
    "grade": "grading",
    "table": "seeds methods compare evaluate",
}
"""Finished runs are recognised by these: another name would make every experiment again."""
OF_THE_HUB = {
    "problems": "",
    "test_problems": "",
    "base": "policy",
    "train": f"{PARTS['train']} overlong",
}


def section(experiment: Experiment, stage: str) -> Tree:
    return experiment.section(stage, "kpo" if stage == "train" else None)


@pytest.mark.parametrize("stage", PARTS)
def test_parts_of_a_section(stage: str, tmp_path: Path) -> None:
    for tree, parts in ((SCRATCH, PARTS), (HUB, PARTS | OF_THE_HUB)):
        found = section(load(tmp_path, tree), stage)
        assert sorted(found) == sorted(parts[stage].split())
        assert json.loads(json.dumps(found)) == found  # as it is stored


def test_runs_of_one_node_are_those_they_were_before_there_were_more(tmp_path: Path) -> None:
    """A run that is there is recognised, though the setting is younger than it."""
    train = [
        load(tmp_path, changed(SCRATCH, "train/nodes", nodes)).section("train", "kpo")["train"]
        for nodes in (1, 2)
    ]
    assert "nodes" not in train[0]
    assert train[1] == {**train[0], "nodes": 2}


def with_files(folder: Path, text: str) -> Tree:
    """Training problems and a model that lie in a folder."""
    (folder / "model").mkdir(parents=True)
    (folder / "model/weights").write_text(text)
    (folder / "own.jsonl").write_text(text)
    (folder / "gsm8k-train.jsonl").write_text(text)
    tree = changed(HUB, "data/train_folder", str(folder))
    return changed(tree, "policy/model", str(folder / "model"))


@pytest.mark.parametrize("name", ["gsm8k-train", "own"])
def test_local_files_stand_by_their_content_wherever_they_lie(tmp_path: Path, name: str) -> None:
    trees = [with_files(tmp_path / where, where[0]) for where in ("a1", "a2", "b")]
    one, moved, other = (load(tmp_path, changed(t, "train/problems", name)) for t in trees)
    for stage in ("base", "data", "train"):
        assert section(one, stage) == section(moved, stage)
        assert section(one, stage) != section(other, stage)
    files = one.section("data")["data"]
    assert {key: sorted(value) for key, value in files.items()} == {
        name: ["sha256_of_files", "source"]
    }
    assert json.loads(json.dumps(files)) == files


def test_how_a_local_file_is_read_stands_beside_it(tmp_path: Path) -> None:
    tree = with_files(tmp_path / "a", "a")
    strip = changed(tree, "data/sources/gsm8k-train", {"normaliser": "strip"})
    assert load(tmp_path, tree).section("data") != load(tmp_path, strip).section("data")
