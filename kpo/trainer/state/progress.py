"""Everything that a run goes on from: saved every few steps, restored to the last bit."""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch.optim.lr_scheduler import LRScheduler

from kpo.advantage import group_advantages
from kpo.diagnostics import RatioStatistics
from kpo.model.policy import Policy
from kpo.rollout.engine import Response
from kpo.trainer.batch import Prompt, PromptOrder, Rollouts
from kpo.trainer.log import RunLog
from kpo.trainer.state.checkpoint import Checkpoints
from kpo.trainer.state.training_state import (
    random_states,
    set_random_states,
    set_schedule_state,
    training_state,
)
from kpo.trainer.step import StepMetrics

ON_DEVICE = ("old_logprobs", "sampled_logprobs", "mask")
AS_THEY_ARE = (*ON_DEVICE, "rewards", "statuses", "entropy", "noise")
"""What is stored of waiting rollouts as it stands in them."""


@dataclass
class Position:
    """Where a run stands.

    Attributes:
        step: number of steps that are done.
        waiting: rollouts to learn from, those of the next step first.
        metrics: what this rank's updates of the next step, as far as they are done, saw.
    """

    step: int = 0
    waiting: deque[Rollouts] = field(default_factory=deque)
    metrics: StepMetrics = field(default_factory=StepMetrics)

    @property
    def sampled(self) -> int:
        """Number of steps whose rollouts have been made."""
        return self.step + len(self.waiting)


@dataclass(frozen=True)
class Progress:
    """The parts of a run that change as it goes on."""

    policy: Policy
    optimizer: torch.optim.AdamW
    schedule: LRScheduler
    order: PromptOrder
    log: RunLog
    checkpoints: Checkpoints

    def save(self, at: Position) -> None:
        """Write a checkpoint; collective."""
        ranks = self.checkpoints.ranks
        state = {
            "schedule": self.schedule.state_dict(),
            "random": random_states(ranks),
            "log": self.log.text(),
            "seconds": self.log.seconds,
            "begun": ranks.gather(at.metrics) if at.metrics.updates else [],
            "waiting": [stored(rollouts) for rollouts in at.waiting],
        }
        tensors = training_state(self.policy.model, self.optimizer)
        self.checkpoints.save(at.step, tensors, state)

    def restore(self) -> Position:
        """Where the newest checkpoint stands, or the start.

        Raises CheckpointError for a checkpoint of other settings.
        """
        found = self.checkpoints.restore(training_state(self.policy.model, self.optimizer))
        if found is None:
            return Position()
        ranks, state = self.checkpoints.ranks, found.state
        set_schedule_state(self.schedule, state["schedule"])
        set_random_states(state["random"], ranks)
        self.log.rewrite(state["log"])
        self.log.seconds = state["seconds"]
        waiting = deque(
            restored(own, self.order.batch(found.step + i), self.policy.device)
            for i, own in enumerate(state["waiting"])
        )
        metrics = StepMetrics()
        if begun := [_metrics(own) for own in state["begun"]]:  # of more or fewer ranks
            metrics = StepMetrics(begun[0].updates, ratios=RatioStatistics(begun[0].ratios.seed))
            metrics.merge(begun[ranks.rank :: ranks.size])
        return Position(found.step, waiting, metrics)


def stored(rollouts: Rollouts) -> dict[str, Any]:
    """All of some rollouts that cannot be had again from the prompts' order."""
    tokens = [token for response in rollouts.responses for token in response.tokens]
    return {
        **{name: getattr(rollouts, name) for name in AS_THEY_ARE},
        "tokens": torch.tensor(tokens),  # one response after the other, as long as the mask says
        "finish": [response.finish for response in rollouts.responses],
    }


def restored(stored: Mapping[str, Any], prompts: list[Prompt], device: torch.device) -> Rollouts:
    """The inverse of `stored`."""
    counts = stored["mask"].sum(1).tolist()
    tokens = [part.tolist() for part in stored["tokens"].split(counts)]
    rows = zip(stored["sampled_logprobs"], counts, strict=True)
    logprobs = [row[:count].tolist() for row, count in rows]
    on_device = {name: stored[name].to(device) for name in ON_DEVICE}
    return Rollouts(
        **{**{name: stored[name] for name in AS_THEY_ARE}, **on_device},
        prompts=prompts,
        responses=list(map(Response, tokens, logprobs, stored["finish"])),
        advantages=group_advantages(stored["rewards"]),
    )


def _metrics(stored: Mapping[str, Any]) -> StepMetrics:
    """A rank's metrics from what is stored of them, their fields by name."""
    sums, counts = (defaultdict(float, stored[name]) for name in ("sums", "counts"))
    return StepMetrics(stored["updates"], sums, counts, RatioStatistics(**stored["ratios"]))
