"""The noise floor: what rounding does to log-ratios where no weight has moved."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from kpo.diagnostics import NOISE
from kpo.distributed.ranks import ALONE, Ranks
from kpo.model.policy import Policy
from kpo.objective import Objective
from kpo.registry import make_objective
from kpo.trainer import loop
from kpo.trainer.batch import Rollouts, make_rollouts
from kpo.trainer.noise import noise_of, with_noise
from kpo.trainer.step import Updater
from tests.kpo.models import tiny_policy
from tests.kpo.processes import on_ranks
from tests.kpo.trainer.rollouts import rollouts
from tests.kpo.trainer.runs import metrics, tiny_trainer

ROWS = [0, 1, 2, 9, 10, 11]


def shifted(made: Rollouts, by: Sequence[float]) -> Rollouts:
    """Old log-probs that lie so far below the trainer's, token by token in turn."""
    places = torch.arange(made.old_logprobs.shape[1]) % len(by)
    return replace(made, old_logprobs=made.old_logprobs - torch.tensor(by)[places])


def measured(
    policy: Policy, made: Rollouts, objective: Objective, ranks: Ranks = ALONE
) -> dict[str, float]:
    optimizer = torch.optim.SGD(policy.model.parameters(), lr=1.0)
    updater = Updater(policy, optimizer, objective, 1000, 1.0, ranks=ranks)
    return dict(with_noise(updater, made, ROWS).noise)


def test_it_is_the_log_ratio_at_unchanged_weights() -> None:
    policy = tiny_policy()
    made = shifted(rollouts(policy), [0.01, -0.01])
    found = measured(policy, made, make_objective("token_clipped"))
    assert list(found) == list(NOISE)
    assert found["noise_rms"] == pytest.approx(0.01, rel=1e-3)
    assert found["noise_max"] == pytest.approx(0.01, rel=1e-3)
    assert 0.2 < found["noise_clip_fraction"] < 0.8  # about one of two directions
    quiet = measured(policy, made, make_objective("grpo"))
    assert quiet["noise_clip_fraction"] == 0
    assert not any(p.grad is not None for p in policy.model.parameters())


def on_rank(ranks: Ranks) -> dict[str, float]:
    policy = tiny_policy()
    made = shifted(rollouts(policy), [0.01, -0.02])
    return measured(policy, made, make_objective("token_clipped"), ranks)


@pytest.mark.slow
def test_ranks_measure_it_together() -> None:
    first, second = on_ranks(2, on_rank)
    assert first == second == pytest.approx(on_rank(ALONE), rel=0.2)


def test_the_first_update_shows_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With one update a step, whole in a micro-batch, all of its ratios are noise."""

    def noisy(*args: Any) -> Rollouts:
        return shifted(make_rollouts(*args), [0.01, -0.01])

    monkeypatch.setattr(loop, "make_rollouts", noisy)
    one: dict[str, Any] = {
        "mini_batches": 1,
        "max_tokens_per_microbatch": 10_000,
        "max_logprob_mismatch": 1.0,
    }
    tiny_trainer(tmp_path, objective="token_clipped", **one).train()
    for row in metrics(tmp_path):
        for name in ("ratio_raw_q99", "ratio_raw_q01"):
            assert abs(math.log(row[name])) == pytest.approx(row["noise_rms"], rel=1e-2)
        assert row["noise_max"] == pytest.approx(0.01, rel=1e-3)


def test_stale_rollouts_have_that_of_the_weights_they_came_from(tmp_path: Path) -> None:
    tiny_trainer(tmp_path, staleness=2, steps=5, mini_batches=1, lr=1e-2).train()
    last = metrics(tmp_path)[-1]
    assert last["ratio_raw_q99"] - 1 > 1e-3
    assert last["noise_max"] < 1e-5


def test_of_several_steps_it_is_the_mean_and_the_largest() -> None:
    rows = [
        dict(zip(NOISE, values, strict=True)) for values in ((1e-3, 0.1, 0.0), (3e-3, 0.3, 0.5))
    ]
    expected = {"noise_rms": 2e-3, "noise_max": 0.3, "noise_clip_fraction": 0.25}
    assert noise_of(rows) == pytest.approx(expected)
    assert noise_of(rows[:1]) == rows[0]
