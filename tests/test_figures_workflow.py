"""Figures as targets of the workflow: of an experiment, and of what is kept of one."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.workspace import REPO, Workspace


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    made = Workspace(tmp_path)
    shutil.copytree(REPO / "results/reference/clip", tmp_path / "results/reference/clip")
    return made


@pytest.mark.slow
def test_figures_wait_for_the_table_and_the_table_not_for_them(workspace: Workspace) -> None:
    planned = workspace.planned("figures")
    assert (planned["draw"], planned["tables"]) == (4, 1)
    assert "draw" not in workspace.planned("results/table1.csv")


@pytest.mark.slow
def test_studies_are_drawn_from_their_own_tables(workspace: Workspace) -> None:
    folder = "results/test/figures"
    assert workspace.planned(f"{folder}/shootout.png").keys() == {
        *("problems", "base", "shootout", "draw"),
    }
    assert workspace.planned(f"{folder}/structure.svg", f"{folder}/autocorrelation.svg").keys() == {
        *("problems", "base", "structure", "draw"),
    }
    assert {"tune", "draw"} <= workspace.planned(f"{folder}/tuning.png").keys()


@pytest.mark.slow
def test_what_is_kept_is_drawn_beside_it(workspace: Workspace) -> None:
    figures = [f"results/kept/clip/figures/{name}.svg" for name in ("grid", "forest")]
    run = workspace.snakemake(*figures)
    assert run.returncode == 0, run.stdout
    names = sorted(path.name for path in (workspace.folder / "results/kept/clip/figures").iterdir())
    assert names == ["forest.png", "forest.svg", "grid.png", "grid.svg"]
    assert not (workspace.folder / "results/reference/clip/figures").exists()
    assert workspace.planned(*figures) == {}
    assert "<!-- GSPO -->" in (workspace.folder / figures[0]).read_text()
