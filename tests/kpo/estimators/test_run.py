"""What a comparison asks of its experiment, and what it writes."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import pytest

from kpo.common.cli import UserError
from kpo.common.files import sha256_file
from kpo.config.experiment import Experiment
from kpo.config.train import Train
from kpo.estimators.compare import Size
from kpo.estimators.run import Asked, check, forecast, run
from kpo.model.policy import weights_hash
from tests.kpo.config.experiments import SCRATCH, changed
from tests.kpo.estimators.recorded import recorded
from tests.kpo.random_base import letter_experiment

TRAIN = Train(
    problems="train", steps=5, prompts=8, max_prompt_tokens=1, max_response_tokens=1, lr=1
)


def test_ages_go_as_far_as_training_does() -> None:
    size = Asked(None, rollouts=3, truth=3).size(TRAIN, 1000)
    assert size == Size([0, 1, 4, 16], steps=3, truth=3)  # 5 steps of 4 updates
    assert Asked((7, 3, 7), 2, 3).size(TRAIN, 1000) == Size([0, 3, 7], steps=2, truth=3)


def test_an_age_before_training_is_refused() -> None:
    with pytest.raises(UserError, match="--ages holds 21, but must be at most 20, the updates"):
        Asked((1, 21), 3, 3).size(TRAIN, 1000)
    assert Asked((20,), 3, 3).size(TRAIN, 1000).ages == [0, 20]


def test_no_prompt_is_used_twice() -> None:
    assert Asked((1,), 3, 4).size(TRAIN, 8 * 12)
    with pytest.raises(UserError, match=r"take 96 different prompts \(5 \+ 3 \+ 4 rollout batch"):
        Asked((1,), 3, 4).size(TRAIN, 8 * 12 - 1)


@pytest.mark.parametrize(
    ("path", "value", "sentence"),
    [
        ("train/ranks", 2, "asks for 2 processes that compute in float32, but"),
        ("train/dtype", "bfloat16", "asks for 1 processes that compute in bfloat16, but"),
        (
            "methods/kpo/train",
            {"lr": 1.0},
            r"methods\.kpo\.train has no use: only .*, grpo, trains",
        ),
    ],
)
def test_what_cannot_be_compared_is_refused(path: str, value: Any, sentence: str) -> None:
    check(Experiment.model_validate(SCRATCH))
    check(Experiment.model_validate(changed(SCRATCH, "methods/grpo/train", {"lr": 1.0})))
    with pytest.raises(UserError, match=sentence):
        check(Experiment.model_validate(changed(SCRATCH, path, value)))


def test_the_forecast_counts_what_will_be_done(tmp_path: Path) -> None:
    recorder = recorded(tmp_path, [0, 2])
    recorder.log.rows[0] = (0, {}, {"rollout": 2.0, "reward": 1.0, "update": 6.0})
    size = Size([0, 2], steps=2, truth=3)
    rollouts, updates = 3 + 2 * 2 + 3, 3
    truth = 3 * (2 + 2 * 4)  # of 2 kinds: forward once, backward twice, a third each
    compared = (2 * 2 + 1) * (2 * 2 + 5 * 4)  # log-probs for distances and for 5 gradients
    assert forecast(recorder, size, methods=5, kinds=2) == pytest.approx(
        3 * rollouts + 6 * updates + truth + compared
    )


@pytest.mark.slow
def test_a_comparison_from_files_to_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tree = letter_experiment(tmp_path, monkeypatch)
    base, out = tmp_path / "base", tmp_path / "out/table.csv"

    def made(seeds: list[int]) -> list[dict[str, str]]:
        experiment = Experiment.model_validate({**tree, "seeds": seeds})
        run(experiment, Asked((1, 4), 2, 8), base, tmp_path, out)
        with out.open() as file:
            return list(csv.DictReader(file))

    found = made([0, 1])
    sets = [("fresh", "0"), ("fresh", "1"), ("fresh", "4"), ("trained_on", "4")]
    places = [
        (seed, *each, name)
        for seed in ("0", "1", "all")
        for each in sets
        for name in ("grpo", "kpo")
    ]
    assert [(r["seed"], r["rollouts"], r["age"], r["method"]) for r in found] == places
    assert {row["label"] for row in found} == {"GRPO", "KPO"}
    assert found[0]["slope"] != found[8]["slope"]  # another seed
    manifest = json.loads((tmp_path / "out/table.manifest.json").read_text())
    assert manifest["table"] == sha256_file(out)
    assert manifest["base"] == weights_hash(base)
    assert manifest["size"] == {"ages": [0, 1, 4], "steps": 2, "truth": 8}
    assert sorted(path.name for path in out.parent.iterdir()) == [
        "table.csv",
        "table.manifest.json",
    ]
    assert made([1])[:8] == found[8:16]  # each seed begins with the base policy, again as before
