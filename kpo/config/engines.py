"""Whether vLLM can run an experiment's policy, as far as that is known without starting it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from kpo.config.policy import PretrainedPolicy

if TYPE_CHECKING:
    from kpo.config.experiment import Experiment

CPU_HEAD_SIZES = (32, 64, 80, 96, 112, 128, 160, 192, 224, 256, 512)
"""Of the attention in vLLM's CPU build."""


def head_size(config: Any) -> int:
    """Dimensions of an attention head of a model with this configuration in transformers."""
    size = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    return int(size)


def engine_faults(experiment: Experiment) -> Iterator[str]:
    """A sentence for every engine that cannot run the policy, where the file tells its shape."""
    policy = experiment.policy
    shape = policy.architecture if isinstance(policy, PretrainedPolicy) else policy
    if shape is not None:
        yield from beyond_the_engine(experiment, shape.head_dim)


def beyond_the_engine(experiment: Experiment, head_dim: int) -> Iterator[str]:
    """A sentence for every engine that cannot run a model with heads of this size."""
    train, evaluate = experiment.train, experiment.evaluate
    for key, engine, gpus in (
        ("train", train.engine, train.gpus),
        ("evaluate", evaluate.engine, evaluate.gpus),
    ):
        if engine == "vllm" and not gpus and head_dim not in CPU_HEAD_SIZES:
            yield (
                f"{key}.engine is vllm, whose CPU build has no heads of the policy's size"
                f" {head_dim}, but {', '.join(map(str, CPU_HEAD_SIZES))}: take another head_dim, or"
                " engine transformers"
            )
