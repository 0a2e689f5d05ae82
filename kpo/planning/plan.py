"""What an experiment needs beside what a machine has: what will not fit, and how long it takes."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from kpo.config.experiment import Experiment
from kpo.config.limits import faults_of
from kpo.distributed.sharding import needs_sharding
from kpo.planning.machine import Machine
from kpo.planning.memory import (
    OWN_BATCH,
    RESERVE,
    Sampler,
    Size,
    checkpoints_disk,
    gb,
    models_disk,
    size_of,
    training_memory,
)
from kpo.planning.operations import Step, sampling_share
from kpo.planning.passes import operations

SPARE = 0.1
"""Share of the memory that should stay free: what is counted can be off by as much."""


@dataclass(frozen=True)
class Plan:
    """An experiment on a machine.

    Attributes:
        config: the model's configuration in transformers.
        problems: of the training set; None where that is not known.
        benchmarks: problems of each, likewise.
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
        return Sampler(
            t,
            self.config,
            self.size,
            longest=t.longest,
            batch=min(OWN_BATCH, -(-t.prompts // t.world) * t.group),
            own=needs_sharding(t.world, t.dtype),  # else it samples with the trainer's
        )

    @cached_property
    def evaluation(self) -> Sampler:
        """The engine of an evaluation, whose prompts are as long as training's."""
        settings = self.experiment.evaluate
        longest = self.experiment.train.max_prompt_tokens + settings.max_response_tokens
        spread = max(1, settings.gpus)
        return Sampler(settings, self.config, self.size, longest=longest, spread=spread)

    @cached_property
    def phases(self) -> dict[str, dict[str, float]]:
        """Bytes on each rank by part, while sampling and while learning."""
        engine = self.rollout.memory(self.machine.rank.memory)
        return training_memory(self.experiment.train, self.config, self.size, engine)

    @property
    def run_seconds(self) -> float | None:
        """Of a run at most; None where the number of its problems, and so of steps, is unknown."""
        train, step = self.experiment.train, self.step.seconds(self.machine.rank.rate)
        if train.steps is None and self.problems is None:
            return None
        return sum(step.values()) * train.total_steps(self.problems or 0)

    @cached_property
    def evaluation_seconds(self) -> float | None:
        """Of one model on the benchmarks of known size; None where its devices are unknown."""
        if self.machine.evaluation is None:
            return None
        settings = self.experiment.evaluate
        lengths = [(self.experiment.train.max_prompt_tokens, settings.max_response_tokens)]
        a_response = operations(self.config, lengths, checkpointing=False).forward
        responses = settings.samples * sum(count or 0 for count in self.benchmarks.values())
        rate = sampling_share(settings.gpus) * self.machine.evaluation.rate
        return responses * a_response / (rate * self.evaluation.spread)

    def faults(self) -> list[str]:
        """A sentence for everything that will not fit: the part, and the setting to change."""
        return [
            *self._not_installed(),
            *faults_of(self.experiment.train, self.experiment.evaluate, self.config),
            *self.rollout.faults(self.machine.rank.memory, "rollout engine", "train"),
            *self._too_large(),
            *self._evaluation_too_large(),
            *self._too_much_on_disk(),
        ]

    def warnings(self) -> list[str]:
        """A sentence for everything that may not fit."""
        return [*self._tight(), *self._tight_together()]

    def _not_installed(self) -> Iterator[str]:
        if self.machine.disk is None or importlib.util.find_spec("vllm"):
            return
        for key in ("train", "evaluate"):
            if getattr(self.experiment, key).engine == "vllm":
                yield (
                    f"{key}.engine is vllm, which is not installed: install it, or take"
                    " transformers"
                )

    def _too_large(self) -> Iterator[str]:
        there = self.machine.rank.memory
        for phase, parts in self.phases.items():
            if (total := sum(parts.values())) > there:
                largest = _largest(parts)
                yield (
                    f"{phase}: {gb(total)} a rank do not fit into {gb(there)}; the"
                    f" largest part is {largest} ({gb(parts[largest])}): {self._remedy(largest)}"
                )

    def _evaluation_too_large(self) -> Iterator[str]:
        if self.machine.evaluation is None:
            return
        there = self.machine.evaluation.memory
        if (need := self.evaluation.memory(there)) > there:
            yield (
                f"evaluation: {gb(need)} do not fit into {gb(there)}: choose a"
                " smaller policy, or lower evaluate.max_response_tokens"
            )
        yield from self.evaluation.faults(there, "evaluation", "evaluate")

    def _too_much_on_disk(self) -> Iterator[str]:
        runs, at_once = len(self.experiment.runs), self.machine.at_once or 1
        models = models_disk(self.size, self.experiment.train.dtype, runs)
        need, free = at_once * checkpoints_disk(self.size) + models, self.machine.disk
        if free is not None and need > free:
            yield (
                f"checkpoints of {at_once} runs at a time and models of {runs} runs need"
                f" {gb(need)} of disk, but there are {gb(free)}: make room, let fewer"
                " run at a time, or lower the number of seeds or methods"
            )

    def _tight(self) -> Iterator[str]:
        there = self.machine.rank.memory
        for phase, parts in self.phases.items():
            if (1 - SPARE) * there < (total := sum(parts.values())) <= there:
                yield (
                    f"{phase}: {gb(total)} of {gb(there)} leave less than {SPARE:.0%}"
                    f" to spare, by which these figures may be off: {self._remedy(_largest(parts))}"
                )

    def _tight_together(self) -> Iterator[str]:
        """Runs on the CPU share its memory with each other."""
        at_once, train = self.machine.at_once or 1, self.experiment.train
        a_run = train.world * max(sum(parts.values()) - RESERVE for parts in self.phases.values())
        there = train.world * self.machine.rank.memory
        if not train.gpus and a_run <= there < at_once * a_run:
            yield (
                f"{at_once} runs at a time, for which there are cores, need"
                f" {gb(at_once * a_run)} of {gb(there)}: give snakemake fewer"
                " --cores, or raise train.threads"
            )

    def _remedy(self, part: str) -> str:
        train = self.experiment.train
        if part in ("activations", "LM head and temporaries"):
            if not train.activation_checkpointing:
                return "set train.activation_checkpointing to true"
            return "lower train.max_tokens_per_microbatch"
        if part == "rollout engine":
            own = train.engine != "vllm" or not train.gpus
            return f"lower {'train.group' if own else 'train.gpu_memory'}"
        return "raise train.gpus" if train.gpus else "choose a smaller policy"


def _largest(parts: dict[str, float]) -> str:
    return max((part for part in parts if part != "reserve"), key=lambda part: parts[part])
