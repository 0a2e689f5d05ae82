"""From a finished tuning to the chosen experiment, and from that to methods side by side."""

from __future__ import annotations

import csv
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from kpo.config.evaluate import usual_engine
from kpo.config.experiment import Experiment, load_experiment
from kpo.evals import tune, tuned
from tests.evals.tuning.small import CONFIG, GRPO, LR, RATIO, experiment, finish

RIGHT = {"grpo-0.0004-paper": 8, RATIO[1]: 7}


def rows(path: Path) -> list[dict[str, str]]:
    return [*csv.DictReader(path.read_text().splitlines())]


def choose(root: Path, *arguments: str, config: Mapping[str, Any] = CONFIG) -> Experiment:
    """Run the tuning's command; the experiment that it wrote."""
    made = experiment(root, config)
    results = root / "results"
    if not results.is_dir():
        finish(root, made, RIGHT)
    files = ["--surface", str(results / "tuning.csv"), "--out", str(root / "tuned.yaml")]
    told = ["--config", str(root / "tuning.yaml"), "--results", str(results)]
    tune.main([*told, *files, "--samples", "2", "--engine", "transformers", *arguments])
    return load_experiment(root / "tuned.yaml")


def compare(root: Path) -> list[dict[str, str]]:
    out = root / "results/tuned.csv"
    config = ["--config", str(root / "tuned.yaml"), "--results", str(root / "results")]
    tuned.main([*config, "--surface", str(root / "results/tuning.csv"), "--out", str(out)])
    return rows(out)


def test_the_surface_file_holds_every_point(tmp_path: Path) -> None:
    choose(tmp_path)
    surface = rows(tmp_path / "results/tuning.csv")
    assert [row["name"] for row in surface] == GRPO + RATIO
    best = {row["family"]: row for row in surface if row["chosen"] == "yes"}
    grpo = best["grpo"]
    assert (grpo["train.lr"], grpo["clip"], grpo["seeds"]) == ("0.0004", "paper", "100 101")
    assert (grpo["avg"], grpo["at_edge"]) == ("80.00", "train.lr highest")
    assert (grpo["collapsed"], best["reinforce"]["collapsed"]) == ("50.00", "50.00")
    assert (grpo["runs"], grpo["tokens"], grpo["seconds"]) == ("2", "1760", "23")
    assert (best["reinforce"]["clip"], best["reinforce"]["at_edge"]) == ("", "")


def test_the_chosen_experiment_is_whole(tmp_path: Path) -> None:
    made = choose(tmp_path, "--seeds", "3")
    old = load_experiment(tmp_path / "tuning.yaml")
    assert (made.experiment, made.seeds) == ("tuned", [0, 1, 2])
    assert made.task is not None
    assert old.task is not None
    assert made.task.model_dump() == {**old.task.model_dump(), "held_out": "test"}
    assert (made.train, made.policy, made.prompt) == (old.train, old.policy, old.prompt)
    grpo = made.methods["grpo-tuned"]
    assert grpo.train == {"lr": 4e-4}
    assert grpo.settings == {"clip_low": 0.2, "clip_high": 0.2}
    assert made.train_of("grpo-equal").lr == 2e-4
    assert made.methods["grpo-equal"].settings == grpo.settings  # the objective's defaults
    assert made.methods["reinforce-both"].label == "Ratio 1, settings both"
    assert len(made.methods) == 3
    ratio, equal, own = "reinforce-both", "grpo-equal", "grpo-tuned"
    assert [*made.compared] == [(own, equal), (ratio, equal), (ratio, own)]
    text = (tmp_path / "tuned.yaml").read_text()
    assert "extends" not in text
    assert "edge of the grid: grpo (train.lr highest)" in text


def test_equal_settings_are_the_defaults_and_not_the_choice(tmp_path: Path) -> None:
    finish(tmp_path, experiment(tmp_path), {"grpo-0.0002-wide": 8})
    methods = choose(tmp_path).methods
    assert methods["grpo-tuned"].settings == {"clip_low": 0.4, "clip_high": 0.4}
    assert methods["grpo-equal"].settings == {"clip_low": 0.2, "clip_high": 0.2}
    assert methods["grpo-equal"].train == methods["grpo-tuned"].train == {"lr": 2e-4}
    assert methods["reinforce-tuned"].train == {"lr": 1e-4}  # all alike: the smallest


