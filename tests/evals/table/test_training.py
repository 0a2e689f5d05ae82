"""training.csv: how the training of each run went, from its steps' metrics."""

import csv
from pathlib import Path

from kpo.evals.grading.statuses import FAILURES
from tests.evals.demo import make, write_rows


def training(root: Path) -> dict[tuple[str, str], dict[str, str]]:
    make(root)
    with (root / "out" / "training.csv").open() as file:
        return {(row["name"], row["seed"]): row for row in csv.DictReader(file)}


def test_every_run_has_a_line_with_the_role_of_its_method(root: Path) -> None:
    found = training(root)
    methods = ("grpo", "gspo", "kpo-clipped", "kpo-unclipped")
    assert list(found) == [(method, str(seed)) for method in methods for seed in range(3)]
    assert found["gspo", "1"]["role"] == "baseline"
    assert found["kpo-clipped", "2"]["role"] == "proposed"
    assert {row["steps"] for row in found.values()} == {"2"}


def test_a_line_sums_up_the_steps_of_its_run_alone(root: Path) -> None:
    steps = [
        {
            **{"reward": 0.25, "entropy": 0.5, "grad_norm": 3.0, "clip_fraction": 0.0},
            **{"no_answer": 0.5, "timeout": 0.01, "error": 0.0, "truncated": 0.25},
            **{"zero_std_groups": 0.5, "noise_max": 2e-5, "noise_rms": 1e-6},
            **{"logprob_mismatch_mean": 1e-6, "logprob_mismatch_max": 4e-6},
        },
        {
            **{"reward": 0.75, "entropy": 0.125, "grad_norm": 1.0, "clip_fraction": 0.5},
            **{"no_answer": 0.25, "timeout": 0.0, "error": 0.5, "truncated": 0.25},
            **{"zero_std_groups": 0.25, "noise_max": 1e-5, "noise_rms": 3e-6},
            **{"logprob_mismatch_mean": 3e-6, "logprob_mismatch_max": 2e-6},
        },
    ]
    write_rows(root / "results/demo/runs/gspo-s1/metrics.jsonl", steps)
    found = training(root)
    expected = {
        **{"reward_first_%": "25.00", "reward_last_%": "75.00", "collapsed": "no"},
        **{"entropy_first": "0.5", "entropy_last": "0.125", "grad_norm_max": "3"},
        **{"truncated_%": "25.00", "no_answer_%": "37.50", "timeout_%": "0.50"},
        **{"error_%": "25.00", "zero_std_groups_%": "37.50", "clip_%": "25.00"},
        **{"logprob_mismatch_mean": "2e-6", "logprob_mismatch_max": "4e-6"},
        **{"noise_rms": "2e-6", "noise_max": "2e-5"},
    }
    assert {name: found["gspo", "1"][name] for name in expected} == expected
    assert found["gspo", "0"]["reward_first_%"] == "50.00"


def test_what_a_run_did_not_log_stays_empty(root: Path) -> None:
    row = training(root)["gspo", "1"]
    assert [row[f"{name}_%"] for name in FAILURES] == [""] * 3
    assert row["noise_clip_%"] == row["grad_norm_max"] == ""
