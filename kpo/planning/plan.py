"""What an experiment needs beside what a machine has."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

from kpo.config.experiment import Experiment
from kpo.distributed.sharding import needs_sharding
from kpo.planning.machine import Machine
from kpo.planning.memory import OWN_BATCH, Sampler, Size, size_of, training_memory
from kpo.planning.operations import Step, sampling_share
from kpo.planning.passes import cost


@dataclass(frozen=True)
class Plan:
    """An experiment on a machine, with the model's configuration in transformers.

    `problems` are those of the training set, `benchmarks` those of each; None for unknown numbers.
    """

    experiment: Experiment
    config: Any
    machine: Machine
    problems: int | None
    benchmarks: dict[str, int | None]

    @cached_property
    def size(self) -> Size:
        """The model's. Raises ModelError for one that the trainer does not support."""
        return size_of(self.config)

    @cached_property
    def step(self) -> Step:
        """The longest of a run."""
        return Step(self.experiment.train, self.config)

    @cached_property
    def rollout(self) -> Sampler:
        """The engine of a rank."""
        t = self.experiment.train
        batch = min(OWN_BATCH, -(-t.prompts // t.world) * t.group)
        own = needs_sharding(t.world, t.dtype)  # else it samples with the trainer's
        return Sampler(t, self.config, self.size, t.longest, batch, own)

    @cached_property
    def evaluation(self) -> Sampler:
        """The engine of an evaluation, whose prompts are as long as training's."""
        e = self.experiment.evaluate
        longest = self.experiment.train.max_prompt_tokens + e.max_response_tokens
        return Sampler(e, self.config, self.size, longest, spread=max(1, e.gpus))

    @cached_property
    def phases(self) -> dict[str, dict[str, float]]:
        """Bytes on each rank by part, while sampling and while learning."""
        engine = self.rollout.memory(self.machine.rank.memory)
        return training_memory(self.experiment.train, self.config, self.size, engine)

    @property
    def steps(self) -> int | None:
        """Of a run; None where they follow from a number of problems that is unknown."""
        if self.experiment.train.steps is None and self.problems is None:
            return None
        return self.experiment.train.total_steps(self.problems or 0)

    @property
    def evaluation_seconds(self) -> float | None:
        """Of one model on the benchmarks of known size; None where its devices are unknown."""
        if self.machine.evaluation is None:
            return None
        e = self.experiment.evaluate
        lengths = [(self.experiment.train.max_prompt_tokens, e.max_response_tokens)]
        responses = e.samples * sum(filter(None, self.benchmarks.values()))
        rate = sampling_share(e.gpus) * self.machine.evaluation.rate * self.evaluation.spread
        return responses * cost(self.config, lengths).forward / rate
