"""Grids: the axes that families vary, their lines, and rows that make up no grid."""

from __future__ import annotations

from pathlib import Path

import pytest
from matplotlib.figure import Figure

from kpo.common.cli import UserError
from kpo.evals.figures.data import read_rows
from kpo.evals.figures.grid import draw_grid
from kpo.evals.figures.places import by_size, grid_of
from tests.evals.figures import made
from tests.evals.figures.looked_at import ys
from tests.workspace import REPO

CLIP = REPO / "results/reference/clip/grid.csv"
REWARD = "reward_last5_%"


def two_axes(path: Path) -> Path:
    """Two methods over three memories and two starts; and one that has neither."""
    rows = [
        [f"{family.upper()}, memory {m}, start {s}", f"{family}-{m}-{s}", family, *settings, reward]
        for family in ("kpo", "is-kpo")
        for m, reward in (("4", "10"), ("12", "20"), ("40", "30"))
        for s in ("known", "diffuse")
        for settings in [[f"{1 / float(m) ** 2:.3g}", m, "3e-4", "4e-4", s]]
    ]
    return made.grid(path, [*rows, ["GSPO", "gspo", "", "", "", "3e-4", "4e-4", "", "25"]])


def test_settings_that_go_together_are_one_axis() -> None:
    grid = grid_of(read_rows(CLIP))
    assert grid
    assert grid.axes == ["clip_high"]
    assert grid.values("clip_high") == ["0.0004", "0.004", "0.04", "0.2"]
    assert list(grid.families.values()) == [
        *("Token-clipped", "GSPO", "KPO, start known", "KPO, start diffuse"),
    ]
    assert [row["name"] for row in grid.alone] == ["base"]


def test_the_axis_with_most_values_comes_first(tmp_path: Path) -> None:
    grid = grid_of(read_rows(two_axes(tmp_path / "grid.csv")))
    assert grid
    assert grid.axes == ["memory", "start"]
    assert grid.families == {"kpo": "KPO", "is-kpo": "IS-KPO"}
    row = grid.at("kpo", {"memory": "12", "start": "known"})
    assert row
    assert row["name"] == "kpo-12-known"
    assert grid.at("kpo", {"memory": "13", "start": "known"}) is None


def test_a_line_a_method_and_a_panel_a_value_of_the_other_axis(
    tmp_path: Path, saved: list[Figure]
) -> None:
    draw_grid(two_axes(tmp_path / "grid.csv"), [tmp_path / "x.png"], [REWARD])
    known, diffuse = saved[0].axes
    assert [axes.get_title() for axes in (known, diffuse)] == ["start: known", "start: diffuse"]
    assert known.get_xlabel() == "memory [tokens]"
    assert known.get_ylabel() == "reward, last 5 steps [%]"
    assert [text.get_text() for text in known.get_xticklabels()] == ["4", "12", "40"]
    assert [line.get_label() for line in known.lines] == ["KPO", "IS-KPO", "GSPO"]
    assert ys(known.lines[0]) == [10, 20, 30]
    assert ys(known.lines[2]) == [25, 25]  # as high everywhere


def test_rows_that_are_no_grid_stand_below_each_other(saved: list[Figure], tmp_path: Path) -> None:
    arms = REPO / "results/reference/arms/grid.csv"
    draw_grid(arms, [tmp_path / "x.png"], [REWARD, "collapsed_%"])
    left, right = saved[0].axes
    labels = [text.get_text() for text in left.get_yticklabels()]
    assert labels == [row["method"] for row in read_rows(arms)[1:]]
    assert (left.get_xlabel(), right.get_xlabel()) == (
        *("reward, last 5 steps [%]", "collapsed runs [%]"),
    )


def test_numbers_are_ordered_by_size_and_words_as_they_come() -> None:
    assert by_size(["16", "1", "4", "1"]) == ["1", "4", "16"]
    assert by_size(["wide", "narrow", "wide"]) == ["wide", "narrow"]


def test_a_column_without_values_is_refused(tmp_path: Path) -> None:
    path = made.grid(tmp_path / "grid.csv", [["Base", "base", "", *[""] * 5, ""]])
    with pytest.raises(UserError, match="no row has a value in the column reward_last5_%"):
        draw_grid(path, [tmp_path / "x.png"], [REWARD])
