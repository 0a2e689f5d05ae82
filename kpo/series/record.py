"""Log-ratios of a training as its updates see them, kept apart by stage and by use.

An update moves the policy by the mini-batch it is made on. Log-ratios of responses that no update
was made on yet (`first`: the second and later mini-batches of a batch, in the first pass) say how
the policy has moved elsewhere; of those that are used again (`later`), how it was moved itself.
Responses of a group that all earned the same move nothing, so that they are not among the later.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice

import numpy as np

from kpo.objective import (
    MeanOver,
    Objective,
    ObjectiveOutput,
    Role,
    TokenBatch,
    divides_by_std,
    mean_over,
    role_of,
)
from kpo.series.places import Stage, Use, stage_of
from kpo.series.ragged import Ragged
from kpo.trainer.batch import Rollouts
from kpo.trainer.loop import Trainer
from kpo.trainer.state.progress import Position


@dataclass(frozen=True)
class Heard:
    """A micro-batch of an update, and what it is made of.

    Attributes:
        step: of the training, from 0.
        rows: of the rollouts, one for each response of the batch.
    """

    step: int
    stage: Stage
    use: Use
    rollouts: Rollouts
    rows: Sequence[int]
    batch: TokenBatch

    @property
    def log_ratios(self) -> Ragged:
        """In float64; of later passes those of responses that moved the policy."""
        batch, mask = self.batch, self.batch.mask.bool()
        if self.use == "later":
            mask = mask & (batch.advantages != 0)[:, None]
        z = batch.logprobs.detach()[mask].double() - batch.old_logprobs[mask].double()
        lengths = mask.sum(1).cpu().numpy().astype(np.int64)
        return Ragged(z.cpu().numpy(), lengths[lengths > 0])


def unheard(heard: Heard) -> None:
    """Batches that nobody asked for."""


@dataclass
class Listening:
    """An objective that also hands on the batches of an update.

    Those of checks and controls, which have no gradient or come while `to` is None, it does not.
    """

    objective: Objective
    to: Callable[[TokenBatch], None] | None = None

    @property
    def role(self) -> Role:
        """See `Objective`."""
        return role_of(self.objective)

    @property
    def mean_over(self) -> MeanOver:
        """See `Objective`."""
        return mean_over(self.objective)

    @property
    def divides_by_std(self) -> bool:
        """See `Objective`."""
        return divides_by_std(self.objective)

    def __call__(self, batch: TokenBatch) -> ObjectiveOutput:
        """See `Objective`."""
        if self.to is not None and batch.logprobs.requires_grad:
            self.to(batch)
        return self.objective(batch)


@dataclass
class ListeningTrainer(Trainer):
    """A trainer without checkpoints whose batches are handed on; for a single process.

    The first update of a step is on policy where rollouts are fresh: its log-ratios are 0 and are
    left out.

    Attributes:
        heard: is given them.
    """

    heard: Callable[[Heard], None] = unheard

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
        taken = at.metrics.updates
        use: Use = "first" if taken < self.config.mini_batches else "later"
        stage, order = stage_of(at.step, self.steps), iter(sorted(rows))  # as micro-batches go

        def hear(batch: TokenBatch) -> None:
            part = list(islice(order, len(batch.mask)))
            self.heard(Heard(at.step, stage, use, at.waiting[0], part, batch))

        if taken > 0 or self.config.staleness > 0:
            self.objective.to = hear
        super().update(at, rows)
        self.objective.to = None
