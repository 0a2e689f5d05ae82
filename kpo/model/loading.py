"""A policy from a model folder, tried before it is used."""

from __future__ import annotations

from pathlib import Path

import torch

from kpo.model.agreement import check_agreement
from kpo.model.files import naming, read_model
from kpo.model.policy import Policy, load_tokenizer


def load_policy(
    path: Path,
    *,
    dtype: str = "float32",
    device: str | torch.device = "cpu",
    longest: int | None = None,
) -> Policy:
    """Load a model folder and compare what is computed from it with its own forward pass.

    Args:
        path: a folder in Hugging Face format.
        dtype: of the weights, or `auto`: as they are stored.
        device: where to put them.
        longest: tokens of the longest sequence that will be used; None: as long as the model can.

    Raises ModelError for a model that cannot be loaded or serve.
    """
    with naming(path):
        tokenizer, eos = load_tokenizer(path)
        policy = Policy(read_model(path, dtype=dtype).to(device), tokenizer, eos)
        check_agreement(policy, longest)
    return policy
