"""The engine that a section of the experiment file asks for."""

from __future__ import annotations

from pathlib import Path

import torch

from kpo.common.cli import UserError
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
    policy: Policy | None = None,
) -> RolloutEngine:
    """Build the engine of a section for the model in a Hugging Face folder.

    `longest` are the tokens of the longest prompt plus response. `transformers` samples on the
    `device`, from a `policy` that is loaded already where one is given; `vllm` knows its devices by
    itself. While a run trains, each rank has its own, which sleeps while it learns.

    Raises UserError for verl, which trains by itself and lends no engine.
    """
    dtype = settings.dtype
    if settings.engine == "verl":
        raise UserError(
            "train.engine is verl, which only trains runs: here it must be transformers or vllm"
        )
    if settings.engine == "vllm":
        from kpo.rollout.vllm import VLLMEngine  # noqa: PLC0415 - slow to import

        trains = isinstance(settings, Train)
        return VLLMEngine(
            folder,
            max_tokens=longest,
            dtype=dtype,
            tensor_parallel=1 if trains else max(settings.gpus, 1),
            gpu_memory=settings.gpu_memory if settings.gpus else None,
            sleep=trains,
        )
    return TransformersEngine(
        policy or load_policy(folder, dtype=dtype, device=device, longest=longest)
    )
