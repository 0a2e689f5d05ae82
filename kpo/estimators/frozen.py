"""A training whose weights are kept as they were some updates before its last one."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from torch import Tensor

from kpo.trainer.batch import Rollouts
from kpo.trainer.laboratory import put, weights_of
from kpo.trainer.loop import Trainer
from kpo.trainer.state.progress import Position


@dataclass
class Recorder(Trainer):
    """A trainer without checkpoints that can go back to older weights; for a single process.

    Ages are in updates before the last one; 0: the final weights.

    Attributes:
        ages: of the weights to keep.
        kept: those weights, by age.
        used: the rollouts that updates were made on, by the age of the weights that sampled them.
    """

    ages: Sequence[int] = (0,)
    kept: dict[int, list[Tensor]] = field(default_factory=dict)
    used: dict[int, list[Rollouts]] = field(default_factory=dict)

    @property
    def updates(self) -> int:
        """Of the whole training."""
        return self.steps * self.config.updates

    def age_of(self, step: int) -> int:
        """Of the weights that sample the rollouts of a step."""
        return self.updates - max(0, step - self.config.staleness) * self.config.updates

    def record(self, after: Callable[[int], None]) -> None:
        """Train, from the first step to the last; `after` is called with how many are done."""
        at = Position()
        self._keep(0)
        while at.step < self.steps:
            self.sample_ahead(at)
            self.used.setdefault(self.age_of(at.step), []).append(at.waiting[0])
            self.learn(at)
            after(at.step)

    def update(self, at: Position, rows: Sequence[int]) -> None:
        """See `Trainer`."""
        super().update(at, rows)
        self._keep(at.step * self.config.updates + at.metrics.updates)

    def _keep(self, taken: int) -> None:
        if (age := self.updates - taken) in self.ages:
            self.kept[age] = weights_of(self.policy)

    def sampled_at(self, age: int, steps: Sequence[int]) -> list[Rollouts]:
        """Rollouts of some steps by the weights of an age; the final weights are back then.

        Prompts and random streams depend on the step alone: they are the same at every age.
        """
        put(self.policy, self.kept[age])
        rollouts = [self.rollout(step) for step in steps]
        put(self.policy, self.kept[0])
        return rollouts
