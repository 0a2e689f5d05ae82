"""From a tuning to methods side by side: in miniature, and by the one command that makes it all."""

from __future__ import annotations

import csv
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from kpo.config.evaluate import usual_engine
from tests.pretended import RUNS, SUMS, Pretended, started, trained
from tests.workspace import REPO, TEST_CONFIG, Workspace

pytestmark = pytest.mark.slow

SURFACE, SIDES = "results/tuning.csv", "results/tuned.csv"
CHOSEN = "results/tuning/tuned.yaml"
TUNING: dict[str, Any] = {
    **TEST_CONFIG,
    "experiment": "tuning",
    "seeds": [100],
    "task": {**TEST_CONFIG["task"], "held_out": "validation"},
    "train": {**TEST_CONFIG["train"], "steps": 1},
    "methods": {
        "grpo": {
            "label": "GRPO",
            "objective": "grpo",
            "grid": {"train.lr": [1e-4, 1e-2]},
        },
        "reinforce": {"label": "Ratio 1", "objective": "reinforce"},
    },
}


def test_a_tuning_and_what_it_chose(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path, TUNING)
    run = workspace.snakemake(SURFACE)
    assert run.returncode == 0, run.stdout
    assert workspace.planned(SURFACE) == {}
    surface = [*csv.DictReader((tmp_path / SURFACE).read_text().splitlines())]
    assert [row["name"] for row in surface] == ["grpo-0.0001", "grpo-0.01"]
    assert all(int(row["tokens"]) > 0 and int(row["seconds"]) > 0 for row in surface)

    chosen = yaml.safe_load((tmp_path / CHOSEN).read_text())
    assert (len(chosen["seeds"]), chosen["evaluate"]["engine"]) == (8, usual_engine())
    chosen["seeds"] = [0, 1]
    chosen["evaluate"] |= {"engine": "transformers", "samples": 2}  # in a miniature's time
    (tmp_path / CHOSEN).write_text(yaml.safe_dump(chosen))
    run = workspace.snakemake(SIDES, config=tmp_path / CHOSEN)
    assert run.returncode == 0, run.stdout
    (sides,) = csv.DictReader((tmp_path / SIDES).read_text().splitlines())
    (best,) = (row for row in surface if row["chosen"] == "yes")
    assert (sides["name"], sides["at_edge"]) == ("grpo", best["at_edge"])
    assert float(sides["tuned_lr"]) == float(best["train.lr"])
    assert float(sides["equal_lr"]) == 2e-4


@pytest.fixture
def workspace(tmp_path: Path) -> Pretended:
    """A folder that holds the project's workflow, with a small tuning in it."""
    made = started(tmp_path, {**SUMS, "experiment": "tuning"})
    (tmp_path / "Snakefile").symlink_to(REPO / "Snakefile")
    (tmp_path / "workflow/config").mkdir(parents=True)
    for name in ("Snakefile", "rules", "captions", "seconds.csv"):
        (tmp_path / "workflow" / name).symlink_to(REPO / "workflow" / name)
    (tmp_path / "workflow/config/tuning.yaml").write_text(made.config.read_text())
    return made


def science(workspace: Pretended) -> set[str]:
    """Jobs that the command ran."""
    jobs = workspace.folder / "jobs"
    jobs.unlink(missing_ok=True)
    command = [sys.executable, "-m", "evals.science", "tuning", "tuned", "--cores", "2"]
    env = {**os.environ, "PYTHONPATH": str(REPO), **workspace.environment}
    run = subprocess.run(
        command, cwd=workspace.folder, env=env, capture_output=True, text=True, check=False
    )
    assert run.returncode == 0, run.stdout + run.stderr
    return set(jobs.read_text().splitlines()) if jobs.exists() else set()


def test_one_command_makes_both_and_then_nothing(workspace: Pretended) -> None:
    jobs = science(workspace)
    assert {"tune all", "tuned all", *trained(*RUNS), *trained("grpo-s7", "kpo-s7")} <= jobs
    assert (workspace.folder / SIDES).is_file()
    assert science(workspace) == set()
    (workspace.folder / SIDES).unlink()
    assert science(workspace) == {"tuned all"}


def test_another_choice_trains_its_methods_again(workspace: Pretended) -> None:
    science(workspace)
    config = workspace.folder / "workflow/config/tuning.yaml"
    content = yaml.safe_load(config.read_text())
    content["methods"]["kpo"]["q"] = 1e-4
    config.write_text(yaml.safe_dump(content))
    again = trained("kpo-s0") | trained("kpo-s7") | {"tune all", "tuned all"}
    figures = ("tuning", "learning", "grid", "pass-share", "forest")
    assert science(workspace) == again | {f"figure {figure}" for figure in figures}
