"""Everything that a run goes on from: saved every few steps, restored to the last bit.

Random generators are not among it: every rollout and every update is seeded by its place.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.distributed.checkpoint.state_dict import StateDictOptions, get_optimizer_state_dict
from torch.optim.lr_scheduler import LRScheduler

from kpo.diagnostics import RatioStatistics
from kpo.model.policy import Policy
from kpo.rollout.engine import Response
from kpo.trainer.batch import Prompt, Rollouts
from kpo.trainer.log import RunLog
from kpo.trainer.state.checkpoint import Checkpoints
from kpo.trainer.step import StepMetrics

ON_DEVICE = ("old_logprobs", "sampled_logprobs", "mask")
"""The tensors of rollouts that lie beside the policy."""


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


@dataclass(frozen=True)
class Progress:
    """The parts of a run that change as it goes on."""

    policy: Policy
    optimizer: torch.optim.AdamW
    schedule: LRScheduler
    log: RunLog
    checkpoints: Checkpoints

    def save(self, at: Position) -> None:
        """Write a checkpoint; collective."""
        ranks = self.checkpoints.ranks
        state = {
            "schedule": self.schedule.state_dict(),
            "log": self.log.rows,
            "seconds": self.log.seconds,
            "begun": ranks.gather(at.metrics) if at.metrics.updates else [],
            "waiting": list(at.waiting),
        }
        tensors = training_state(self.policy.model, self.optimizer)
        self.checkpoints.save(at.step, tensors, state)

    def restore(self) -> Position:
        """Where the newest checkpoint stands, or the start.

        Raises UserError for a checkpoint of other settings.
        """
        found = self.checkpoints.restore(training_state(self.policy.model, self.optimizer))
        if found is None:
            self.log.begin()
            return Position()
        ranks, (step, state) = self.checkpoints.ranks, found
        set_schedule_state(self.schedule, state["schedule"])
        self.log.begin(state["log"])
        self.log.seconds = state["seconds"]
        waiting = deque(restored(own, self.policy.device) for own in state["waiting"])
        begun = [
            StepMetrics(own["updates"], own["sums"], RatioStatistics(**own["ratios"]))
            for own in state["begun"]
        ]
        metrics = StepMetrics(begun[0].updates if begun else 0)
        metrics.merge(begun[ranks.rank :: ranks.size])  # of more or fewer ranks
        return Position(step, waiting, metrics)


def restored(stored: Mapping[str, Any], device: torch.device) -> Rollouts:
    """Rollouts from their fields as `write_values` keeps them."""
    values = {k: v.to(device) if k in ON_DEVICE else v for k, v in stored.items()}
    prompts = [Prompt(**own) for own in stored["prompts"]]
    responses = [Response(**own) for own in stored["responses"]]
    return Rollouts(**{**values, "prompts": prompts, "responses": responses})


def training_state(model: nn.Module, optimizer: torch.optim.AdamW) -> dict[str, Tensor]:
    """The weights and the optimizer's state by name: the tensors themselves, tied ones once.

    What is loaded into them is thereby restored. DTensors where the model is sharded.
    """
    weights: dict[int, tuple[str, Tensor]] = {}
    for name, tensor in model.state_dict(keep_vars=True).items():  # FSDP's hook shards again first
        weights.setdefault(id(tensor), (f"model.{name}", tensor.detach()))
    is_new = not optimizer.state
    options = StateDictOptions(flatten_optimizer_state_dict=True)
    held: dict[str, Any] = get_optimizer_state_dict(model, optimizer, options=options)
    if is_new:  # torch has made it by a step without gradients, and counted that
        for own in optimizer.state.values():
            own["step"].zero_()
    state = {f"optimizer.{k}": v for k, v in held.items() if isinstance(v, Tensor)}
    return dict(weights.values()) | state


def set_schedule_state(schedule: LRScheduler, state: dict[str, Any]) -> None:
    """Put the schedule, and its optimizer's learning rates, where its state_dict says."""
    schedule.load_state_dict(state)
    for group, lr in zip(schedule.optimizer.param_groups, schedule.get_last_lr(), strict=True):
        group["lr"] = lr
