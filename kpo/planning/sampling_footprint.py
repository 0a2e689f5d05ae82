"""What sampling needs, in training and in evaluation: an engine's memory, and operations."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch

from kpo.model.decoder import FusedDecoder

if TYPE_CHECKING:
    from kpo.config.train import Train
    from kpo.config.values import Engine
    from kpo.planning.footprint import Size

RESERVE = 2e9
"""Assumed for what is not counted: CUDA, NCCL, gaps between tensors, a kernel's workspace; also
what vLLM needs in its share beside weights and cache."""
SAMPLING_SHARE = {"gpu": 0.05, "cpu": 0.25}
"""Assumed: token by token, the time goes into reading weights and cache. For each token of 128
half-long responses Qwen3-4B reads 8 GB and 48 GB: 17 ms at an H100's 3.3 TB/s, of which products
would take 1.5 ms. Processors have fewer operations to a byte."""
OWN_BATCH = 256
"""Responses that the transformers engine samples at a time."""


@dataclass(frozen=True)
class SamplingFootprint:
    """An engine's memory on each device.

    Attributes:
        engine: its name.
        config, size: the model's.
        dtype: of weights and cache.
        longest: tokens of the longest sequence.
        batch: responses at a time, as far as the engine does not choose their number.
        on_gpu: whether it samples on GPUs, else on the CPU.
        gpu_memory: share of a GPU's memory that vLLM takes.
        spread: devices that one model lies over.
        own_weights: whether the transformers engine has weights of its own.
    """

    engine: Engine
    config: Any
    size: Size
    dtype: str
    longest: int
    batch: int
    on_gpu: bool
    gpu_memory: float
    spread: int = 1
    own_weights: bool = True

    @property
    def number(self) -> int:
        """Bytes of a number that is computed with."""
        return torch.empty(0, dtype=getattr(torch, self.dtype)).element_size()

    @property
    def weights(self) -> float:
        """Bytes on each device."""
        return self.number * self.size.parameters / self.spread

    @property
    def token(self) -> float:
        """Bytes of a token's keys and values on each device."""
        return self.number * self.size.cache / self.spread

    def memory(self, device: float) -> float:
        """Bytes that the engine takes of a device with this much memory."""
        if self.engine == "vllm":
            return self.gpu_memory * device if self.on_gpu else self.weights + _cpu_cache()
        copies = self.weights if self.own_weights else 0.0
        if FusedDecoder.supports(self.config, getattr(torch, self.dtype)):
            copies += 2 * self.weights  # while fused copies are made, the old ones are still there
        return copies + self.batch * self.longest * self.token

    def cache_tokens(self, device: float) -> int:
        """Tokens whose keys and values vLLM can hold."""
        room = self.memory(device) - self.weights - RESERVE * self.on_gpu
        return max(0, int(room / self.token))


def sampling_operations(size: Size, responses: int, prompt: int, response: int) -> float:
    """Floating-point operations of sampling: every response reads its prompt and itself once."""
    layers = 2.0 * size.layers * (prompt + response)
    attention = 2.0 * size.attention * (prompt + response) ** 2  # causal, half of a square
    return responses * (layers + attention + 2.0 * size.head * response)


def rollout_footprint(
    train: Train, config: Any, size: Size, own_weights: bool
) -> SamplingFootprint:
    """Of the engine on each rank; `own_weights`: it does not sample with the trainer's."""
    return SamplingFootprint(
        engine=train.engine,
        config=config,
        size=size,
        dtype=train.dtype,
        longest=train.longest,
        batch=min(OWN_BATCH, -(-train.prompts // train.world) * train.group),
        on_gpu=train.gpus > 0,
        gpu_memory=train.gpu_memory,
        own_weights=own_weights,
    )


def _cpu_cache() -> float:
    """Bytes of vLLM's cache on the CPU, as `kpo.rollout.vllm` sets it."""
    return float(os.environ.get("VLLM_CPU_KVCACHE_SPACE", "1")) * 2**30
