"""Learning curves: means and limits over seeds, and which rows share a line of panels."""

from __future__ import annotations

import math
import statistics
from pathlib import Path

import pytest
from matplotlib.figure import Figure

from kpo.common.cli import UserError
from kpo.evals.figures.data import read_rows
from kpo.evals.figures.learning import draw_learning, groups, read_curves
from tests.evals.figures import made
from tests.evals.figures.looked_at import legend, ys
from tests.workspace import REPO

CLIP = REPO / "results/reference/clip"
TUNING = REPO / "results/reference/tuning"
T_2 = 4.302652729911275
"""Student's t at 97.5 %, 2 degrees of freedom."""


def test_means_and_limits_over_seeds(tmp_path: Path) -> None:
    path = made.curves(tmp_path / "c.csv", {"a": [[0.3, 0.4], [0.5, 0.4], [0.9, 0.4]]})
    curve = read_curves(path)["a"]
    (first, limits), (_, last) = curve["reward"]
    spread = T_2 * statistics.stdev([0.3, 0.5, 0.9]) / math.sqrt(3)
    assert first == 0
    assert limits == pytest.approx((170 / 3, 0, 100))  # spread is more, but a share is not
    assert last == pytest.approx((40, 40, 40))
    _, (entropy, low, high) = curve["entropy"][0]
    assert (entropy, low, high) == pytest.approx((1.3 / 3, 0, 1.3 / 3 + spread))


def test_limits_of_kl_do_not_fall_below_0(tmp_path: Path) -> None:
    path = made.curves(tmp_path / "c.csv", {"a": [[0.1, 0.1], [1.0, 0.1], [10.0, 0.1]]})
    (_, (mean, low, high)), (_, still) = read_curves(path)["a"]["kl_old"]
    spread = T_2 * statistics.stdev([0.01, 0.1, 1.0]) / math.sqrt(3)
    assert (mean, low, high) == pytest.approx((0.37, 0, 0.37 + spread))
    assert still == pytest.approx((0.01, 0.01, 0.01))


def test_two_seeds_have_no_limits_and_steps_that_one_lacks_are_left_out(tmp_path: Path) -> None:
    path = made.curves(tmp_path / "c.csv", {"a": [[0.2, 0.3], [0.4]]})
    ((step, (mean, low, high)),) = read_curves(path)["a"]["reward"]
    assert (step, mean) == pytest.approx((0, 30))
    assert math.isnan(low)
    assert math.isnan(high)


def test_rows_of_a_grid_share_panels_by_method() -> None:
    found = groups(read_rows(CLIP / "grid.csv")[1:])
    assert list(found) == ["Token-clipped", "GSPO", "KPO, start known", "KPO, start diffuse"]
    assert found["GSPO"] == {
        "gspo-3e-4": "clip high 0.0004",
        "gspo-3e-3": "clip high 0.004",
        "gspo-0.03": "clip high 0.04",
        "gspo-0.2": "clip high 0.2",
    }


def test_families_that_vary_different_settings_share_panels_each_by_its_own() -> None:
    found = groups(read_rows(TUNING / "grid.csv")[1:])
    assert len(found) == 27  # of 112 rows
    assert found["CISPO, weight_high 1.3"] == {
        f"cispo-{lr}-narrow": f"lr {lr}" for lr in ("0.0001", "0.0002", "0.0004", "0.0008")
    }
    assert list(found["KPO, start diffuse, lr 0.0008"].values()) == [
        f"clip high {clip}" for clip in ("4e-5", "0.0004", "0.004", "0.04", "0.2")
    ]


def test_every_method_has_its_panels(tmp_path: Path, saved: list[Figure]) -> None:
    curves = made.curves(tmp_path / "c.csv", {"a": [[0.2, 0.9]] * 3, "b": [[0.3, 0.1]] * 3})
    rows = [["A", "a", "", *[""] * 5, "50"], ["B", "b", "", *[""] * 5, "10"]]
    grid = made.grid(tmp_path / "grid.csv", [["Base", "base", "", *[""] * 5, ""], *rows])
    draw_learning(curves, grid, [tmp_path / "x.png"])
    panels = saved[0].axes
    assert [axes.get_ylabel() for axes in panels[:4]] == [
        *("reward [%]", "entropy [nats]", "KL to old [nats]", "clipped [%]"),
    ]
    assert [panels[place].get_title(loc="left") for place in (0, 4)] == ["A", "B"]
    reference, own = panels[4].lines
    assert ys(reference) == pytest.approx([20, 90])
    assert ys(own) == pytest.approx([30, 10])
    low, high = panels[4].get_ylim()
    assert low < 10  # of both methods' lines
    assert 90 < high < 110
    assert panels[0].get_ylim() == (low, high)
    assert panels[2].get_yscale() == "symlog"
    assert panels[2].get_ylim()[0] == 0
    assert legend(saved[0]) == ["A (everywhere)", "the method"]


def test_lines_of_a_grid_are_told_apart_below(tmp_path: Path, saved: list[Figure]) -> None:
    draw_learning(CLIP / "curves.csv", CLIP / "grid.csv", [tmp_path / "x.png"])
    assert legend(saved[0]) == [
        "Token-clipped, clip 3e-4 (everywhere)",
        *(f"clip high {clip}" for clip in ("0.0004", "0.004", "0.04", "0.2")),
    ]


def test_files_of_two_experiments_are_refused(tmp_path: Path) -> None:
    curves = made.curves(tmp_path / "c.csv", {"other": [[0.2]]})
    with pytest.raises(UserError, match=r"grid\.csv: has no row other, which .*c\.csv has"):
        draw_learning(curves, CLIP / "grid.csv", [tmp_path / "x.png"])
