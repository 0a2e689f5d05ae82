"""Structure of an experiment's log-ratios, from files to files."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import pytest

from kpo.common.cli import UserError
from kpo.common.files import sha256_file
from kpo.config.experiment import Experiment
from kpo.model.policy import weights_hash
from kpo.series.run import check, run
from tests.kpo.config.experiments import SCRATCH, changed
from tests.kpo.random_base import letter_experiment
from tests.kpo.trainer.runs import by_length

WHATS = ("measured", "shuffled", "random signs", "paper")


@pytest.mark.parametrize(("path", "value"), [("train/ranks", 2), ("train/dtype", "bfloat16")])
def test_what_one_process_cannot_do_is_refused(path: str, value: Any) -> None:
    check(Experiment.model_validate(SCRATCH))
    with pytest.raises(UserError, match="but log-ratios are looked at by one process in float32"):
        check(Experiment.model_validate(changed(SCRATCH, path, value)))


@pytest.mark.slow
def test_rows_of_each_method_stage_and_use(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tree = changed(letter_experiment(tmp_path, monkeypatch, by_length), "train/passes", 2)
    base, out = tmp_path / "base", tmp_path / "out/table.csv"

    def made(seeds: list[int]) -> list[dict[str, str]]:
        run(Experiment.model_validate({**tree, "seeds": seeds}), base, tmp_path, out)
        with out.open() as file:
            return list(csv.DictReader(file))

    found = made([0, 1])
    steps = tree["train"]["steps"]
    stages = list(
        dict.fromkeys(("begin", "middle", "end")[3 * step // steps] for step in range(steps))
    )
    assert [(r["method"], r["stage"], r["use"], r["what"]) for r in found] == [
        (method, stage, use, what)
        for method in ("GRPO", "KPO")
        for stage in stages
        for use in ("first", "later")
        for what in WHATS
    ]
    for row in found:
        if row["what"] == "paper":
            assert (row["switch"], row["switch_filtered"], row["sd"]) == ("0.42", "0.01", "")
        else:
            assert float(row["tokens"]) > 0
            assert float(row["sd"]) > 0
    measured, mixed, signs = found[:3]
    assert measured["mean_spread"] == mixed["mean_spread"] != signs["mean_spread"]
    assert measured["sd"] == mixed["sd"]
    manifest = json.loads((tmp_path / "out/table.manifest.json").read_text())
    assert manifest["table"] == sha256_file(out)
    assert manifest["base"] == weights_hash(base)
    alone = made([1])
    assert alone != found
    assert made([1]) == alone
