"""The training loop: what it samples, when, and that it is reproducible and learns."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from kpo.common.cli import UserError
from kpo.model.policy import Policy
from kpo.rollout.engine import Response, Sampling
from kpo.rollout.transformers import TransformersEngine
from kpo.trainer.loop import Trainer
from kpo.trainer.state.progress import Position
from tests.kpo.models import tiny_policy
from tests.kpo.trainer.runs import metrics, tiny_trainer


def weights(policy: Policy) -> torch.Tensor:
    """All parameters in one row, copied."""
    return torch.cat([p.detach().flatten() for p in policy.model.parameters()])


def test_equal_runs_are_equal_to_the_last_bit(tmp_path: Path) -> None:
    ends = []
    for name in ("a", "b"):
        trainer = tiny_trainer(tmp_path / name)
        trainer.train()
        ends.append(weights(trainer.policy))
    assert torch.equal(*ends)
    assert (tmp_path / "a/metrics.jsonl").read_bytes() == (
        tmp_path / "b/metrics.jsonl"
    ).read_bytes()


def test_seeds_change_the_run(tmp_path: Path) -> None:
    ends = []
    for seed in (0, 1):
        trainer = tiny_trainer(tmp_path / str(seed), seed=seed)
        trainer.train()
        ends.append(weights(trainer.policy))
    assert not torch.equal(*ends)


def test_the_micro_batch_does_not_matter(tmp_path: Path) -> None:
    ends = []
    for budget in (40, 500):
        trainer = tiny_trainer(tmp_path / str(budget), steps=2, max_tokens_per_microbatch=budget)
        trainer.train()
        ends.append(weights(trainer.policy))
    torch.testing.assert_close(*ends, atol=1e-5, rtol=0)


class RecordingEngine(TransformersEngine):
    """Remembers the weights that each batch was sampled from."""

    def __init__(self, policy: Policy) -> None:
        super().__init__(policy)
        self.sampled_from: list[torch.Tensor] = []

    def generate(
        self, prompts: Sequence[Sequence[int]], seeds: Sequence[int], sampling: Sampling
    ) -> list[list[Response]]:
        self.sampled_from.append(weights(self.policy))
        return super().generate(prompts, seeds, sampling)


class RecordingTrainer(Trainer):
    """Remembers the weights before each step, and checks that pi_old is of the rollouts'."""

    def learn(self, at: Position) -> None:
        self.before: list[torch.Tensor] = [*getattr(self, "before", []), weights(self.policy)]
        super().learn(at)


@pytest.mark.parametrize("staleness", [0, 1, 3])
def test_rollouts_are_of_the_weights_n_steps_back(tmp_path: Path, staleness: int) -> None:
    policy = tiny_policy(seed=3)
    engine = RecordingEngine(policy)
    plain = tiny_trainer(tmp_path, policy=policy, engine=engine, steps=6, staleness=staleness)
    trainer = RecordingTrainer(**{f: getattr(plain, f) for f in Trainer.__dataclass_fields__})
    trainer.train()
    assert len(engine.sampled_from) == 6
    for step, used in enumerate(engine.sampled_from):
        assert torch.equal(used, trainer.before[max(0, step - staleness)])


def test_fresh_rollouts_start_on_policy_and_stale_ones_do_not(tmp_path: Path) -> None:
    for staleness, lowest, highest in ((0, 0.0, 1e-3), (2, 1e-3, 10.0)):
        trainer = tiny_trainer(
            tmp_path / str(staleness), staleness=staleness, steps=5, mini_batches=1, lr=1e-2
        )
        trainer.train()
        last = metrics(tmp_path / str(staleness))[-1]
        assert lowest <= last["ratio_raw_q99"] - 1 <= highest


