"""Which settings are chosen: by validation scores, of a whole surface, edges marked."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from pathlib import Path

import pytest

from kpo.common.cli import UserError
from kpo.evals.tuning.surface import Point, cost_of, families_of, read_surface
from tests.evals.tuning.small import CONFIG, GRPO, RATIO, experiment, finish


def surface(root: Path, right: Mapping[str, int]) -> list[Point]:
    made = experiment(root)
    return read_surface(made, finish(root, made, right))


def chosen(points: list[Point]) -> dict[str, str]:
    return {p.family: p.name for p in points if p.chosen}


def test_every_family_gets_its_best_point(tmp_path: Path) -> None:
    points = surface(tmp_path, {"grpo-0.0002-paper": 7, "grpo-0.0004-wide": 6, RATIO[1]: 8})
    assert [p.name for p in points] == GRPO + RATIO
    assert chosen(points) == {"grpo": "grpo-0.0002-paper", "reinforce": RATIO[1]}
    best = next(p for p in points if p.chosen)
    assert best.score.mean == pytest.approx(0.7)
    assert best.score.low < 0.7 < best.score.high
    assert best.edges == ()


def test_of_equal_scores_the_smaller_learning_rate_then_the_first(tmp_path: Path) -> None:
    right = {"grpo-0.0004-narrow": 7, "grpo-0.0002-wide": 7, "grpo-0.0002-paper": 7}
    assert chosen(surface(tmp_path, right)) == {"grpo": "grpo-0.0002-paper", "reinforce": RATIO[0]}


def test_a_choice_at_the_end_of_an_axis_says_so(tmp_path: Path) -> None:
    points = surface(tmp_path, {"grpo-0.0004-narrow": 7, RATIO[1]: 7})
    edges = {p.family: p.edges for p in points if p.chosen}
    assert edges == {"grpo": ("train.lr highest", "clip lowest"), "reinforce": ()}


def test_what_the_choice_took(tmp_path: Path) -> None:
    families = families_of(surface(tmp_path, {}))
    cost = cost_of(families["reinforce"])
    assert cost.runs == 3 * 2
    assert cost.tokens == 6 * 10 * 11 * 4 * 2  # steps, tokens, prompts x responses
    assert cost.seconds == 6 * (10 + 1.5)


def test_a_surface_with_holes_is_refused_with_what_is_missing(tmp_path: Path) -> None:
    made = experiment(tmp_path)
    results = finish(tmp_path, made, {})
    for run in ("grpo-0.0002-wide-s101", "reinforce-0.0004-s100"):
        (results / "tuning/evals" / run / "grades.jsonl").unlink()
    with pytest.raises(UserError) as refused:
        read_surface(made, results)
    assert "2 of 25 evaluations are missing" in str(refused.value)
    assert "grpo-0.0002-wide-s101, reinforce-0.0004-s100" in str(refused.value)


def test_test_problems_choose_nothing(tmp_path: Path) -> None:
    config = copy.deepcopy(CONFIG)
    config["task"]["held_out"] = "test"
    with pytest.raises(UserError, match=r"set task\.held_out to validation"):
        read_surface(experiment(tmp_path, config), tmp_path)


def test_an_experiment_without_a_grid_has_nothing_to_choose(tmp_path: Path) -> None:
    config = {**CONFIG, "methods": {"grpo": {"label": "GRPO", "objective": "grpo"}}}
    with pytest.raises(UserError, match="no method has a grid"):
        read_surface(experiment(tmp_path, config), tmp_path)
