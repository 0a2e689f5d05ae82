"""Everything that a run goes on from: saved every few steps, restored to the last bit."""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.distributed.checkpoint.state_dict import StateDictOptions, get_optimizer_state_dict
from torch.optim.lr_scheduler import LRScheduler

from kpo.advantage import group_advantages
from kpo.diagnostics import RatioStatistics
from kpo.distributed.ranks import ALONE, Ranks
from kpo.model.policy import Policy
from kpo.rollout.engine import Response
from kpo.trainer.batch import Prompt, PromptOrder, Rollouts
from kpo.trainer.log import RunLog
from kpo.trainer.state.checkpoint import Checkpoints
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
            "log": self.log.rows,
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
        ranks, (step, state) = self.checkpoints.ranks, found
        set_schedule_state(self.schedule, state["schedule"])
        set_random_states(state["random"], ranks)
        self.log.rewrite(state["log"])
        self.log.seconds = state["seconds"]
        waiting = deque(
            restored(own, self.order.batch(step + i), self.policy.device)
            for i, own in enumerate(state["waiting"])
        )
        begun = [
            StepMetrics(own["updates"], own["sums"], RatioStatistics(**own["ratios"]))
            for own in state["begun"]
        ]
        metrics = StepMetrics()
        if begun:  # of more or fewer ranks
            metrics = StepMetrics(begun[0].updates, ratios=RatioStatistics(begun[0].ratios.seed))
            metrics.merge(begun[ranks.rank :: ranks.size])
        return Position(step, waiting, metrics)


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


def random_states(ranks: Ranks = ALONE) -> list[dict[str, Any]]:
    """States of the random generators of every rank; collective."""
    drawn: Any = np.random.get_state()
    on_gpu = ranks.device.type == "cuda"
    return ranks.gather(
        {
            "python": random.getstate(),
            "numpy": [drawn[0], drawn[1].tolist(), *drawn[2:]],
            "torch": torch.get_rng_state(),
            "cuda": torch.cuda.get_rng_state(ranks.device) if on_gpu else None,
        }
    )


def set_random_states(states: list[dict[str, Any]], ranks: Ranks = ALONE) -> None:
    """Put this rank's random generators where `random_states` found them.

    Where there are more ranks than states, the further ones take the first ones' states.
    """
    state = states[ranks.rank % len(states)]
    version, words, gauss = state["python"]
    random.setstate((version, tuple(words), gauss))
    np.random.set_state(tuple(state["numpy"]))
    torch.set_rng_state(state["torch"])
    if state["cuda"] is not None:
        torch.cuda.set_rng_state(state["cuda"], ranks.device)
