"""Experiment files that are accepted, and the settings they give."""

from pathlib import Path

import pytest
import yaml

from kpo.config.experiment import load_experiment
from tests.configs import CONFIGS
from tests.kpo.config.experiments import DROP, SCRATCH, changed, load, refusal


@pytest.mark.parametrize("path", CONFIGS, ids=[path.stem for path in CONFIGS])
def test_every_committed_config_loads(path: Path) -> None:
    experiment = load_experiment(path)
    assert experiment.experiment == path.stem
    assert len(experiment.runs) == len(experiment.methods) * len(experiment.seeds)


def test_there_are_committed_configs() -> None:
    expected = {"tiny", "tiny-offpolicy", "paper", "paper-official", "real-smoke"}
    assert expected <= {path.stem for path in CONFIGS}


def test_an_experiment_holds_what_the_file_says(tmp_path: Path) -> None:
    experiment = load(tmp_path, SCRATCH)
    assert experiment.runs == ["grpo-s0", "grpo-s1", "kpo-s0", "kpo-s1"]
    assert experiment.methods["kpo"].settings == {"q": 1e-6}
    assert experiment.evaluate.samples == 16
    assert experiment.train.lr == 1e-4


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("1e-6", 1e-6),
        ("1E-6", 1e-6),
        ("2.5e-4", 2.5e-4),
        ("2.e-4", 2e-4),
        (".5e-3", 5e-4),
        ("+1e3", 1e3),
        ("1e+3", 1e3),
        ("0.01", 0.01),
        ("3", 3.0),
    ],
)
def test_numbers_as_people_write_them(tmp_path: Path, text: str, number: float) -> None:
    content = yaml.safe_dump(changed(SCRATCH, "train/lr", "HERE")).replace("HERE", text)
    assert load(tmp_path, content).train.lr == number


def test_a_quoted_number_is_text(tmp_path: Path) -> None:
    content = yaml.safe_dump(changed(SCRATCH, "train/lr", "HERE")).replace("HERE", "'1e-6'")
    assert refusal(tmp_path, content) == ["train.lr is '1e-6', but must be a number"]


def test_one_greedy_sample(tmp_path: Path) -> None:
    greedy = changed(changed(SCRATCH, "evaluate/temperature", 0), "evaluate/samples", 1)
    assert load(tmp_path, greedy).evaluate.temperature == 0


def test_betas_are_a_list_of_two(tmp_path: Path) -> None:
    assert load(tmp_path, changed(SCRATCH, "train/betas", [0.8, 0.9])).train.betas == (0.8, 0.9)


def test_anchors_and_merge_keys(tmp_path: Path) -> None:
    text = yaml.safe_dump(changed(SCRATCH, "methods", DROP)) + (
        "methods:\n"
        "  a: &shared { label: A, objective: grpo, clip_low: 0.1 }\n"
        "  b: { <<: *shared, label: B }\n"
    )
    experiment = load(tmp_path, text)
    assert experiment.methods["b"].settings == {"clip_low": 0.1}
    assert experiment.methods["b"].label == "B"
