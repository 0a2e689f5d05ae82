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
from typing import NoReturn

import torch
from tqdm import tqdm

from kpo.config_train import Train
from kpo.diagnostics import RatioStatistics
from kpo.objective import Objective
from kpo.objective_check import check_objective
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
from kpo.trainer.checkpoint import Checkpoints
from kpo.trainer.failure import NonFiniteError, save_failure
from kpo.trainer.learning import Stillness
from kpo.trainer.log import RunLog
from kpo.trainer.preemption import PREEMPTED_EXIT_CODE, Preemption
from kpo.trainer.progress import Progress
from kpo.trainer.rollout_checks import check_gap, describe
from kpo.trainer.schedule import warm_up_constant
from kpo.trainer.step import NonFinite, StepMetrics, Updater
from kpo.trainer.watchdog import Watchdog


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
        self.steps = c.total_steps(len(self.prompts))
        self.stillness = Stillness(self.steps)
        updates = self.steps * c.mini_batches
        self.schedule = warm_up_constant(self.optimizer, round(c.warm_up * updates))
        self.order = PromptOrder(self.prompts, c.prompts, self.seed)
        self.watchdog = Watchdog(c.stall_s)
        self.progress = Progress(
            policy=self.policy,
            optimizer=self.optimizer,
            schedule=self.schedule,
            order=self.order,
            log=self.log,
            checkpoints=self.checkpoints,
        )

    def train(self) -> None:
        """Run all steps; the rollouts of step s are of the weights before step s - staleness.

        Goes on from the newest checkpoint. Raises SystemExit(PREEMPTED_EXIT_CODE) after SIGTERM.
        """
        done, waiting = self.progress.restore()
        sampled = done + len(waiting)
        steps = range(done, self.steps)
        quiet = not self.ranks.is_main
        bar = tqdm(steps, "train", self.steps, initial=done, unit="step", disable=quiet)
        with Preemption(self.ranks) as preemption:
            for step in bar:
                while sampled < min(step + self.config.staleness + 1, self.steps):
                    self.leave_if(preemption, step, waiting)
                    waiting.append(self.rollout(sampled))
                    sampled += 1
                self.leave_if(preemption, step, waiting)
                self.learn(step, waiting.popleft())
                if (step + 1) % self.config.checkpoint_every == 0:
                    self.progress.save(step + 1, waiting)

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
        with self.phase("sync"):
            self.engine.sync_weights(self.policy)
        with self.phase("rollout"):
            groups = self.engine.generate(
                [prompt.tokens for prompt in mine], self.ranks.share(seeds), sampling
            )
            self.engine.sleep()
        responses = [response for group in groups for response in group]
        with self.phase("reward"):
            rewards = assess(self.policy, mine, responses, self.reward)
        with self.phase("old_logprobs"):
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
        with self.phase("update"):
            for rows in mini_batches(rollouts, self.config.mini_batches, order):
                try:
                    self.updater.update(rollouts, rows, metrics)
                except NonFinite as found:
                    self.fail(step, found)
                metrics.add("lr", self.schedule.get_last_lr()[0])
                self.schedule.step()
                self.watchdog.beat()
        first, *others = self.ranks.gather(metrics)
        first.merge(others)
        logged = {**describe(rollouts), **first.summary()}
        self.log.step(step, logged)
        if (sentence := self.stillness.add(step, logged)) and self.ranks.is_main:
            tqdm.write(f"warning: {sentence}", sys.stderr)

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        """Time a part of the step, and stop the run if it hangs."""
        with self.log.phase(name), self.watchdog.watch(name):
            yield

    def leave_if(self, preemption: Preemption, step: int, waiting: Sequence[Rollouts]) -> None:
        """Where the machine is wanted back, write a checkpoint and end the process."""
        if preemption.requested():
            self.progress.save(step, waiting)
            if self.ranks.is_main:
                tqdm.write(
                    f"SIGTERM: step {step} is saved; start the run again to go on", sys.stderr
                )
            raise SystemExit(PREEMPTED_EXIT_CODE)

    def fail(self, step: int, found: NonFinite) -> NoReturn:
        """Save what `python -m kpo.replay` needs, then raise NonFiniteError."""
        path = save_failure(
            self.checkpoints.folder.parent,
            found.failed,
            step=step,
            what=found.what,
            model=self.policy.model,
            settings=self.checkpoints.settings,
            ranks=self.ranks,
        )
        raise NonFiniteError(step, found.what, found.failed.prompt_ids, path)
