"""Models with dropout or a noisy router: sampled, scored and trained without either."""

from pathlib import Path

import pytest
import torch

from kpo.model.policy import Policy
from tests.kpo.models import tiny_policy
from tests.kpo.trainer.runs import metrics, tiny_trainer

NOISY = ["gpt2", "mixtral"]


@pytest.mark.parametrize("family", NOISY)
def test_these_models_are_noisy_in_training_mode(family: str) -> None:
    model = tiny_policy(family).model.train()
    ids = torch.arange(5, 25)[None]
    assert float((model(ids).logits - model(ids).logits).detach().abs().max()) > 0.1


@pytest.mark.parametrize("family", NOISY)
def test_ratios_are_one_until_a_weight_moves(tmp_path: Path, family: str) -> None:
    policy = tiny_policy(family, seed=3)
    tiny_trainer(tmp_path, policy=policy, mini_batches=1, steps=3, lr=1e-2).train()
    rows = metrics(tmp_path)
    assert any(row["grad_norm"] > 0 for row in rows[:-1])
    for row in rows:
        for quantile in ("q01", "q50", "q99"):
            assert row[f"ratio_raw_{quantile}"] == pytest.approx(1, abs=1e-4)
        assert row["logprob_mismatch_max"] < 1e-4


@pytest.mark.parametrize("family", NOISY)
def test_equal_runs_are_equal(tmp_path: Path, family: str) -> None:
    """Nothing draws from torch's generator, whose state other work may have moved."""
    for seed in (0, 1):
        torch.manual_seed(seed)
        policy = tiny_policy(family, seed=3)
        torch.manual_seed(seed)
        tiny_trainer(tmp_path / str(seed), policy=policy, steps=2).train()
    assert metrics(tmp_path / "0") == metrics(tmp_path / "1")


def test_a_policy_is_in_evaluation_mode_from_the_start() -> None:
    policy = tiny_policy("gpt2")
    again = Policy(policy.model.train(), policy.tokenizer, policy.eos)
    assert not any(module.training for module in again.model.modules())
