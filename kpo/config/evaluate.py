"""The settings of evaluation: how models are sampled, and how answers are graded."""

from __future__ import annotations

from collections.abc import Iterator
from importlib.util import find_spec
from typing import Annotated, Literal

from pydantic import Field, NonNegativeFloat, PositiveFloat

from kpo.config.values import Distinct, Engine, Gpus, PositiveInt, Section, one_of
from kpo.evals.grading.rules import DEFAULT, RULES


class Grading(Section):
    """Who says whether an answer is right, and the limits of one answer check."""

    rule: Annotated[str, one_of(RULES)] = Field(
        DEFAULT,
        description="of evals.grading.rules: by_kind, or math_verify, the library alone",
    )
    timeout_s: PositiveFloat = 5.0
    memory_mb: Annotated[int, Field(ge=512)] = 2048


LEAST_TEMPERATURE = 0.01
"""vLLM's least above 0."""


def usual_engine() -> Engine:
    """vLLM where it is installed: it cannot be had for every machine that the suite runs on."""
    return "vllm" if find_spec("vllm") else "transformers"


class Evaluate(Section):
    """How every model of the experiment, the base included, is evaluated."""

    benchmarks: Annotated[list[str], Field(min_length=1), Distinct]
    engine: Engine = Field(
        default_factory=usual_engine, description="vllm; where that is not installed, transformers"
    )
    limit: PositiveInt | None = Field(None, description="first problems of each benchmark; all")
    samples: PositiveInt = Field(16, description="samples a problem, k of avg@k and pass@k")
    temperature: NonNegativeFloat = 1.0
    top_p: Annotated[float, Field(gt=0, le=1)] = 1.0
    max_response_tokens: PositiveInt
    seed: int = 0
    dtype: Literal["float32", "bfloat16"] = "float32"
    threads: PositiveInt = 1
    gpus: Gpus = Field(0, description="0: on the CPU; n: vLLM lays the model over n GPUs")
    gpu_memory: Annotated[float, Field(gt=0, le=1)] = Field(
        0.9, description="share of a GPU's memory that vLLM takes"
    )

    @property
    def asks_for_engine(self) -> bool:
        """Whether the experiment file names one, so that what is installed decides nothing."""
        return "engine" in self.model_fields_set

    def _faults(self) -> Iterator[str]:
        if self.temperature == 0 and self.samples > 1:
            yield (
                f"samples is {self.samples}, but at temperature 0 all samples of a problem are the"
                " same: set samples to 1, or a higher temperature"
            )
        if 0 < self.temperature < LEAST_TEMPERATURE:
            yield (
                f"temperature is {self.temperature:g}, but must be 0 or at least"
                f" {LEAST_TEMPERATURE}: vllm would raise it to that without a word"
            )
        if self.engine != "vllm" and self.gpus > 1:
            yield f"gpus is {self.gpus}, but engine {self.engine} uses at most 1; vllm uses more"
        if "gpu_memory" in self.model_fields_set and (self.engine != "vllm" or not self.gpus):
            yield (
                f"gpu_memory ({self.gpu_memory}) has no use without engine vllm on a GPU (engine is"
                f" {self.engine}, gpus {self.gpus}); drop it"
            )
