"""Log-ratios of a training as its updates see them, kept apart by stage and by use.

An update moves the policy by the mini-batch it is made on. Log-ratios of responses that no update
was made on yet (`first`: the second and later mini-batches of a batch, in the first pass) say how
the policy has moved elsewhere; of those that are used again (`later`), how it was moved itself.
Responses of a group that all earned the same move nothing, so that they are not among the later.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

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
    token_log_ratio,
)
from kpo.series.ragged import Ragged
from kpo.trainer.loop import Trainer
from kpo.trainer.state.progress import Position

Use = Literal["first", "later"]
Stage = Literal["begin", "middle", "end"]
"""Of a training: thirds of its steps."""
USES: tuple[Use, ...] = get_args(Use)
STAGES: tuple[Stage, ...] = get_args(Stage)


def unheard(stage: Stage, use: Use, z: Ragged) -> None:
    """Log-ratios that nobody asked for."""


@dataclass
class Listening:
    """An objective that also hands on the log-ratios of the batches of an update.

    Batches of checks and controls, which have no gradient or come while `to` is None, it does not.

    Attributes:
        moving: hand on those of responses only whose advantage is not 0.
    """

    objective: Objective
    to: Callable[[Ragged], None] | None = None
    moving: bool = False

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
            mask = batch.mask.bool()
            if self.moving:
                mask = mask & (batch.advantages != 0)[:, None]
            z = token_log_ratio(batch).detach()
            lengths = mask.sum(1).cpu().numpy().astype(np.int64)
            self.to(Ragged(z[mask].double().cpu().numpy(), lengths[lengths > 0]))
        return self.objective(batch)


@dataclass
class ListeningTrainer(Trainer):
    """A trainer without checkpoints whose log-ratios are handed on; for a single process.

    The first update of a step is on policy where rollouts are fresh: its log-ratios are 0 and are
    left out.

    Attributes:
        heard: is given them, with their place.
    """

    heard: Callable[[Stage, Use, Ragged], None] = unheard

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
        stage = STAGES[len(STAGES) * at.step // self.steps]
        if taken > 0 or self.config.staleness > 0:
            self.objective.to = lambda z: self.heard(stage, use, z)
            self.objective.moving = use == "later"
        super().update(at, rows)
        self.objective.to = None