def test_a_proposed_method_is_compared_with_every_other(tmp_path: Path) -> None:
    lr = {"grid": {"train.lr": [LR["low"], LR["equal"]]}}
    kpo = {"objective": "kpo", "q": 1e-6, **lr}
    added = {
        "known": {"label": "Known", **kpo},
        "token": {"label": "Token", "objective": "token_clipped", **lr},
        "diffuse": {"label": "Diffuse", "start": "diffuse", **kpo},
    }
    config = {**CONFIG, "methods": {**CONFIG["methods"], **added}}
    right = {f"{family}-0.0002": 7 for family in ("reinforce", "token", "diffuse")}
    finish(tmp_path, experiment(tmp_path, config), {**right, "grpo-0.0004-wide": 7})
    pairs = choose(tmp_path, config=config).compared
    assert [pair for pair in pairs if "diffuse" in pair[0]] == [
        ("diffuse-both", "grpo-equal"),
        ("diffuse-both", "reinforce-both"),
        ("diffuse-both", "known-equal"),
        ("diffuse-both", "token-both"),
        ("diffuse-both", "grpo-tuned"),
        ("diffuse-both", "known-tuned"),
    ]
    assert [reference for row, reference in pairs if row == "token-both"] == [
        "grpo-equal",
        "grpo-tuned",
    ]
    assert ("known-tuned", "known-equal") in pairs
    assert not any(row.startswith("known") and "diffuse" in other for row, other in pairs)


def test_seeds_are_not_those_of_the_tuning(tmp_path: Path) -> None:
    finish(tmp_path, experiment(tmp_path, {**CONFIG, "seeds": [0, 2]}), RIGHT)
    config = ["--config", str(tmp_path / "tuning.yaml"), "--results", str(tmp_path / "results")]
    files = ["--surface", str(tmp_path / "tuning.csv"), "--out", str(tmp_path / "tuned.yaml")]
    tune.main([*config, *files, "--seeds", "4"])
    made = load_experiment(tmp_path / "tuned.yaml")
    assert made.seeds == [1, 3, 4, 5]
    assert (made.evaluate.engine, made.evaluate.samples) == (usual_engine(), 16)


def test_nothing_is_written_for_an_experiment_that_cannot_be(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as stop:
        choose(tmp_path, "--seeds", "0")
    assert stop.value.code == 2
    assert "tuned: seeds is [], but must not be empty" in capsys.readouterr().err
    assert not (tmp_path / "results/tuning.csv").exists()
    assert not (tmp_path / "tuned.yaml").exists()


def test_methods_side_by_side(tmp_path: Path) -> None:
    made = choose(tmp_path, "--seeds", "2")
    finish(tmp_path, made, {"grpo-equal": 6, "grpo-tuned": 8, "reinforce-both": 7})
    grpo, ratio = compare(tmp_path)
    assert (grpo["method"], grpo["name"]) == ("GRPO", "grpo")
    assert (grpo["equal_lr"], grpo["tuned_lr"]) == ("0.0002", "0.0004")
    assert (grpo["equal_avg@2"], grpo["tuned_avg@2"]) == ("60.00", "80.00")
    assert float(grpo["equal_iqm@2_low"]) < float(grpo["equal_iqm@2"]) == 60  # two seeds that agree
    assert (grpo["tuned_minus_equal"], ratio["tuned_minus_equal"]) == ("20.00", "0.00")
    assert grpo["tuned_p_over_grpo"] == "50.00"
    assert (ratio["equal_p_over_grpo"], ratio["tuned_p_over_grpo"]) == ("100.00", "0.00")
    assert (grpo["tuned_reward_gap"], grpo["tuned_collapsed"]) == ("30.00", "50.00")
    assert (grpo["at_edge"], ratio["at_edge"]) == ("train.lr highest", "")
    assert [grpo[f"tuning_{what}"] for what in ("runs", "tokens", "seconds")] == [
        "18",
        "15840",
        "207",
    ]
    assert float(grpo["tuned_avg@2_low"]) < 80 < float(grpo["tuned_avg@2_high"])
    assert not any(math.isnan(float(grpo[f"tuned_minus_equal{end}"])) for end in ("_low", "_high"))


def test_a_table_of_other_choices_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    finish(tmp_path, choose(tmp_path, "--seeds", "2"), {})
    surface = tmp_path / "results/tuning.csv"
    surface.write_text(surface.read_text().replace("lr 0.0004", "lr 0.0003"))
    with pytest.raises(SystemExit):
        compare(tmp_path)
    assert "grpo was not tuned to what grpo-tuned was trained with" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        (lambda path: path.unlink(), "is missing; python -m evals.tune writes it"),
        (lambda path: path.write_text("a,b\n1,2\n"), "is no tuning surface"),
    ],
)
def test_a_surface_that_is_none_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], change: Any, fault: str
) -> None:
    finish(tmp_path, choose(tmp_path, "--seeds", "2"), {})
    change(tmp_path / "results/tuning.csv")
    with pytest.raises(SystemExit):
        compare(tmp_path)
    assert fault in capsys.readouterr().err


def test_an_ordinary_experiment_has_no_sides(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    choose(tmp_path)
    (tmp_path / "tuned.yaml").write_text((tmp_path / "tuning.yaml").read_text())
    with pytest.raises(SystemExit):
        compare(tmp_path)
    assert "not an experiment of python -m evals.tune" in capsys.readouterr().err
