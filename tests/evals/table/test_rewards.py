"""Collapse and the gap between best and last, from the rewards of a run's steps."""

from pathlib import Path

import pytest

from kpo.evals.table.documents import markdown
from kpo.evals.table.rewards import best, collapsed, gap, last
from tests.evals.demo import differences, make, read_csv, rewarded, table_of


@pytest.mark.parametrize(
    ("rewards", "expected"),
    [
        ([0.4] * 3 + [0.2] * 5, False),  # half is not below half
        ([0.4] * 3 + [0.2] * 4 + [0.19], True),
        ([0.4, 0.9, 0.9, 0.9] + [0.25] * 5, False),  # of the first step's, not of the best
        ([0.4] + [0.0] * 4 + [0.9] * 5, False),  # it came back
        ([0.4, 0.1], False),  # all steps of a short run: their mean is 0.25
        ([0.4, 0.1, 0.0], True),
        ([0.0, 0.0], False),
        ([], False),
    ],
)
def test_a_run_has_collapsed_below_half_of_its_first_reward(
    rewards: list[float], expected: bool
) -> None:
    assert collapsed(rewards) is expected


def test_best_and_last_are_means_of_five_steps() -> None:
    rewards = [0.1, 0.9, 0.5, 0.5, 0.5, 0.6, 0.4, 0.1, 0.1, 0.1, 0.1]
    assert best(rewards) == pytest.approx((0.9 + 0.5 + 0.5 + 0.5 + 0.6) / 5)
    assert last(rewards) == pytest.approx((0.4 + 4 * 0.1) / 5)
    assert gap(rewards) == pytest.approx(0.6 - 0.16)
    assert gap([0.5, 0.1]) == 0


def test_collapsed_runs_are_told_wherever_runs_are(root: Path) -> None:
    assert "Collapsed" not in markdown(table_of(root))
    assert "GRPO" not in differences(root)
    for seed in (0, 2):
        rewarded(root, f"grpo-s{seed}", [0.5, 0.3, 0.3, *[0.1] * 5])
    make(root)
    training = {(r["name"], r["seed"]): r for r in read_csv(root / "out/training.csv")}
    assert [training["grpo", str(s)]["collapsed"] for s in range(3)] == ["yes", "no", "yes"]
    assert training["grpo", "0"]["reward_last5_%"] == "10.00"
    assert training["grpo", "0"]["reward_best_%"] == "26.00"
    assert training["grpo", "0"]["reward_gap_%"] == "16.00"
    grid = {row["name"]: row for row in read_csv(root / "out/grid.csv")}
    assert grid["grpo"]["collapsed_%"] == "66.67"
    assert grid["gspo"]["collapsed_%"] == "0.00"
    text = (root / "out/table1.md").read_text()
    assert "below half of the first one's: grpo 2 of 3 runs; see training.csv." in text
    row = differences(root)["GRPO"]  # and is set against the base model like what is proposed
    assert row["Base model"] != "—"
