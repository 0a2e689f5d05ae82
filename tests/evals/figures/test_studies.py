"""Figures of differences, tuning, gradients and structure: what stands where."""

from __future__ import annotations

from pathlib import Path

import pytest
from matplotlib.figure import Figure

from kpo.common.cli import UserError
from kpo.evals.figures.data import read_rows
from kpo.evals.figures.forest import draw_forest
from kpo.evals.figures.shootout import draw_shootout
from kpo.evals.figures.structure import draw_autocorrelation, draw_structure
from kpo.evals.figures.tuning import draw_tuning
from kpo.series.places import STAGES
from tests.evals.figures import made
from tests.evals.figures.looked_at import legend, xs, ys
from tests.workspace import REPO

TINY = REPO / "results/reference/tiny/differences.csv"


def test_differences_by_reference_filled_where_they_are_none_of_noise(
    saved: list[Figure], tmp_path: Path
) -> None:
    draw_forest(TINY, [tmp_path / "x.png"])
    rows = [r for r in read_rows(TINY) if (r["benchmark"], r["metric"]) == ("overall", "avg@16")]
    panels = saved[0].axes
    assert panels[0].get_title(loc="left") == "minus GRPO"
    assert panels[-1].get_title(loc="left") == "minus the base model"
    drawn = [
        (axes.get_title(loc="left"), xs(mark)[0], mark.get_markerfacecolor())
        for axes in panels
        for mark in axes.lines
        if mark.get_marker() == "o"
    ]
    assert sorted(x for _, x, _ in drawn) == sorted(float(row["difference"]) for row in rows)
    noise = sum(row["verdict"] == "inside the noise" for row in rows)
    assert sum(fill == "white" for _, _, fill in drawn) == noise


def test_nothing_compared_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "differences.csv"
    path.write_text(TINY.read_text().splitlines()[0] + "\n")
    with pytest.raises(UserError, match="has no rows"):
        draw_forest(path, [tmp_path / "x.png"])


def test_a_panel_a_tuned_method_with_its_choice_circled(
    saved: list[Figure], tmp_path: Path
) -> None:
    draw_tuning(made.surface(tmp_path), [tmp_path / "x.png"])
    grpo, reinforce = saved[0].axes
    assert [axes.get_title() for axes in (grpo, reinforce)] == ["grpo", "reinforce"]
    assert grpo.get_xlabel() == "learning rate"
    *lines, circle = grpo.lines
    assert [line.get_label() for line in lines] == ["clip narrow", "clip paper", "clip wide"]
    assert ys(lines[1]) == [50, 80, 50]
    assert (xs(circle), ys(circle)) == ([1], [80])
    assert legend(saved[0]) == [
        *("clip narrow", "clip paper", "clip wide", "chosen"),
        "no other setting",
    ]


def test_estimators_by_age_and_use(saved: list[Figure], tmp_path: Path) -> None:
    path = made.shootout(tmp_path / "shootout.csv")
    draw_shootout(path, [tmp_path / "x.png"])
    panels = saved[0].axes
    assert [axes.get_title() for axes in panels[:3]] == [
        *("age 0 [updates]", "age 1 [updates]", "age 16 [updates]"),
    ]
    rows = [row for row in read_rows(path) if (row["seed"], row["age"]) == ("all", "16")]
    marks = [mark for mark in panels[2].lines if mark.get_marker() in ("o", "D")]
    assert [xs(mark)[0] for mark in marks] == [float(row["cosine_batch"]) for row in rows]
    assert legend(saved[0]) == ["not yet trained on", "trained on"]


def test_structure_beside_its_nulls(saved: list[Figure], tmp_path: Path) -> None:
    path = made.structure(tmp_path / "structure.csv")
    draw_structure(path, [tmp_path / "x.png"])
    assert legend(saved[0]) == ["paper", "random signs", "shuffled", "measured"]
    panels = saved[0].axes
    labels = [text.get_text() for text in panels[0].get_yticklabels()]
    assert labels == [f"{method}, {stage}" for method in made.METHODS for stage in STAGES]
    assert panels[0].get_title(loc="left") == "responses not yet trained on"
    assert panels[6].get_title(loc="left") == "responses trained on before"
    rows = read_rows(path)
    wanted = [
        float(row["low_frequency"])
        for row in rows
        if (row["what"], row["use"]) == ("measured", "later")
    ]
    marks = [mark for mark in panels[8].lines if mark.get_marker() == "o"]
    assert [xs(mark)[0] for mark in marks] == wanted


def test_autocorrelation_beside_that_of_shuffled_tokens(
    saved: list[Figure], tmp_path: Path
) -> None:
    draw_autocorrelation(made.structure(tmp_path / "structure.csv"), [tmp_path / "x.png"])
    first, later = saved[0].axes
    for axes, at_lag_1 in ((first, 0.0), (later, 0.5)):  # of noise, and of its moving average
        assert [line.get_label() for line in axes.lines] == list(made.METHODS)
        for line in axes.lines:
            assert ys(line)[0] == pytest.approx(at_lag_1, abs=0.1)
    assert legend(saved[0])[0] == "shuffled"
