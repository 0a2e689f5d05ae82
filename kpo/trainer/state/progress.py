"""Everything that a run goes on from: saved every few steps, restored to the last bit."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

import torch
from torch.optim.lr_scheduler import LRScheduler

from kpo.diagnostics import RatioStatistics
from kpo.distributed.ranks import Ranks
from kpo.model.policy import Policy
from kpo.trainer.batch import PromptOrder, Rollouts
from kpo.trainer.log import RunLog
from kpo.trainer.state import stored_metrics
from kpo.trainer.state.checkpoint import Checkpoints
from kpo.trainer.state.stored_rollouts import as_tensors, from_tensors
from kpo.trainer.state.training_state import (
    random_states,
    schedule_state,
    set_random_states,
    set_schedule_state,
    training_state,
)
from kpo.trainer.step import StepMetrics


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
        begun = self.checkpoints.ranks.gather(at.metrics) if at.metrics.updates else []
        state = {
            "schedule": schedule_state(self.schedule),
            "random": random_states(self.checkpoints.ranks),
            "log": self.log.text(),
            "seconds": self.log.seconds,
            "begun": stored_metrics.as_json(begun),
        }
        tensors = training_state(self.policy.model, self.optimizer)
        extra = {**as_tensors(at.waiting), **stored_metrics.as_tensors(begun)}
        self.checkpoints.save(at.step, tensors, state, extra)

    def restore(self) -> Position:
        """Where the newest checkpoint stands, or the start.

        Raises CheckpointError for a checkpoint of other settings.
        """
        found = self.checkpoints.restore(training_state(self.policy.model, self.optimizer))
        if found is None:
            return Position()
        ranks = self.checkpoints.ranks
        set_schedule_state(self.schedule, found.state["schedule"])
        set_random_states(found.state["random"], ranks)
        self.log.rewrite(found.state["log"])
        self.log.seconds = found.state["seconds"]
        waiting = from_tensors(
            {k: v for k, v in found.extra.items() if not k.startswith(stored_metrics.PREFIX)},
            lambda i: self.order.batch(found.step + i),
            self.policy.device,
        )
        begun = stored_metrics.restored(found.state["begun"], found.extra)
        return Position(found.step, deque(waiting), _share(begun, ranks))


def _share(begun: list[StepMetrics], ranks: Ranks) -> StepMetrics:
    """This rank's part of what the ranks saw, which may have been more or fewer."""
    if not begun:
        return StepMetrics()
    ratios = RatioStatistics(begun[0].ratios.seed)
    metrics = StepMetrics(updates=begun[0].updates, ratios=ratios)
    metrics.merge(begun[ranks.rank :: ranks.size])
    return metrics
