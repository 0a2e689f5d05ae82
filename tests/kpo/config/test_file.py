"""The file itself: YAML, and `extends`."""

from pathlib import Path
from typing import Any

import pytest

from kpo.config.experiment import Experiment, load_experiment
from kpo.config.file import ConfigError
from tests.kpo.config.experiments import HUB, SCRATCH, changed, load, refusal, write


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("", ": the file is empty"),
        ("# nothing\n", ": the file is empty"),
        ("- a\n- b\n", ": must be a mapping of keys to values, not ['a', 'b']"),
        ("tiny", ": must be a mapping of keys to values, not 'tiny'"),
        ("a: 1\nb: 2\na: 3\n", ", line 3: the key 'a' stands twice"),
        ("x:\n  y: 1\n  y: 1\n", ", line 3: the key 'y' stands twice"),
        ("a: [1, 2\n", ", line 2: expected ',' or ']', but got '<stream end>'"),
        ("a: *b\n", ", line 1: found undefined alias 'b'"),
        ("a: b: c\n", ", line 1: mapping values are not allowed here"),
        ("a: 2020-13-45\n", ": not readable as YAML: month must be in 1..12"),
        ("extends: [a]\n", ": extends is ['a'], but must name a file beside this one"),
    ],
)
def test_not_an_experiment_at_all(tmp_path: Path, text: str, sentence: str) -> None:
    path = write(tmp_path / "x.yaml", text)
    with pytest.raises(ConfigError) as error:
        load_experiment(path)
    assert str(error.value) == f"{path}{sentence}"


def test_not_text(tmp_path: Path) -> None:
    path = tmp_path / "x.yaml"
    path.write_bytes(b"experiment: \xff\n")
    with pytest.raises(ConfigError, match=r"not readable as YAML.*0xff"):
        load_experiment(path)


def test_python_objects_are_not_made(tmp_path: Path) -> None:
    (sentence,) = refusal(tmp_path, "a: !!python/object/apply:os.getcwd []\n")
    assert "could not determine a constructor" in sentence


@pytest.mark.parametrize(
    ("section", "named"), [("", ""), ("train", "train: "), ("policy", "policy: ")]
)
def test_a_key_that_is_no_text(tmp_path: Path, section: str, named: str) -> None:
    content: dict[Any, Any] = changed(SCRATCH, "experiment", "small")
    (content[section] if section else content)[1] = 2
    assert f"{named}the key 1 must be a string" in refusal(tmp_path, content)


@pytest.mark.parametrize("name", ["nope.yaml", "."])
def test_missing_file(tmp_path: Path, name: str) -> None:
    with pytest.raises(ConfigError) as error:
        load_experiment(tmp_path / name)
    assert str(error.value) == f"{tmp_path / name}: no such file"


# extends


def test_extends_merges_mappings_and_replaces_methods(tmp_path: Path) -> None:
    write(tmp_path / "base.yaml", SCRATCH)
    (tmp_path / "more").mkdir()
    child = {
        "extends": "../base.yaml",
        "seeds": [7],
        "train": {"steps": 9},
        "policy": {"sft": {"lr": 0.5}},
        "methods": {"only": {"objective": "gspo", "label": "GSPO"}},
    }
    experiment = load(tmp_path / "more", child)
    expected = Experiment.model_validate(
        {
            **SCRATCH,
            "seeds": [7],
            "train": {**SCRATCH["train"], "steps": 9},
            "policy": {"kind": "scratch", "sft": {"steps": 3, "lr": 0.5}},
            "methods": child["methods"],
        }
    )
    assert experiment == expected


def test_extends_with_another_kind_of_policy_replaces_it(tmp_path: Path) -> None:
    write(tmp_path / "base.yaml", SCRATCH)
    policy = {"kind": "pretrained", "model": "some/model"}
    experiment = load(tmp_path, {"extends": "base.yaml", "policy": policy})
    assert experiment.policy.model_dump(exclude_none=True) == policy


def test_extends_can_take_a_section_away(tmp_path: Path) -> None:
    write(tmp_path / "base.yaml", changed(SCRATCH, "policy", HUB["policy"]))
    child = {key: HUB[key] for key in ("task", "train", "evaluate")}
    assert load(tmp_path, {"extends": "base.yaml", **child}).task is None


def test_a_chain_of_extends(tmp_path: Path) -> None:
    write(tmp_path / "a.yaml", SCRATCH)
    write(tmp_path / "b.yaml", {"extends": "a.yaml", "experiment": "b", "train": {"steps": 5}})
    experiment = load(tmp_path, {"extends": "b.yaml", "train": {"group": 4}})
    assert (experiment.experiment, experiment.train.steps, experiment.train.group) == ("b", 5, 4)


def test_extends_in_a_circle(tmp_path: Path) -> None:
    write(tmp_path / "b.yaml", {"extends": "x.yaml"})
    assert refusal(tmp_path, "extends: b.yaml\n") == ["extends itself (x.yaml -> b.yaml -> x.yaml)"]


def test_extends_a_missing_file(tmp_path: Path) -> None:
    (sentence,) = refusal(tmp_path, "extends: nope.yaml\n")
    assert sentence == f"extends 'nope.yaml': {tmp_path / 'nope.yaml'}: no such file"


def test_faults_of_a_parent_name_its_file(tmp_path: Path) -> None:
    write(tmp_path / "b.yaml", "a: 1\na: 2\n")
    write(tmp_path / "x.yaml", "extends: b.yaml\n")
    with pytest.raises(ConfigError, match=r"b\.yaml, line 2"):
        load_experiment(tmp_path / "x.yaml")
