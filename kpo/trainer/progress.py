"""Everything that a run goes on from: saved every few steps, restored to the last bit."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch.optim.lr_scheduler import LRScheduler

from kpo.policy import Policy
from kpo.trainer.batch import PromptOrder, Rollouts
from kpo.trainer.checkpoint import Checkpoints
from kpo.trainer.log import RunLog
from kpo.trainer.stored_rollouts import as_tensors, from_tensors
from kpo.trainer.training_state import (
    random_states,
    schedule_state,
    set_random_states,
    set_schedule_state,
    training_state,
)


@dataclass(frozen=True)
class Progress:
    """The parts of a run that change as it goes on."""

    policy: Policy
    optimizer: torch.optim.AdamW
    schedule: LRScheduler
    order: PromptOrder
    log: RunLog
    checkpoints: Checkpoints

    def save(self, step: int, waiting: Sequence[Rollouts]) -> None:
        """Write a checkpoint: `step` steps are done, and these rollouts wait for the next ones."""
        state = {
            "schedule": schedule_state(self.schedule),
            "random": random_states(self.checkpoints.ranks),
            "log": self.log.text(),
        }
        tensors = training_state(self.policy.model, self.optimizer)
        self.checkpoints.save(step, tensors, state, as_tensors(waiting))

    def restore(self) -> tuple[int, deque[Rollouts]]:
        """The number of steps that are done, and the rollouts that wait; 0 and none at the start.

        Raises CheckpointError for a checkpoint of other settings.
        """
        found = self.checkpoints.restore(training_state(self.policy.model, self.optimizer))
        if found is None:
            return 0, deque()
        set_schedule_state(self.schedule, found.state["schedule"])
        set_random_states(found.state["random"], self.checkpoints.ranks)
        self.log.rewrite(found.state["log"])
        waiting = from_tensors(
            found.extra, lambda i: self.order.batch(found.step + i), self.policy.device
        )
        return found.step, deque(waiting)
