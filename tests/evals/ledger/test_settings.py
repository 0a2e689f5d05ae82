"""Settings of an experiment beside the paper's."""

from __future__ import annotations

from pathlib import Path

from kpo.config.experiment import Experiment
from kpo.evals.ledger.settings import Setting, settings
from tests.evals.ledger.differences import HEADER
from tests.kpo.config.experiments import SCRATCH, changed


def made(*changes: tuple[str, object]) -> Experiment:
    tree = SCRATCH
    for path, value in changes:
        tree = changed(tree, path, value)
    return Experiment.model_validate(tree)


def test_settings_that_differ_and_their_effects(tmp_path: Path) -> None:
    row = {"label": "cosine off", "objective": "grpo", "train": {"final_lr": 1.0}}
    switched = made(
        ("train/final_lr", 0.1),
        ("methods/off", row),
        ("compare", [{"rows": "off", "against": "grpo"}]),
    )
    folder = tmp_path / switched.experiment
    folder.mkdir()
    line = "x,off,grpo,named,overall,avg@8,-1.00,-2.00,0.00,lower"
    (folder / "differences.csv").write_text(f"{HEADER}\n{line}\n")
    here = made(("train/final_lr", 0.1))
    code = made(("evaluate/top_p", 0.7))
    assert [*settings(here, made(), code, switched, tmp_path)] == [
        Setting("train.final_lr", "1", "1", "0.1", ["GRPO -1.0 (-2.0 to +0.0) points"]),
        Setting("evaluate.top_p", "1", "0.7", "1", []),
    ]


def test_how_a_run_is_carried_out_is_no_deviation(tmp_path: Path) -> None:
    other = made(("train/threads", 2), ("train/max_tokens_per_microbatch", 4096), ("seeds", [3]))
    assert not [*settings(other, made(), made(), made(), tmp_path)]
