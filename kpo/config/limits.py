"""Whether a model can serve an experiment: room for its sequences, heads that its engines have."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from kpo.config.evaluate import Evaluate
from kpo.config.train import Train

LEAST_POSITIONS = 256
"""Of a policy made from scratch."""
CPU_HEAD_SIZES = (32, 64, 80, 96, 112, 128, 160, 192, 224, 256, 512)
"""Of the attention in vLLM's CPU build."""


def head_size(config: Any) -> int:
    """Dimensions of an attention head of a model with this configuration in transformers."""
    size = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    return int(size)


def model_faults(train: Train, evaluate: Evaluate, positions: int, head_dim: int) -> Iterator[str]:
    """A sentence for all that a model with so many positions and heads of this size cannot do."""
    if train.longest > positions:
        yield (
            f"train.max_prompt_tokens + train.max_response_tokens is {train.longest}, more than the"
            f" model's {positions} positions: lower either"
        )
    if evaluate.max_response_tokens >= positions:
        yield (
            f"evaluate.max_response_tokens is {evaluate.max_response_tokens}, but must be less than"
            f" the model's {positions} positions, which the prompt shares"
        )
    for key, settings in (("train", train), ("evaluate", evaluate)):
        if settings.engine == "vllm" and not settings.gpus and head_dim not in CPU_HEAD_SIZES:
            yield (
                f"{key}.engine is vllm, whose CPU build has no heads of the policy's size"
                f" {head_dim}, but {', '.join(map(str, CPU_HEAD_SIZES))}: take another head_dim, or"
                " engine transformers"
            )


def faults_of(train: Train, evaluate: Evaluate, config: Any) -> list[str]:
    """`model_faults` of a model by its configuration in transformers."""
    return list(model_faults(train, evaluate, config.max_position_embeddings, head_size(config)))