def test_passes_are_updates_on_the_same_responses(tmp_path: Path) -> None:
    """Two passes: twice the updates of the schedule and of the log, on no more rollouts."""
    policy = tiny_policy(seed=3)
    engine = RecordingEngine(policy)
    trainer = tiny_trainer(tmp_path, policy=policy, engine=engine, steps=2, passes=2, warm_up=0.5)
    trainer.train()
    assert trainer.schedule.last_epoch == 2 * 2 * 2
    assert len(engine.sampled_from) == 2
    assert metrics(tmp_path)[0]["lr"] == pytest.approx(1e-3 * (1 + 2 + 3 + 4) / 4 / 4)


class ShiftedEngine(TransformersEngine):
    """Reports log-probs that are off by `shift` nats from its second batch on."""

    def __init__(self, policy: Policy, shift: float) -> None:
        super().__init__(policy)
        self.shift, self.calls = shift, list[str]()

    def sync_weights(self, policy: Policy) -> None:
        self.calls.append("sync")
        super().sync_weights(policy)

    def generate(
        self, prompts: Sequence[Sequence[int]], seeds: Sequence[int], sampling: Sampling
    ) -> list[list[Response]]:
        self.calls.append("generate")
        groups = super().generate(prompts, seeds, sampling)
        shift = self.shift if self.calls.count("generate") > 1 else 0.0
        return [
            [replace(r, logprobs=[value + shift for value in r.logprobs]) for r in group]
            for group in groups
        ]

    def sleep(self) -> None:
        self.calls.append("sleep")


@pytest.mark.parametrize(("shift", "told"), [(0.3, "0.3"), (-0.3, "0.3"), (math.nan, "nan")])
def test_rollouts_of_another_distribution_stop_the_run(
    tmp_path: Path, shift: float, told: str
) -> None:
    policy = tiny_policy(seed=3)
    trainer = tiny_trainer(
        tmp_path, policy=policy, engine=ShiftedEngine(policy, shift), max_logprob_mismatch=0.2
    )
    message = rf"step 1: .* differ by {told} nats in the mean .* train.max_logprob_mismatch \(0.2,"
    with pytest.raises(UserError, match=message):
        trainer.train()
    assert [row["step"] for row in metrics(tmp_path)] == [0]  # it learnt from the first batch only


def test_a_mismatch_within_the_bound_is_logged(tmp_path: Path) -> None:
    policy = tiny_policy(seed=3)
    engine = ShiftedEngine(policy, 0.1)
    tiny_trainer(tmp_path, policy=policy, engine=engine, max_logprob_mismatch=0.2).train()
    first, *others = metrics(tmp_path)
    assert first["logprob_mismatch_mean"] <= first["logprob_mismatch_max"] < 1e-4
    for row in others:
        assert row["logprob_mismatch_mean"] == pytest.approx(0.1, abs=1e-4)
    assert engine.calls == ["sync", "generate", "sleep"] * 3  # asleep whenever the trainer works


@pytest.mark.slow
@pytest.mark.parametrize("objective", ["grpo", "gmpo"])
def test_the_reward_rises(tmp_path: Path, objective: str) -> None:
    trainer = tiny_trainer(
        tmp_path, objective=objective, steps=25, prompts=6, group=16, lr=5e-3, warm_up=0.1
    )
    trainer.train()
    rewards = [row["reward"] for row in metrics(tmp_path)]
    assert sum(rewards[-5:]) / 5 > sum(rewards[:5]) / 5 + 0.25


def test_every_step_logs_what_the_readme_promises(tmp_path: Path) -> None:
    tiny_trainer(tmp_path, objective="gspo").train()
    rows = metrics(tmp_path)
    assert [row["step"] for row in rows] == [0, 1, 2]
    promised = {"reward", "response_tokens", "entropy", "clip_fraction", "kl_old", "grad_norm"}
    promised |= {"ratio_raw_q50", "ratio_used_q50", "switch_raw", "switch_used"}
    assert promised <= set(rows[0])
    timings = [json.loads(line) for line in (tmp_path / "timings.jsonl").read_text().splitlines()]
    assert {"sync", "rollout", "reward", "old_logprobs", "update"} <= set(timings[0])
    assert list((tmp_path / "tensorboard").glob("events.*"))
