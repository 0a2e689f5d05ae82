"""What filters let through: which filters, over which positions."""

from __future__ import annotations

from pathlib import Path

import pytest
from matplotlib.figure import Figure

from kpo.common.cli import UserError
from kpo.evals.figures.data import read_rows
from kpo.evals.figures.pass_share import draw_pass_share, filters_of
from kpo.kalman import kalman_gains
from tests.evals.figures import made
from tests.evals.figures.looked_at import xs, ys
from tests.workspace import REPO

ARMS = REPO / "results/reference/arms/grid.csv"


def test_each_filter_once_and_the_papers_first() -> None:
    found = filters_of(read_rows(ARMS))
    assert found[:3] == [(1e-6, "known"), (1e-6, "steady"), (1e-6, "diffuse")]
    assert [start for _, start in found] == ["known", "steady", "diffuse", "diffuse"]
    assert filters_of([]) == [(1e-6, "known")]


def test_lines_are_what_the_recursion_lets_through(saved: list[Figure], tmp_path: Path) -> None:
    draw_pass_share(ARMS, [tmp_path / "x.png"])
    (axes,) = saved[0].axes
    known = axes.lines[0]
    x, y = xs(known), ys(known)
    passed = 1 - (1 - kalman_gains(4096, 1e-6)).cumprod(0)
    assert (x[0], x[-1]) == (1, 4096)
    assert y == pytest.approx([100 * float(passed[int(t) - 1]) for t in x])
    assert str(known.get_label()) == ("start known, q 1e-6 (memory 1001): 0.0408 and 62.5 %")
    assert [text.get_text() for text in axes.texts] == [
        *("responses here, 48", "the paper's longest, 4096"),
    ]


def test_nothing_trained_is_refused(tmp_path: Path) -> None:
    path = made.grid(tmp_path / "grid.csv", [["Base", "base", "", *[""] * 5, ""]])
    with pytest.raises(UserError, match="no trained rows"):
        draw_pass_share(path, [tmp_path / "x.png"])
