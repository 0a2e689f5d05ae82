"""A failure keeps what is needed to look at it, and its error says how."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from kpo.distributed.ranks import Ranks
from kpo.distributed.sharding import shard
from kpo.objective import TokenBatch
from kpo.trainer.guards.failure import (
    FailedBatch,
    NonFiniteError,
    load_failed_weights,
    load_failure,
    save_failure,
)
from tests.kpo.models import tiny_policy
from tests.kpo.processes import on_ranks


def failed_batch(rows: int = 2, first: float = 0.0) -> FailedBatch:
    """A batch whose tensors differ from one another, with a NaN."""
    values = torch.arange(rows * 3.0).view(rows, 3) + first
    old = values + 0.5
    old[0, 1] = torch.nan
    mask = torch.ones(rows, 3, dtype=torch.bool)
    return FailedBatch(
        prompt_ids=[f"p{i}" for i in range(rows)],
        prompts=[[1, 2 + i] for i in range(rows)],
        responses=[[3, 4, 5 + i] for i in range(rows)],
        batch=TokenBatch(values.requires_grad_(), old, torch.arange(rows * 1.0), mask),
    )


def same(a: FailedBatch, b: FailedBatch) -> bool:
    lists = [(f.prompt_ids, f.prompts, f.responses) for f in (a, b)]
    tensors = TokenBatch.__dataclass_fields__
    return lists[0] == lists[1] and all(
        torch.equal(getattr(a.batch, name).nan_to_num(9), getattr(b.batch, name).nan_to_num(9))
        for name in tensors
    )


def test_what_is_saved_comes_back(tmp_path: Path) -> None:
    policy, failed = tiny_policy(seed=1), failed_batch()
    settings = {"train": {"lr": 0.1}}
    path = save_failure(
        tmp_path, failed, step=12, what="loss", model=policy.model, settings=settings
    )
    assert path == tmp_path / "failure-step-000012"
    assert {p.suffix for p in path.iterdir()} == {".json", ".safetensors"}
    failure = load_failure(path)
    assert (failure.step, failure.what, failure.settings) == (12, "loss", settings)
    assert len(failure.batches) == 1
    assert same(failure.batches[0], failed)
    fresh = tiny_policy(seed=2)
    load_failed_weights(fresh.model, failure)
    weights = [list(p.model.parameters()) for p in (policy, fresh)]
    assert all(torch.equal(a, b) for a, b in zip(*weights, strict=True))


def test_a_later_failure_of_the_step_replaces_the_earlier(tmp_path: Path) -> None:
    for rows in (2, 3):
        path = save_failure(
            tmp_path, failed_batch(rows), step=1, what="x", model=tiny_policy().model, settings={}
        )
    assert len(load_failure(path).batches[0].responses) == 3


def test_weights_of_another_model_are_refused(tmp_path: Path) -> None:
    path = save_failure(
        tmp_path, failed_batch(), step=1, what="x", model=tiny_policy("llama").model, settings={}
    )
    with pytest.raises(ValueError, match="another model than the base policy"):
        load_failed_weights(tiny_policy("qwen3").model, load_failure(path))


def test_rows_without_a_prompt_are_refused() -> None:
    failed = failed_batch()
    with pytest.raises(ValueError, match=r"each of the batch's 2 rows, got 1, 2, 2"):
        FailedBatch(["a"], failed.prompts, failed.responses, failed.batch)


def test_the_error_says_what_where_and_how_to_look_at_it() -> None:
    error = NonFiniteError(3, "gradient", ["a", "b", "a"], Path("out/failure-step-000003"))
    assert str(error) == (
        "step 3: the gradient is not finite in a batch of the prompts a, b; to see where, run"
        " python -m kpo.replay --failure out/failure-step-000003 with the run's --config, --method"
        " and --base"
    )
    many = NonFiniteError(3, "loss", [f"p{i}" for i in range(10)], Path("x"))
    assert "p7 and 2 more;" in str(many)


def save_sharded_failure(ranks: Ranks, folder: Path) -> Path:
    policy = shard(tiny_policy(seed=1), ranks, "float32")
    failed = failed_batch(2 + ranks.rank, first=ranks.rank)
    return save_failure(
        folder, failed, step=1, what="ratio", model=policy.model, settings={}, ranks=ranks
    )


@pytest.mark.slow
def test_ranks_save_one_model_and_a_batch_each(tmp_path: Path) -> None:
    path, _ = on_ranks(2, save_sharded_failure, tmp_path)
    failure = load_failure(path)
    assert len(failure.batches) == 2
    assert same(failure.batches[1], failed_batch(3, first=1))
    fresh, policy = tiny_policy(seed=2), tiny_policy(seed=1)
    load_failed_weights(fresh.model, failure)
    weights = [list(p.model.parameters()) for p in (policy, fresh)]
    assert all(torch.equal(a, b) for a, b in zip(*weights, strict=True))
