"""Weights over ranks: what is saved of them is the whole model, as a user will load it."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from transformers import GenerationConfig

from kpo.distributed.ranks import Ranks
from kpo.distributed.sharding import save_sharded, shard
from kpo.model.loading import load_policy
from tests.kpo.models import unusual_policy
from tests.kpo.processes import on_ranks


def save(ranks: Ranks, folder: Path, dtype: str) -> tuple[set[torch.dtype], bool]:
    """Dtypes of this rank's masters, and whether it holds a part only."""
    policy = unusual_policy("qwen3", tied=True)
    whole = sum(p.numel() for p in policy.model.parameters())
    policy.model.to(getattr(torch, dtype))  # as a base is stored
    policy = shard(policy, ranks, dtype)
    save_sharded(policy, folder, ranks, dtype)
    parts = [p.to_local() for p in policy.model.parameters()]
    return {p.dtype for p in parts}, sum(p.numel() for p in parts) < whole


@pytest.mark.slow
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_a_sharded_model_is_saved_whole_with_both_its_end_tokens(
    tmp_path: Path, dtype: str
) -> None:
    found = on_ranks(2, save, tmp_path, dtype)
    assert found == [({torch.float32}, True)] * 2  # masters are wider than the base
    assert GenerationConfig.from_pretrained(tmp_path).eos_token_id == [1, 7]
    saved, made = load_policy(tmp_path, dtype="auto"), unusual_policy("qwen3", tied=True)
    assert saved.eos == made.eos == {1, 7}
    assert saved.model.config.tie_word_embeddings
    expected = made.model.to(getattr(torch, dtype)).state_dict()
    for name, weight in saved.model.state_dict().items():
        assert torch.equal(weight, expected[name]), name
