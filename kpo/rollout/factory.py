"""The engine that a section of the experiment file asks for."""

from __future__ import annotations

from pathlib import Path

import torch

from kpo.config.evaluate import Evaluate
from kpo.config.train import Train
from kpo.model.loading import load_policy
from kpo.model.policy import Policy
from kpo.rollout.engine import RolloutEngine
from kpo.rollout.transformers import TransformersEngine


def make_engine(
    settings: Train | Evaluate,
    folder: Path,
    *,
    longest: int,
    device: torch.device,
    tensor_parallel: int = 1,
    sleep: bool = False,
    policy: Policy | None = None,
) -> RolloutEngine:
    """Build the engine of a section.

    Args:
        settings: the section.
        folder: Hugging Face folder of the model: its architecture and first weights.
        longest: tokens of the longest prompt plus response.
        device: where `transformers` samples; `vllm` knows by itself.
        tensor_parallel, sleep: as in `VLLMEngine`.
        policy: a policy that is loaded already, which `transformers` then samples from.
    """
    dtype = settings.dtype
    if settings.engine == "vllm":
        from kpo.rollout.vllm import VLLMEngine  # noqa: PLC0415 - slow to import

        memory = settings.gpu_memory if settings.gpus else None
        return VLLMEngine(
            folder,
            max_tokens=longest,
            dtype=dtype,
            tensor_parallel=tensor_parallel,
            gpu_memory=memory,
            sleep=sleep,
        )
    return TransformersEngine(
        policy or load_policy(folder, dtype=dtype, device=device, longest=longest)
    )
