"""The main memory, in MB, that the jobs of an experiment ask a scheduler for.

It follows the size of the model: `PROCESS_MB` for the program itself, and some bytes for each
parameter. What the shares leave out is small beside them: activations on the CPU, vLLM's cache.
"""

from __future__ import annotations

import os
from pathlib import Path

from kpo.config.policy import Architecture, PretrainedPolicy, ScratchPolicy
from kpo.config.train import Train

PROCESS_MB = 2500
UNKNOWN = 4_000_000_000
"""Parameters assumed of a model whose shape is stated nowhere, before it is there."""
HALF = 2
"""Bytes of a stored weight; one stored in float32 counts as two parameters."""


def base_mb(policy: ScratchPolicy | PretrainedPolicy) -> int:
    """Of the job that makes the base policy: the weights, once in float32 and twice as stored."""
    return _megabytes(parameters(policy) * (4 + 2 * HALF))


def train_mb(base: str, train: Train) -> int:
    """Of a run on the base policy in this folder, all its ranks together.

    Masters, moments and gradients in float32 where they are on the CPU, else masters while they are
    spread over the GPUs, and a checkpoint on its way to the disk; and each rank loads the weights.
    Raises FileNotFoundError before the base is made.
    """
    state = 12 if train.gpus else 20
    return _megabytes(_stored(base) / HALF * (state + 2 * HALF * train.world))


def sample_mb(model: str) -> int:
    """Of the evaluation of the model in this folder: the weights in float32, and as stored.

    Raises FileNotFoundError before the model is made.
    """
    return _megabytes(_stored(model) / HALF * (4 + HALF))


def parameters(policy: ScratchPolicy | PretrainedPolicy) -> float:
    """About how many the policy has: as its shape or its folder says, else UNKNOWN."""
    if isinstance(policy, ScratchPolicy):
        return _of_layers(policy)  # an alphabet for a vocabulary
    if policy.architecture is not None:
        matrices = 1 if policy.architecture.tied else 2
        embeddings = matrices * policy.architecture.vocabulary * policy.architecture.hidden_size
        return embeddings + _of_layers(policy.architecture)
    folder = Path(policy.model).expanduser()
    return _stored(str(folder)) / HALF if folder.is_dir() else UNKNOWN


def _of_layers(shape: ScratchPolicy | Architecture) -> int:
    attention = 2 * (shape.heads + shape.kv_heads) * shape.head_dim
    return shape.layers * shape.hidden_size * (attention + 3 * shape.feed_forward)


def _stored(folder: str) -> float:
    """Bytes of the weights in a model folder. Raises FileNotFoundError if it is not there."""
    with os.scandir(folder) as files:
        return sum(file.stat().st_size for file in files if file.name.endswith(".safetensors"))


def _megabytes(size: float) -> int:
    return PROCESS_MB + round(size / 1e6)
