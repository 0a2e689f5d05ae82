"""The comparison of a small training: what is looked at, and what must come out."""

from __future__ import annotations

from typing import Any

import pytest

from kpo.estimators import compare as module
from kpo.estimators.compare import Size, compare, looked_at
from kpo.estimators.frozen import Recorder
from kpo.estimators.table import rows as rows_of
from kpo.registry import make_objective
from tests.kpo.estimators.recorded import recorded

METHODS = {
    "grpo": make_objective("grpo"),
    "reinforce": make_objective("reinforce"),
    "gspo": make_objective("gspo"),
    "dr-grpo": make_objective("dr_grpo", length=12),
}
LABELS = {name: name for name in METHODS}
SIZE = Size(ages=[0, 1, 4], steps=2, truth=8)


@pytest.fixture(scope="module")
def recorder(tmp_path_factory: pytest.TempPathFactory) -> Recorder:
    return recorded(tmp_path_factory.mktemp("training"), SIZE.ages, lr=3e-3)


@pytest.fixture(scope="module")
def rows(recorder: Recorder) -> list[dict[str, Any]]:
    return rows_of(0, LABELS, compare(recorder, METHODS, SIZE))


def test_every_age_and_every_method_has_a_row(rows: list[dict[str, Any]]) -> None:
    places = [("fresh", 0), ("fresh", 1), ("fresh", 4), ("trained_on", 4)]
    expected = [(*place, method) for place in places for method in METHODS]
    assert [(row["rollouts"], row["age"], row["method"]) for row in rows] == expected
    assert [row["batches"] for row in rows[:: len(METHODS)]] == [4, 4, 4, 2]


def test_on_policy_nothing_parts_the_methods(rows: list[dict[str, Any]]) -> None:
    first, *others = (row for row in rows if row["age"] == 0)
    assert first["ess_responses"] == pytest.approx(1)
    assert first["kl_old"] == pytest.approx(0, abs=1e-9)
    for row in others[:2]:
        assert row["slope"] == pytest.approx(first["slope"], rel=1e-4)
        assert row["mse"] == pytest.approx(first["mse"], rel=1e-4)
        assert row["bias_minus_first"] == pytest.approx(0, abs=1e-4)
    assert others[2]["truth_norm"] != pytest.approx(first["truth_norm"], rel=0.01)


def test_off_policy_they_part(rows: list[dict[str, Any]]) -> None:
    old = [row for row in rows if (row["rollouts"], row["age"]) == ("fresh", 4)]
    assert old[0]["kl_old"] > rows[len(METHODS)]["kl_old"] > 0
    assert old[0]["ess_responses"] < 1
    assert len({round(row["mse"], 6) for row in old}) == len(METHODS)
    assert old[2]["clip_fraction"] > 0.3 > old[1]["clip_fraction"] == 0


def test_fresh_prompts_are_those_after_training(recorder: Recorder) -> None:
    assert SIZE.fresh_steps(recorder) == range(3, 5)
    assert SIZE.truth_steps(recorder) == range(5, 13)
    assert looked_at(recorder, [0, 1, 2]) == [
        ("fresh", 0),
        ("fresh", 1),
        ("fresh", 2),
        ("trained_on", 2),
    ]


def test_what_is_held_at_once_changes_nothing(
    recorder: Recorder, rows: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "HELD_BYTES", 1)
    again = rows_of(0, LABELS, compare(recorder, METHODS, SIZE))
    for row, other in zip(rows, again, strict=True):
        assert row == pytest.approx(other, rel=1e-3, abs=1e-3, nan_ok=True)
