"""The algorithm on one page: policy optimisation with verifiable rewards.

Each step: sample G responses to each prompt (pi_rollout), recompute their log-probs in the trainer
(pi_old), check them, turn rewards into group advantages, and take one optimizer step per mini-batch
of whole groups. The second and later mini-batches are off-policy, and with staleness n the whole
batch was sampled n steps ago. The objective is the only thing in which methods differ.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice

import torch
from tqdm import tqdm

from kpo.common.seeding import derive_seed, seed_generators
from kpo.config.train import Train
from kpo.distributed.ranks import ALONE, Ranks
from kpo.model.policy import Policy
from kpo.objective import Objective
from kpo.objective_check import check_objective
from kpo.rollout.engine import RolloutEngine, Sampling
from kpo.trainer.batch import (
    Prompt,
    Reward,
    Rollouts,
    compute_rewards,
    make_rollouts,
    mini_batches,
    step_prompts,
)
from kpo.trainer.guards.failure import NonFiniteError, save_failure
from kpo.trainer.guards.learning import standstill
from kpo.trainer.guards.preemption import PREEMPTED_EXIT_CODE, Preempted, Preemption
from kpo.trainer.guards.rollout_checks import check_mismatch, describe
from kpo.trainer.guards.watchdog import Watchdog
from kpo.trainer.log import RunLog
from kpo.trainer.noise import with_noise
from kpo.trainer.schedule import warm_up
from kpo.trainer.state.checkpoint import Checkpoints
from kpo.trainer.state.progress import Position, Progress
from kpo.trainer.step import NonFinite, StepMetrics, Updater


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
    checkpoints: Checkpoints
    ranks: Ranks = ALONE

    def __post_init__(self) -> None:
        c = self.config
        check_objective(self.objective)
        weights, decay = self.policy.model.parameters(), c.weight_decay
        self.optimizer = torch.optim.AdamW(
            weights, lr=c.lr, betas=c.betas, weight_decay=decay, fused=True
        )
        limits = c.max_tokens_per_microbatch, c.clip_norm, c.truncated_importance
        self.updater = Updater(self.policy, self.optimizer, self.objective, *limits, self.ranks)
        self.steps = c.total_steps(len(self.prompts))
        updates = self.steps * c.updates
        rise = round(c.warm_up * updates)
        self.schedule = warm_up(self.optimizer, rise, steps=updates, final=c.final_lr)
        self.watchdog = Watchdog(c.stall_s)
        self.preemption = Preemption(self.ranks)
        self.progress = Progress(
            self.policy, self.optimizer, self.schedule, self.log, self.checkpoints
        )

    def train(self) -> None:
        """Run all steps; the rollouts of step s are of the weights before step s - staleness.

        Goes on from the newest checkpoint. Raises SystemExit(PREEMPTED_EXIT_CODE) after SIGTERM.
        """
        at = self.progress.restore()
        quiet = not self.ranks.is_main
        left = range(at.step, self.steps)
        bar = tqdm(left, "train", self.steps, initial=at.step, unit="step", disable=quiet)
        with self.preemption:
            try:
                for _ in bar:
                    self.sample_ahead(at)
                    self.learn(at)
                    bar.set_postfix(reward=self.log.rows[-1][1]["reward"], refresh=False)
                    if at.step % self.config.checkpoint_every == 0:
                        self.progress.save(at)
            except Preempted:
                self.progress.save(at)
                if self.ranks.is_main:
                    tqdm.write(
                        f"SIGTERM: all up to step {at.step} is saved; start the run again to go on",
                        sys.stderr,
                    )
                raise SystemExit(PREEMPTED_EXIT_CODE) from None

    def sample_ahead(self, at: Position) -> None:
        """Sample until the rollouts of the next step, and of `staleness` more, are waiting."""
        end = min(at.step + self.config.staleness + 1, self.steps)
        for ahead in range(at.step + len(at.waiting), end):
            at.waiting.append(self.rollout(ahead))

    def rollout(self, step: int) -> Rollouts:
        """Sample responses and compute rewards of a step with the present weights."""
        c = self.config
        prompts = step_prompts(self.prompts, c.prompts, self.seed, step)
        seeds = [derive_seed(self.seed, "rollout", step, i) for i in range(len(prompts))]
        mine = self.ranks.share(prompts)
        sampling = Sampling(c.group, c.max_response_tokens, c.temperature, c.top_p)
        self.seed_place("rollout", step)
        tokens = [prompt.tokens for prompt in mine]
        self.preemption.check()
        with self.phase("sync"):
            self.engine.sync_weights(self.policy)
        with self.phase("rollout"):
            groups = self.preemption.breakable(
                lambda: self.engine.generate(tokens, self.ranks.share(seeds), sampling)
            )
            self.engine.sleep()
        responses = [response for group in groups for response in group]
        with self.phase("reward"):
            graded = self.preemption.breakable(
                lambda: compute_rewards(self.policy, mine, responses, self.reward)
            )
        with self.phase("old_logprobs"):
            answers, grades = self.ranks.concatenate(responses), self.ranks.concatenate(graded)
            how = c.max_tokens_per_microbatch, self.ranks, self.between
            rollouts = make_rollouts(self.policy, prompts, answers, grades, *how)
            self.between()
            first = next(self.mini_batches(step, rollouts))
            rollouts = with_noise(self.updater, rollouts, first)
        check_mismatch(step, rollouts, c)
        return rollouts

    def mini_batches(self, step: int, rollouts: Rollouts) -> Iterator[list[int]]:
        """Rows of a step's mini-batches, pass after pass, each in an order of its own."""
        for i in range(self.config.passes):
            order = derive_seed(self.seed, "mini-batches", step, *([i] if i else []))
            yield from mini_batches(rollouts, self.config.mini_batches, order)

    def learn(self, at: Position) -> None:
        """Take the optimizer steps that are left of the next step, one a mini-batch, and log it."""
        step, rollouts = at.step, at.waiting[0]
        at.metrics.ratios.seed = derive_seed(self.seed, "shuffle", step)
        with self.phase("update"):
            for rows in islice(self.mini_batches(step, rollouts), at.metrics.updates, None):
                self.update(at, rows)
        first, *others = self.ranks.gather(at.metrics)
        first.merge(others)
        logged = {**describe(rollouts), **first.summary()}
        self.log.step(step, logged)
        until_now = [metrics for _, metrics, _ in self.log.rows]
        if (sentence := standstill(until_now, self.steps)) and self.ranks.is_main:
            tqdm.write(f"warning: step {step}: {sentence}", sys.stderr)
        at.waiting.popleft()
        at.step, at.metrics = step + 1, StepMetrics()

    def update(self, at: Position, rows: Sequence[int]) -> None:
        """Take one optimizer step; NonFiniteError where it cannot be, once its failure is saved."""
        self.seed_place("update", at.step, at.metrics.updates)
        try:
            self.updater.update(at.waiting[0], rows, at.metrics, self.between)
        except NonFinite as found:
            path = save_failure(
                self.checkpoints.folder.parent,
                found.failed,
                step=at.step,
                what=found.what,
                model=self.policy.model,
                settings=self.checkpoints.settings,
                ranks=self.ranks,
            )
            ids = [response.prompt_id for response in found.failed]
            raise NonFiniteError(at.step, found.what, ids, path) from found
        at.metrics.add("lr", self.schedule.get_last_lr()[0])
        self.schedule.step()

    def between(self) -> None:
        """Called between micro-batches: one more is done, and the run can be left; collective."""
        self.watchdog.beat()
        self.preemption.check()

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        """Time a part of the step, and stop the run if it hangs."""
        with self.log.phase(name), self.watchdog.watch(name):
            yield

    def seed_place(self, *place: str | int) -> None:
        """Seed what draws from global generators, so that no checkpoint need keep their states."""
        seed_generators(derive_seed(self.seed, *place, self.ranks.rank))
