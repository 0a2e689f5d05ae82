"""grid.csv and aggregates.csv: rows in few numbers, over their seeds."""

from pathlib import Path

import numpy as np
import pytest

from kpo.evals.metrics import avg_at_k
from tests.evals.demo import PROBLEMS, change, make, read_csv, records, rewarded


def test_a_grid_holds_means_over_seeds_with_their_limits(root: Path) -> None:
    change(
        root,
        "objective: gspo, clip_low: 3e-4",
        "objective: gspo, clip_low: 3e-4, train: {lr: 1e-6}",
    )
    for seed, reward in enumerate((0.5, 0.6, 0.7)):
        rewarded(root, f"gspo-s{seed}", [0.5, *[reward] * 5], grad_norm=1.0 + seed, ess_used=0.99)
    make(root)
    rows = {row["name"]: row for row in read_csv(root / "out/grid.csv")}
    assert list(rows) == ["base", "grpo", "gspo", "kpo-clipped", "kpo-unclipped"]
    row, h = rows["gspo"], 4.302653 * 0.1 / np.sqrt(3)
    assert (row["clip_low"], row["train.lr"], row["seeds"]) == ("0.0003", "1e-6", "3")
    limits = [f"{100 * x:.2f}" for x in (0.6, 0.6 - h, 0.6 + h)]
    assert [row[f"reward_last5_%{end}"] for end in ("", "_low", "_high")] == limits
    assert (row["grad_norm"], row["grad_norm_low"]) == ("2", "0")  # no norm is below 0
    assert (row["ess_used_%"], row["ess_used_%_low"]) == ("99.00", "99.00")
    assert row["kl_old"] == rows["base"]["reward_last5_%"] == ""
    table = records(root / "out/table1.csv")
    assert row["overall_avg@4_high"] == table["gspo"]["overall_avg@4_high"]


def test_aggregates_are_of_rows_with_seeds_and_of_declared_pairs(root: Path) -> None:
    make(root)
    found = read_csv(root / "out/aggregates.csv")
    assert {row["name"] for row in found} == {"grpo", "gspo", "kpo-clipped", "kpo-unclipped"}
    pairs = {(row["name"], row["reference"]): row for row in found if row["reference"]}
    assert set(pairs) == {
        *((name, "grpo") for name in ("gspo", "kpo-clipped", "kpo-unclipped")),
        *((name, "gspo") for name in ("grpo", "kpo-clipped", "kpo-unclipped")),
    }
    assert pairs["kpo-unclipped", "gspo"]["value"] == "0.00"
    assert pairs["kpo-unclipped", "gspo"]["high"] == "70.76"  # three seeds are no proof
    (iqm,) = (r for r in found if r["name"] == "gspo" and r["statistic"] == "interquartile mean")
    scores = read_csv(root / "out/scores.csv")
    of_run = [
        100 * avg_at_k([[n < int(r[run]) for n in range(4)] for r in scores if r["benchmark"] == b])
        for run in ("gspo-s0", "gspo-s1", "gspo-s2")
        for b in PROBLEMS
    ]
    x = sorted(of_run)  # the middle half of six: 1/2, 1, 1, 1/2
    assert float(iqm["value"]) == pytest.approx((x[1] / 2 + x[2] + x[3] + x[4] / 2) / 3, abs=0.006)
    assert float(iqm["low"]) < float(iqm["value"]) < float(iqm["high"])


def test_two_seeds_have_aggregates_without_limits(root: Path) -> None:
    change(root, "[0, 1, 2]", "[0, 1]")
    make(root)
    assert {(row["low"], row["high"]) for row in read_csv(root / "out/aggregates.csv")} == {
        ("", "")
    }
