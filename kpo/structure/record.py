"""Log-ratios of a training as its updates see them, kept apart by stage and by use.

An update moves the policy by the mini-batch it is made on. Log-ratios of responses that no update
was made on yet (`first`: the second and later mini-batches of a batch, in the first pass) say how
the policy has moved elsewhere; of those that are used again (`later`), how it was moved itself.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np

from kpo.objective import Objective, ObjectiveOutput, TokenBatch, token_log_ratio
from kpo.structure.ragged import Ragged
from kpo.trainer.loop import Trainer
from kpo.trainer.state.progress import Position

Use = Literal["first", "later"]
STAGES = ("begin", "middle", "end")
"""Thirds of a training's steps."""


@dataclass
class Listening:
    """An objective whose batches of an update are kept; those of checks and controls are not."""

    objective: Objective
    heard: list[Ragged] | None = None

    def __getattr__(self, name: str) -> Any:
        """What the objective declares."""
        if name == "objective":  # not there yet, when it is copied
            raise AttributeError(name)
        return getattr(self.objective, name)

    def __call__(self, batch: TokenBatch) -> ObjectiveOutput:
        """See `Objective`."""
        if self.heard is not None and batch.logprobs.requires_grad:
            mask = batch.mask.bool()
            z = token_log_ratio(batch).detach()
            lengths = mask.sum(1).cpu().numpy()
            values = z[mask].double().cpu().numpy()
            self.heard.append(Ragged(values, lengths[lengths > 0].astype(np.int64)))
        return self.objective(batch)


@dataclass
class ListeningTrainer(Trainer):
    """A trainer without checkpoints, whose log-ratios are kept; for a single process.

    The first update of a step is on policy where rollouts are fresh: its log-ratios are 0 and are
    not kept.
    """

    kept: dict[tuple[str, Use], list[Ragged]] = field(default_factory=dict)

    def record(self) -> Iterator[int]:
        """Train, from the first step to the last; yields how many are done."""
        at = Position()
        while at.step < self.steps:
            self.sample_ahead(at)
            self.learn(at)
            yield at.step

    def update(self, at: Position, rows: Sequence[int]) -> None:
        """See `Trainer`."""
        assert isinstance(self.objective, Listening)
        taken, step = at.metrics.updates, at.step
        on_policy = taken == 0 and self.config.staleness == 0
        self.objective.heard = None if on_policy else []
        super().update(at, rows)
        if heard := self.objective.heard:
            use: Use = "first" if taken < self.config.mini_batches else "later"
            stage = STAGES[len(STAGES) * step // self.steps]
            self.kept.setdefault((stage, use), []).extend(heard)
        self.objective.heard = None
