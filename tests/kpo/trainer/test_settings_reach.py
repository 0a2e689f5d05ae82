"""Every setting of a run reaches the part that works by it: nothing here is at its default."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from kpo.config.train import Train
from kpo.diagnostics import RatioStatistics
from kpo.model.policy import Policy
from kpo.rollout.engine import Response, Sampling
from kpo.rollout.transformers import TransformersEngine
from kpo.trainer.batch import Rollouts
from kpo.trainer.loop import Trainer
from kpo.trainer.state.progress import Position
from tests.kpo.models import tiny_policy
from tests.kpo.trainer.rollouts import rollouts
from tests.kpo.trainer.runs import tiny_trainer

SETTINGS: dict[str, Any] = {
    "steps": 4,
    "mini_batches": 2,
    "max_tokens_per_microbatch": 123,
    "lr": 2e-3,
    "betas": (0.8, 0.95),
    "weight_decay": 0.07,
    "clip_norm": 0.6,
    "truncated_importance": 1.7,
    "warm_up": 0.5,
    "final_lr": 0.2,
    "stall_s": 77.0,
}


class RecordingEngine(TransformersEngine):
    """Remembers what it was asked for."""

    def __init__(self, policy: Policy) -> None:
        super().__init__(policy)
        self.seeds: list[list[int]] = []
        self.sampling: list[Sampling] = []

    def generate(
        self, prompts: Sequence[Sequence[int]], seeds: Sequence[int], sampling: Sampling
    ) -> list[list[Response]]:
        self.seeds.append(list(seeds))
        self.sampling.append(sampling)
        return super().generate(prompts, seeds, sampling)


class RecordingTrainer(Trainer):
    """Remembers the learning rate of each update."""

    def update(self, at: Position, rows: Sequence[int]) -> None:
        (group,) = self.optimizer.param_groups
        self.rates: list[float] = [*getattr(self, "rates", []), group["lr"]]
        super().update(at, rows)


def made(folder: Path, seed: int = 0, **settings: Any) -> RecordingTrainer:
    policy = tiny_policy(seed=3)
    engine = RecordingEngine(policy)
    plain = tiny_trainer(
        folder, policy=policy, engine=engine, seed=seed, **{**SETTINGS, **settings}
    )
    return RecordingTrainer(**{f: getattr(plain, f) for f in Trainer.__dataclass_fields__})


def test_nothing_here_is_at_its_default() -> None:
    for name, value in SETTINGS.items():
        assert Train.model_fields[name].default != value, name


def test_the_optimizer_and_the_updater_have_the_settings(tmp_path: Path) -> None:
    trainer = made(tmp_path)
    (group,) = trainer.optimizer.param_groups
    assert (group["initial_lr"], group["betas"], group["weight_decay"]) == (2e-3, (0.8, 0.95), 0.07)
    assert len(group["params"]) == len(list(trainer.policy.model.parameters()))
    updater = trainer.updater
    assert (updater.clip_norm, updater.importance_cap, updater.budget) == (0.6, 1.7, 123)
    assert updater.optimizer is trainer.optimizer
    assert trainer.watchdog.stall_s == 77.0


@pytest.mark.parametrize("final", [1.0, 0.2])
def test_the_learning_rate_rises_over_a_share_of_the_updates_and_falls(
    tmp_path: Path, final: float
) -> None:
    trainer = made(tmp_path, final_lr=final)
    trainer.train()
    shares = [0.25, 0.5, 0.75, 1.0]  # of 8 updates half, not of 4 steps
    falls = [(1 + math.cos(math.pi * step / 4)) / 2 for step in range(4)]
    shares += [final + (1 - final) * fall for fall in falls]
    assert trainer.rates == pytest.approx([2e-3 * share for share in shares], rel=1e-12)


def test_rollouts_are_sampled_by_settings_step_and_seed(tmp_path: Path) -> None:
    asked = {}
    for seed in (0, 1):
        trainer = made(tmp_path / str(seed), seed, group=4, max_response_tokens=6, prompts=2)
        assert isinstance(trainer.engine, RecordingEngine)
        trainer.train()
        asked[seed] = trainer.engine.seeds
        assert set(trainer.engine.sampling) == {Sampling(4, 6, 1.0, 1.0)}
    seeds = [one for steps in asked.values() for step in steps for one in step]
    assert len(seeds) == len(set(seeds)) == 2 * 4 * 2  # of runs, steps and prompts


@pytest.fixture
def of_four() -> Rollouts:
    return rollouts(tiny_policy())


def test_the_order_of_mini_batches_is_of_the_seed_and_the_step(
    tmp_path: Path, of_four: Rollouts
) -> None:
    def orders(seed: int) -> list[list[list[int]]]:
        trainer = made(tmp_path / str(seed), seed)
        return [list(trainer.mini_batches(step, of_four)) for step in range(4)]

    first, second = orders(0), orders(1)
    assert first != second
    assert any(order != first[0] for order in first)


def test_every_pass_over_a_batch_takes_all_of_it_in_its_own_order(
    tmp_path: Path, of_four: Rollouts
) -> None:
    once = list(made(tmp_path / "1", 0).mini_batches(3, of_four))
    thrice = list(made(tmp_path / "3", 0, passes=3).mini_batches(3, of_four))
    assert thrice[: len(once)] == once
    orders = [thrice[i : i + len(once)] for i in range(0, len(thrice), len(once))]
    assert len(orders) == 3
    assert len({str(order) for order in orders}) > 1
    everything = sorted(row for part in once for row in part)
    assert all(sorted(row for part in order for row in part) == everything for order in orders)


def test_the_shuffle_control_is_of_the_seed_and_the_step(tmp_path: Path) -> None:
    seen: list[int] = []

    class Spied(RecordingTrainer):
        def update(self, at: Position, rows: Sequence[int]) -> None:
            assert isinstance(at.metrics.ratios, RatioStatistics)
            seen.append(at.metrics.ratios.seed)
            super().update(at, rows)

    for seed in (0, 1):
        trainer = made(tmp_path / str(seed), seed, steps=2)
        Spied(**{f: getattr(trainer, f) for f in Trainer.__dataclass_fields__}).train()
    assert len(set(seen)) == 2 * 2
