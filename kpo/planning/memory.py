"""What a model and the engines that sample from it hold, in bytes: on no device."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from transformers import AutoModelForCausalLM

from kpo.config.evaluate import Evaluate
from kpo.config.limits import head_size
from kpo.config.train import Train
from kpo.model.decoder import FusedDecoder
from kpo.model.files import ModelError
from kpo.model.policy import check_architecture, layers

RESERVE = 2e9
"""Assumed for what is not counted: CUDA, NCCL, gaps between tensors, a kernel's workspace; also
what vLLM needs in its share beside weights and cache."""
OWN_BATCH = 256
"""Responses that the transformers engine samples at a time."""


def gb(value: float) -> str:
    """Bytes for readers."""
    return f"{value / 1e9:.2f} GB"


class Size(NamedTuple):
    """Numbers of a model: weights, tied ones once; keys and values of one token (`cache`).

    `layer` is of the largest layer, `root` outside the layers, which FSDP gathers together.
    """

    parameters: int
    layer: int
    root: int
    cache: int


def size_of(config: Any) -> Size:
    """Numbers of a model of this configuration. Raises ModelError for an unsupported one."""
    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(config)
    try:
        check_architecture(model)
    except ModelError as error:
        raise ModelError(f"policy: {error}") from error
    whole, *parts = (
        sum(p.numel() for p in module.parameters()) for module in (model, *layers(model))
    )
    heads = getattr(config, "num_key_value_heads", None) or config.num_attention_heads
    cache = 2 * heads * head_size(config) * len(parts)
    return Size(whole, max(parts), whole - sum(parts), cache)


@dataclass(frozen=True)
class Sampler:
    """The engine of a section of the experiment, on each of the devices that it is `spread` over.

    `longest` are the tokens of its longest sequence. The transformers engine samples `batch`
    responses at a time, with weights of its `own` or the trainer's.
    """

    settings: Train | Evaluate
    config: Any
    size: Size
    longest: int
    batch: int = OWN_BATCH
    own: bool = True
    spread: int = 1

    @property
    def with_vllm(self) -> bool:
        """Whether vLLM samples: verl's rollouts too."""
        return self.settings.engine != "transformers"

    @property
    def weights(self) -> float:
        """Bytes on each device."""
        return number(self.settings.dtype) * self.size.parameters / self.spread

    @property
    def token(self) -> float:
        """Bytes of a token's keys and values on each device."""
        return number(self.settings.dtype) * self.size.cache / self.spread

    def memory(self, device: float) -> float:
        """Bytes that the engine takes of a device with this much memory."""
        if self.with_vllm and self.settings.gpus:
            return self.settings.gpu_memory * device
        if self.with_vllm:  # GiB, as `kpo.rollout.vllm` sets it
            return self.weights + float(os.environ.get("VLLM_CPU_KVCACHE_SPACE", "1")) * 2**30
        # While the decoder's fused copies are made, the old ones are still there.
        fused = FusedDecoder.supports(self.config, getattr(torch, self.settings.dtype))
        return (self.own + 2 * fused) * self.weights + self.batch * self.longest * self.token

    def cache_tokens(self, device: float) -> int:
        """Tokens whose keys and values vLLM can hold."""
        room = self.memory(device) - self.weights - RESERVE * bool(self.settings.gpus)
        return max(0, int(room / self.token))

    def faults(self, device: float, part: str, section: str) -> Iterator[str]:
        """A sentence where vLLM cannot hold the longest sequence."""
        tokens = self.cache_tokens(device)
        if self.with_vllm and tokens < self.longest:
            key = f"{section}.gpu_memory" if self.settings.gpus else "VLLM_CPU_KVCACHE_SPACE"
            yield (
                f"{part}: vLLM's share ({gb(self.memory(device))}) leaves a cache of {tokens}"
                f" tokens beside the weights, too few for a sequence of {self.longest}: raise {key}"
            )


def number(dtype: str) -> int:
    """Bytes of a number."""
    kind: torch.dtype = getattr(torch, dtype)
    return kind.itemsize
