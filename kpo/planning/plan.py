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
from kpo.planning.passes import cost

SPARE = 0.1
"""Share of the memory that should stay free: what is counted can be off by as much."""


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
    def disk(self) -> tuple[float, float]:
        """Bytes of the checkpoints of a run, and of all final models and the base."""
        runs, dtype = len(self.experiment.runs), self.experiment.train.dtype
        return checkpoints_disk(self.size), models_disk(self.size, dtype, runs)

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

    def faults(self) -> list[str]:
        """A sentence for everything that will not fit: the part, and the setting to change."""
        train, evaluate, there = self.experiment.train, self.experiment.evaluate, self.machine
        return [
            *self._not_installed(),
            *faults_of(train, evaluate, self.config),
            *self.rollout.faults(there.rank.memory, "rollout engine", "train"),
            *self._memory(warnings=False),
            *self._evaluation_too_large(),
            *self._too_much_on_disk(),
        ]

    def warnings(self) -> list[str]:
        """A sentence for everything that may not fit."""
        return [*self._memory(warnings=True), *self._tight_together()]

    def _not_installed(self) -> Iterator[str]:
        here = self.machine.disk is not None
        for key in ("train", "evaluate"):
            engine = getattr(self.experiment, key).engine
            if here and engine == "vllm" and importlib.util.find_spec("vllm") is None:
                yield (
                    f"{key}.engine is vllm, which is not installed: install it, or take"
                    " transformers"
                )

    def _memory(self, *, warnings: bool) -> Iterator[str]:
        """Of the phases that do not fit, or only just."""
        there = self.machine.rank.memory
        for phase, parts in self.phases.items():
            total = sum(parts.values())
            largest = max((part for part in parts if part != "reserve"), key=parts.__getitem__)
            if total > there and not warnings:
                yield (
                    f"{phase}: {gb(total)} a rank do not fit into {gb(there)}; the largest part is"
                    f" {largest} ({gb(parts[largest])}): {self._remedy(largest)}"
                )
            if (1 - SPARE) * there < total <= there and warnings:
                yield (
                    f"{phase}: {gb(total)} of {gb(there)} leave less than {SPARE:.0%} to spare, by"
                    f" which these figures may be off: {self._remedy(largest)}"
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
        (checkpoints, models), at_once = self.disk, self.machine.at_once or 1
        need, free = at_once * checkpoints + models, self.machine.disk
        if free is not None and need > free:
            yield (
                f"checkpoints of {at_once} runs at a time and models of {len(self.experiment.runs)}"
                f" runs need {gb(need)} of disk, but there are {gb(free)}: make room, let fewer"
                " run at a time, or lower the number of seeds or methods"
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
