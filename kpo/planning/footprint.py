"""What a training run needs, from its settings and the model's architecture: no weights, no device.

Memory in bytes by part and phase, tokens, floating-point operations and disk. All of it is for the
worst step, in which every prompt and response is as long as it may be.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch

from kpo.config.limits import head_size
from kpo.config.train import Train
from kpo.distributed.ranks import Ranks
from kpo.distributed.sharding import needs_sharding
from kpo.model.files import ModelError
from kpo.model.layers import layers
from kpo.model.policy import check_architecture
from kpo.planning.sampling_footprint import (
    SamplingFootprint,
    rollout_footprint,
    sampling_operations,
)
from kpo.planning.working_memory import WorkingMemory, working_memory
from kpo.rollout.engine import Response
from kpo.trainer.batch import Prompt, micro_batches

MASTER = 4
"""Bytes of a weight where it is trained: float32."""
TRAINING_SHARE = 0.43
"""What forward and backward passes reach of the rate of one large matrix product.

319 of 746 TFLOP/s, counting what is computed again, with Qwen3-4B's shape on an H200
(`tests.bench.bench_update_gpu`).
"""
CHECKPOINTS = 3
"""The last two are kept while the next is written."""


class FootprintError(ValueError):
    """A policy that the trainer does not support."""


@dataclass(frozen=True)
class Size:
    """Numbers of a model.

    Attributes:
        parameters: all weights, tied ones once.
        layer, layers: weights of the largest layer, and of all.
        head: weights of the LM head.
        cache: keys and values of one token.
        attention: query dimensions, all heads of all layers.
    """

    parameters: int
    layer: int
    layers: int
    head: int
    cache: int
    attention: int

    @property
    def root(self) -> int:
        """Weights outside the layers, which FSDP gathers together."""
        return self.parameters - self.layers


def size_of(config: Any) -> Size:
    """Numbers of a model of this configuration. Raises FootprintError for an unsupported one."""
    from transformers import AutoModelForCausalLM  # noqa: PLC0415 - slow to import

    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(config)
    try:
        check_architecture(model)
    except ModelError as error:
        raise FootprintError(f"policy: {error}") from error
    per_layer = [sum(p.numel() for p in layer.parameters()) for layer in layers(model)]
    heads = config.num_attention_heads
    head_dim = head_size(config)
    kv_heads = getattr(config, "num_key_value_heads", None) or heads
    return Size(
        parameters=sum(p.numel() for p in model.parameters()),
        layer=max(per_layer),
        layers=sum(per_layer),
        head=model.get_output_embeddings().weight.numel(),
        cache=2 * kv_heads * head_dim * len(per_layer),
        attention=heads * head_dim * len(per_layer),
    )


@dataclass(frozen=True)
class Footprint:
    """What `train` needs for a model of this configuration (see `size_of` for its size)."""

    train: Train
    config: Any
    size: Size

    # Tokens

    @property
    def responses(self) -> int:
        """Of a step."""
        return self.train.prompts * self.train.group

    @cached_property
    def micro_batches(self) -> list[list[int]]:
        """Rows of each micro-batch of a mini-batch, of all ranks together."""
        t = self.train
        prompts = [Prompt("", [0] * t.max_prompt_tokens, "")] * (t.prompts // t.mini_batches)
        responses = [Response([0] * t.max_response_tokens, [], "length")] * len(prompts) * t.group
        rows, budget = range(len(responses)), t.max_tokens_per_microbatch
        return [
            part
            for rank in range(t.world)
            for part in micro_batches(prompts, responses, rows, budget, Ranks(rank, t.world))
        ]

    @property
    def packed_tokens(self) -> int:
        """That a step's forward passes see: a prompt stands once in a micro-batch."""
        t = self.train
        prompts = sum(len({row // t.group for row in part}) for part in self.micro_batches)
        a_mini_batch = prompts * t.max_prompt_tokens
        return a_mini_batch * t.mini_batches + self.responses * t.max_response_tokens

    # Floating-point operations, two for each multiplication and addition

    @property
    def forward(self) -> float:
        """Of one pass over all of a step's responses."""
        return 2.0 * self.size.layers * self.packed_tokens + self.head + self.attention

    @property
    def update(self) -> float:
        """Forward, twice that backward, and what is computed again: logits, perhaps layers."""
        again = self.forward - self.head if self.train.activation_checkpointing else 0.0
        return 3 * self.forward + self.head + again

    @property
    def rollout(self) -> float:
        """Of sampling a step's responses."""
        t = self.train
        return sampling_operations(
            self.size, self.responses, t.max_prompt_tokens, t.max_response_tokens
        )

    @property
    def head(self) -> float:
        """Of the LM head, part of each of these: it sees response tokens alone."""
        return 2.0 * self.size.head * self.responses * self.train.max_response_tokens

    @property
    def attention(self) -> float:
        """Of tokens with each other, likewise; causal, half of a square."""
        return 2.0 * self.size.attention * self.train.longest**2 * self.responses

    # Memory

    @property
    def number(self) -> int:
        """Bytes of a number that is computed with."""
        return torch.empty(0, dtype=getattr(torch, self.train.scoring)).element_size()

    @property
    def sharded(self) -> bool:
        """Whether FSDP holds the weights, as in `kpo.distributed.sharding.shard`."""
        return needs_sharding(self.train.world, self.train.scoring)

    @cached_property
    def working(self) -> WorkingMemory:
        """Of the largest micro-batch: the token budget in the longest sequences, or fewer."""
        t = self.train
        most = t.prompts // t.mini_batches * t.group // t.world
        whole, rest = divmod(t.max_tokens_per_microbatch, t.longest)
        lengths = [(t.max_prompt_tokens, t.max_response_tokens)] * min(whole, most)
        if whole < most and rest >= 2:
            lengths.append((1, rest - 1))
        return working_memory(
            self.config,
            lengths,
            dtype=t.scoring,
            checkpointing=t.activation_checkpointing,
            grouped=not (t.gpus and t.scoring == "float32"),
        )

    def state(self) -> dict[str, float]:
        """What a rank holds throughout, by part."""
        share = MASTER * self.size.parameters / self.train.world
        return {"master weights": share, "AdamW moments": 2 * share}

    def update_parts(self) -> dict[str, float]:
        """What a rank needs for an update beside its state, by part."""
        gathered = 0.0
        if self.sharded:  # a layer and the next, with their gradients before reduction, and root
            pair = 2 * self.size.layer
            gathered = self.number * (self.size.root + 2 * pair) + MASTER * pair
        root = (self.number + MASTER) * self.size.root * self.sharded  # reduced at the very end
        peak = max(self.working.peak, root)
        return {
            "gradients": MASTER * self.size.parameters / self.train.world,
            "gathered layers": gathered,
            "activations": float(self.working.kept),
            "LM head and temporaries": peak - self.working.kept,
        }

    @cached_property
    def sampler(self) -> SamplingFootprint:
        """The rollout engine on a rank."""
        own = needs_sharding(self.train.world, self.train.dtype)
        return rollout_footprint(self.train, self.config, self.size, own)

    def engine_sleeps(self) -> bool:
        """Whether the engine gives its memory back while the optimizer works."""
        return self.train.engine == "vllm" and self.train.gpus > 0

    def checkpoints(self) -> float:
        """Bytes on the disk while a run trains."""
        return CHECKPOINTS * 3.0 * MASTER * self.size.parameters

    def models(self, runs: int) -> float:
        """Bytes on the disk of the final models of all runs, and the base."""
        number = torch.empty(0, dtype=getattr(torch, self.train.dtype)).element_size()
        return (runs + 1.0) * number * self.size.parameters
