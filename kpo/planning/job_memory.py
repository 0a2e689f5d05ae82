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
GRADIENTS = 256
"""That a comparison of gradients holds, in float32."""
UNKNOWN = 4_000_000_000
"""Parameters assumed of a model whose shape is stated nowhere, before it is there."""


def base_mb(policy: ScratchPolicy | PretrainedPolicy) -> int:
    """Of the job that makes the base policy: the weights, once in float32 and twice as stored."""
    return _megabytes(8 * parameters(policy))


def train_mb(base: str, train: Train) -> int:
    """Of a run on the base policy in this folder, all its ranks on one machine together.

    Masters, moments and gradients in float32 where they are on the CPU, else masters while they are
    spread over the GPUs, and a checkpoint on its way to the disk; and each rank loads the weights.
    Raises FileNotFoundError before the base is made.
    """
    return _megabytes(((12 if train.gpus else 20) + 4 * train.per_node) * _stored(base))


def shootout_mb(base: str, train: Train) -> int:
    """Of a comparison of gradients on the base policy in this folder, beside what a run asks for.

    Those of the truth, of up to three kinds, and of a method's mini-batches in float64.
    """
    return train_mb(base, train) + 800 + round(4 * GRADIENTS * _stored(base) / 1e6)


def sample_mb(model: str) -> int:
    """Of the evaluation of the model in this folder: the weights in float32, and as stored.

    Raises FileNotFoundError before the model is made.
    """
    return _megabytes(6 * _stored(model))


def parameters(policy: ScratchPolicy | PretrainedPolicy) -> float:
    """About how many the policy has: as its shape or its folder says, else UNKNOWN."""
    shape: ScratchPolicy | Architecture
    if isinstance(policy, ScratchPolicy):
        shape, embeddings = policy, 0  # an alphabet for a vocabulary
    elif policy.architecture is not None:
        shape = policy.architecture
        embeddings = (1 if shape.tied else 2) * shape.vocabulary * shape.hidden_size
    else:
        folder = Path(policy.model).expanduser()
        return _stored(folder) if folder.is_dir() else UNKNOWN
    attention = 2 * (shape.heads + shape.kv_heads) * shape.head_dim
    return embeddings + shape.layers * shape.hidden_size * (attention + 3 * shape.feed_forward)


def _stored(folder: str | Path) -> float:
    """Weights in a model folder, of 2 bytes: one stored in float32 counts as two."""
    with os.scandir(folder) as files:
        return sum(file.stat().st_size for file in files if file.name.endswith(".safetensors")) / 2


def _megabytes(size: float) -> int:
    return PROCESS_MB + round(size / 1e6)
