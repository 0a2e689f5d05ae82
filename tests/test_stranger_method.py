"""A method that a user adds: a file, its line in the registry, its rows in an experiment file."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest

from tests.workspace import TEST_CONFIG, Workspace, add_registered, copy_of_project

pytestmark = pytest.mark.slow
TABLE = "results/table1.csv"
SOURCE = '''"""Tempered ratios r^tau / tau: a mean over tokens, without a clip."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar

from pydantic import Field

from kpo.objective import MeanOver, ObjectiveOutput, Role, TokenBatch, summed, token_log_ratio


@dataclass(frozen=True, kw_only=True)
class Tempered:
    """The temper tau."""

    role: ClassVar[Role] = "control"
    mean_over: ClassVar[MeanOver] = "tokens"

    tau: Annotated[float, Field(gt=0, le=1)]

    def __call__(self, batch: TokenBatch) -> ObjectiveOutput:
        """Loss of the batch."""
        log_ratio = self.tau * token_log_ratio(batch)
        gains = log_ratio.exp() / self.tau * batch.advantages[:, None]
        total, count = summed(gains, batch.mask, self.mean_over)
        return ObjectiveOutput(-total, count, metrics={}, log_ratio=log_ratio.detach())
'''
METHODS = {
    **TEST_CONFIG["methods"],
    "cool": {"label": "Cool", "objective": "tempered", "tau": 0.1},
    "warm": {"label": "Warm", "objective": "tempered", "tau": 0.5, "role": "baseline"},
}


def rows(path: Path) -> dict[str, dict[str, str]]:
    """Of a CSV file, by the name of the method."""
    with path.open() as file:
        return {row["name"]: row for row in csv.DictReader(file)}


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    project = copy_of_project(tmp_path / "project")
    add_registered(project, "baselines/tempered.py", SOURCE, "kpo/registry.py", "tempered")
    (tmp_path / "here").mkdir()
    return Workspace(tmp_path / "here", {**TEST_CONFIG, "methods": METHODS}, project)


def test_its_settings_and_its_role_reach_the_table(workspace: Workspace) -> None:
    run = workspace.snakemake(TABLE)
    assert run.returncode == 0, run.stdout
    results = workspace.folder / "results"
    table = rows(workspace.folder / TABLE)
    taus = {name: row["tau"] for name, row in table.items()}
    assert taus == {"base": "", "grpo": "", "kpo-clipped": "", "cool": "0.1", "warm": "0.5"}
    assert [table["cool"]["clip_low"], table["cool"]["q"]] == ["", ""]
    lines = (results / "table1.md").read_text().partition("## ")[0].splitlines()
    settings = {
        cells[1].strip(): cells[2].strip() for line in lines if (cells := line.split("|"))[2:]
    }
    assert (settings["Cool"], settings["Warm"]) == ("tau 0.1", "tau 0.5")
    assert "clip" in settings["GRPO"]
    roles = {name: row["role"] for name, row in rows(results / "test/diagnostics.csv").items()}
    assert roles == {
        **{"base": "", "grpo": "baseline", "kpo-clipped": "proposed"},
        **{"cool": "control", "warm": "baseline"},
    }
    as_control = {**METHODS, "warm": {**METHODS["warm"], "role": "control"}}
    workspace.write({**TEST_CONFIG, "methods": as_control})
    assert set(workspace.planned(TABLE)) == {"tables", "table1"}


def test_its_bounds_are_kept(workspace: Workspace) -> None:
    workspace.write({**TEST_CONFIG, "methods": {"hot": {**METHODS["cool"], "tau": 1.5}}})
    run = workspace.snakemake(TABLE, "--dry-run")
    assert run.returncode != 0
    assert "objective tempered: tau is 1.5, but must be less than or equal to 1" in run.stdout
