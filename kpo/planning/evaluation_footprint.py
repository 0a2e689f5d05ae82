"""What the evaluation of an experiment needs: memory of its engine, operations and time."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from kpo.config.experiment import Experiment
from kpo.planning.footprint import Size
from kpo.planning.machine import Device, gb
from kpo.planning.sampling_footprint import (
    OWN_BATCH,
    SAMPLING_SHARE,
    SamplingFootprint,
    sampling_operations,
)


@dataclass(frozen=True)
class EvaluationFootprint:
    """Of every model, the base included; responses are as long as allowed, prompts as training's.

    Attributes:
        config, size: the model's.
        device: each of those that a model is evaluated on; None where nothing is known of them.
        problems: of every benchmark; None where that is not known.
    """

    experiment: Experiment
    config: Any
    size: Size
    device: Device | None
    problems: dict[str, int | None]

    @property
    def models(self) -> int:
        """Runs and the base policy."""
        return len(self.experiment.runs) + 1

    @property
    def prompt(self) -> int:
        """Tokens of a prompt."""
        return self.experiment.train.max_prompt_tokens

    @property
    def on_gpu(self) -> bool:
        """Whether models are evaluated on GPUs."""
        return self.experiment.evaluate.gpus > 0

    @cached_property
    def sampler(self) -> SamplingFootprint:
        """The engine on each device."""
        settings = self.experiment.evaluate
        return SamplingFootprint(
            engine=settings.engine,
            config=self.config,
            size=self.size,
            dtype=settings.dtype,
            longest=self.prompt + settings.max_response_tokens,
            batch=OWN_BATCH,
            on_gpu=self.on_gpu,
            gpu_memory=settings.gpu_memory,
            spread=max(1, settings.gpus),
        )

    @property
    def unknown(self) -> list[str]:
        """Benchmarks whose size is not known."""
        return [name for name, count in self.problems.items() if count is None]

    @property
    def total_problems(self) -> int:
        """Of all benchmarks whose size is known."""
        return sum(count or 0 for count in self.problems.values())

    @property
    def seconds(self) -> float | None:
        """Of one model on those; None where nothing is known of the device."""
        if self.device is None:
            return None
        settings = self.experiment.evaluate
        responses = self.total_problems * settings.samples
        share = SAMPLING_SHARE["gpu" if self.on_gpu else "cpu"]
        operations = sampling_operations(
            self.size, responses, self.prompt, settings.max_response_tokens
        )
        return operations / (share * self.device.rate * self.sampler.spread)

    def faults(self) -> Iterator[str]:
        """A sentence for everything that will not fit."""
        if self.device is None:
            return
        need, there = self.sampler.memory(self.device.memory), self.device.memory
        if need > there:
            yield (
                f"evaluation: {gb(need)} do not fit into {gb(there)}: choose a"
                " smaller policy, or lower evaluate.max_response_tokens"
            )
        tokens, longest = self.sampler.cache_tokens(there), self.sampler.longest
        if self.sampler.engine == "vllm" and tokens < longest:
            part = "evaluate.gpu_memory" if self.on_gpu else "VLLM_CPU_KVCACHE_SPACE"
            yield (
                f"evaluation: vLLM's share ({gb(need)}) leaves a cache of {tokens} tokens"
                f" beside the weights, too few for a sequence of {longest}: raise {part}"
            )
