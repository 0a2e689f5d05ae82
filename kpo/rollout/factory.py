"""Engines by name."""

from __future__ import annotations

from pathlib import Path

import torch

from kpo.model.loading import load_policy
from kpo.model.policy import Policy
from kpo.rollout.engine import RolloutEngine
from kpo.rollout.transformers import TransformersEngine


def make_engine(  # noqa: PLR0913 - the settings of two engines
    name: str,
    folder: Path,
    *,
    max_tokens: int,
    dtype: str,
    device: torch.device,
    tensor_parallel: int = 1,
    gpu_memory: float | None = None,
    sleep: bool = False,
    policy: Policy | None = None,
) -> RolloutEngine:
    """Build an engine by name.

    Args:
        name: `transformers` or `vllm`.
        folder: Hugging Face folder of the model: its architecture and first weights.
        max_tokens: longest prompt plus response.
        dtype: of the weights.
        device: where `transformers` samples; `vllm` knows by itself.
        tensor_parallel: GPUs that `vllm` lays the model over.
        gpu_memory: share of each GPU's memory that `vllm` takes; None for its own default.
        sleep: whether `sleep` is called; `vllm` then waits asleep for its first weights.
        policy: a policy that is loaded already, which `transformers` then samples from.
    """
    engine: RolloutEngine
    if name == "vllm":
        from kpo.rollout.vllm import VLLMEngine  # noqa: PLC0415 - slow to import

        engine = VLLMEngine(
            folder,
            max_tokens=max_tokens,
            dtype=dtype,
            tensor_parallel=tensor_parallel,
            gpu_memory=gpu_memory,
            sleep=sleep,
        )
    elif name == "transformers":
        engine = TransformersEngine(
            policy or load_policy(folder, dtype=dtype, device=device, longest=max_tokens)
        )
    else:
        raise ValueError(f"unknown engine {name!r}; there is transformers, vllm")
    return engine
