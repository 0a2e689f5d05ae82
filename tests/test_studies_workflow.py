"""Studies of trainings as targets of the workflow, from nothing."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest

from tests.workspace import TEST_CONFIG, Workspace

CONFIG = {
    **TEST_CONFIG,
    "task": {"train": 256, "test": 2, "slip": 0.0},
    "policy": {
        **{"hidden_size": 64, "layers": 2, "heads": 2, "feed_forward": 128},
        "sft": {"steps": 150},  # of its answers some are right
    },
    "train": {"steps": 2, "prompts": 4, "group": 8, "mini_batches": 4},
}


def made(workspace: Workspace, table: Path) -> list[dict[str, str]]:
    """The rows of a table, once it is made."""
    run = workspace.snakemake(f"results/{table.name}")
    assert run.returncode == 0, run.stdout
    with table.open() as file:
        return list(csv.DictReader(file))


@pytest.mark.slow
def test_a_comparison_is_made_from_nothing_and_not_made_again(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path, CONFIG)
    rows = made(workspace, tmp_path / "results/shootout.csv")
    assert {(row["rollouts"], row["age"]) for row in rows} == {
        *(("fresh", age) for age in ("0", "1", "4")),
        ("trained_on", "4"),
    }
    assert {row["method"] for row in rows} == {"grpo", "kpo-clipped"}
    manifest = json.loads((tmp_path / "results/shootout.manifest.json").read_text())
    assert manifest["experiment"] == "test"
    log = (tmp_path / "results/test/logs/shootout.log").read_text()
    assert "methods: about " in log
    assert workspace.planned("results/shootout.csv") == {}
    changed = {
        **CONFIG,
        "methods": {**CONFIG["methods"], "gspo": {"label": "GSPO", "objective": "gspo"}},
    }
    workspace.write(changed)
    assert workspace.planned("results/shootout.csv") == {"shootout": 1, "shootout_here": 1}


@pytest.mark.slow
def test_structure_is_measured_from_nothing_and_not_again(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path, CONFIG)
    rows = made(workspace, tmp_path / "results/structure.csv")
    assert {row["use"] for row in rows} == {"first"}
    assert {row["what"] for row in rows} == {"measured", "shuffled", "random signs", "paper"}
    assert (tmp_path / "results/structure.manifest.json").is_file()
    assert workspace.planned("results/structure.csv") == {}
