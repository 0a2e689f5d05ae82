"""The algorithm on one page: policy optimisation with verifiable rewards.

Each step: sample G responses to each prompt (pi_rollout), recompute their log-probs in the trainer
(pi_old), check them, turn rewards into group advantages, and take one optimizer step per mini-batch
of whole groups. The second and later mini-batches are off-policy, and with staleness n the whole
batch was sampled n steps ago. The objective is the only thing in which methods differ.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from tqdm import tqdm

from kpo.config_train import Train
from kpo.diagnostics import RatioStatistics
from kpo.objective import Objective
from kpo.policy import Policy
from kpo.ranks import ALONE, Ranks
from kpo.rollout.engine import RolloutEngine, Sampling
from kpo.seeding import derive_seed
from kpo.trainer.batch import (
    Prompt,
    PromptOrder,
    Reward,
    Rollouts,
    assess,
    make_rollouts,
    mini_batches,
)
from kpo.trainer.log import RunLog
from kpo.trainer.schedule import warm_up_constant
from kpo.trainer.step import StepMetrics, Updater


@dataclass
class Trainer:
    """Everything that a run needs; `train()` runs it."""

    policy: Policy
    objective: Objective
    engine: RolloutEngine
    reward: Reward
    prompts: Sequence[Prompt]
    config: Train
    seed: int
    log: RunLog
    ranks: Ranks = ALONE

    def __post_init__(self) -> None:
        c = self.config
        self.optimizer = torch.optim.AdamW(
            self.policy.model.parameters(),
            lr=c.lr,
            betas=c.betas,
            weight_decay=c.weight_decay,
            fused=True,
        )
        self.updater = Updater(
            policy=self.policy,
            optimizer=self.optimizer,
            objective=self.objective,
            budget=c.max_tokens_per_microbatch,
            clip_norm=c.clip_norm,
            importance_cap=c.truncated_importance,
            ranks=self.ranks,
        )
        self.steps = c.steps or (c.epochs or 0) * len(self.prompts) // c.prompts
        updates = self.steps * c.mini_batches
        self.schedule = warm_up_constant(self.optimizer, round(c.warm_up * updates))
        self.order = PromptOrder(self.prompts, c.prompts, self.seed)

    def train(self) -> None:
        """Run all steps; the rollouts of step s are of the weights before step s - staleness."""
        waiting: deque[Rollouts] = deque()
        sampled = 0
        for step in tqdm(range(self.steps), desc="train", unit="step"):
            while sampled < min(step + self.config.staleness + 1, self.steps):
                waiting.append(self.rollout(sampled))
                sampled += 1
            self.learn(step, waiting.popleft())

    def rollout(self, step: int) -> Rollouts:
        """Sample and assess the responses of a step with the present weights."""
        c = self.config
        prompts = self.order.batch(step)
        seeds = [derive_seed(self.seed, "rollout", step, i) for i in range(len(prompts))]
        mine = self.ranks.share(prompts)
        sampling = Sampling(
            samples=c.group,
            max_tokens=c.max_response_tokens,
            temperature=c.temperature,
            top_p=c.top_p,
        )
        with self.log.phase("sync"):
            self.engine.sync_weights(self.policy)
        with self.log.phase("rollout"):
            groups = self.engine.generate(
                [prompt.tokens for prompt in mine], self.ranks.share(seeds), sampling
            )
        responses = [response for group in groups for response in group]
        with self.log.phase("reward"):
            rewards = assess(self.policy, mine, responses, self.reward)
        with self.log.phase("old_logprobs"):
            rollouts = make_rollouts(
                self.policy,
                prompts,
                self.ranks.concatenate(responses),
                torch.cat(self.ranks.gather(rewards)),
                c.max_tokens_per_microbatch,
                self.ranks,
            )
        check_gap(step, rollouts, c.max_rollout_gap)
        return rollouts

    def learn(self, step: int, rollouts: Rollouts) -> None:
        """Take one optimizer step per mini-batch and log the step."""
        metrics = StepMetrics(ratios=RatioStatistics(derive_seed(self.seed, "shuffle", step)))
        order = derive_seed(self.seed, "mini-batches", step)
        with self.log.phase("update"):
            for rows in mini_batches(rollouts, self.config.mini_batches, order):
                self.updater.update(rollouts, rows, metrics)
                metrics.add("lr", self.schedule.get_last_lr()[0])
                self.schedule.step()
        first, *others = self.ranks.gather(metrics)
        first.merge(others)
        self.log.step(step, {**describe(rollouts), **first.summary()})


class RolloutGapError(RuntimeError):
    """The rollout engine does not sample from the trainer's policy."""


def check_gap(step: int, rollouts: Rollouts, bound: float) -> None:
    """Raise RolloutGapError where the engine's log-probs are too far from the trainer's."""
    gap = float(rollouts.gap.mean())
    if not gap <= bound:
        raise RolloutGapError(
            f"step {step}: the log-probs of the sampled tokens differ by {gap:.3g} nats in the mean"
            f" between the rollout engine and the trainer, more than train.max_rollout_gap"
            f" ({bound:g}): the engine has other weights, another precision or another"
            " distribution than the trainer"
        )


def describe(rollouts: Rollouts) -> dict[str, float]:
    """What a step's rollouts looked like, before learning from them."""
    lengths = [len(response.tokens) for response in rollouts.responses]
    cut = sum(response.finish == "length" for response in rollouts.responses)
    equal = (rollouts.rewards == rollouts.rewards[:, :1]).all(1)
    return {
        "reward": float(rollouts.rewards.mean()),
        "response_tokens": sum(lengths) / len(lengths),
        "truncated": cut / len(lengths),
        "equal_groups": float(equal.float().mean()),
        "entropy": rollouts.entropy,
        "rollout_gap_mean": float(rollouts.gap.mean()),
        "rollout_gap_max": float(rollouts.gap.max()),
    }
