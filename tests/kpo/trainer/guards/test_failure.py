"""A failure keeps what is needed to look at it, and its error says how."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import pytest
import torch

from kpo.distributed.ranks import Ranks
from kpo.distributed.sharding import shard
from kpo.objective import TokenBatch
from kpo.trainer.guards.failure import (
    FailedResponse,
    NonFiniteError,
    load_failed_weights,
    load_failure,
    save_failure,
)
from tests.kpo.models import tiny_policy
from tests.kpo.processes import on_ranks


def failed(count: int = 2, first: float = 0.0) -> list[FailedResponse]:
    """Responses whose tensors differ from one another, with a NaN."""
    return [
        FailedResponse(
            prompt_id=f"p{i}",
            prompt=[1, 2 + i],
            tokens=[3, 4, 5 + i],
            batch=TokenBatch(
                logprobs=torch.tensor([[1.0, 2.0, 3.0 + i]]).requires_grad_(),
                old_logprobs=torch.tensor([[first, math.nan, 4.0 + i]]),
                advantages=torch.tensor([float(i)]),
                mask=torch.ones(1, 3, dtype=torch.bool),
            ),
        )
        for i in range(count)
    ]


def same(a: Sequence[FailedResponse], b: Sequence[FailedResponse]) -> bool:
    return all(
        (x.prompt_id, x.prompt, x.tokens) == (y.prompt_id, y.prompt, y.tokens)
        and all(
            torch.equal(getattr(x.batch, name).nan_to_num(9), getattr(y.batch, name).nan_to_num(9))
            for name in TokenBatch.__dataclass_fields__
        )
        for x, y in zip(a, b, strict=True)
    )


def test_what_is_saved_comes_back(tmp_path: Path) -> None:
    policy, responses = tiny_policy(seed=1), failed()
    settings = {"train": {"lr": 0.1}}
    path = save_failure(
        tmp_path, responses, step=12, what="loss", model=policy.model, settings=settings
    )
    assert path == tmp_path / "failure-step-000012"
    assert {p.suffix for p in path.iterdir()} == {".json", ".safetensors"}
    failure = load_failure(path)
    assert (failure.step, failure.what, failure.settings) == (12, "loss", settings)
    assert same(failure.responses, responses)
    fresh = tiny_policy(seed=2)
    load_failed_weights(fresh.model, failure)
    weights = [list(p.model.parameters()) for p in (policy, fresh)]
    assert all(torch.equal(a, b) for a, b in zip(*weights, strict=True))


def test_a_later_failure_of_the_step_replaces_the_earlier(tmp_path: Path) -> None:
    for count in (2, 3):
        path = save_failure(
            tmp_path, failed(count), step=1, what="x", model=tiny_policy().model, settings={}
        )
    assert len(load_failure(path).responses) == 3


def test_weights_of_another_model_are_refused(tmp_path: Path) -> None:
    path = save_failure(
        tmp_path, failed(), step=1, what="x", model=tiny_policy("llama").model, settings={}
    )
    with pytest.raises(ValueError, match="another model than the base policy"):
        load_failed_weights(tiny_policy("qwen3").model, load_failure(path))


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
    own = failed(2 + ranks.rank, first=ranks.rank)
    return save_failure(
        folder, own, step=1, what="ratio", model=policy.model, settings={}, ranks=ranks
    )


@pytest.mark.slow
def test_ranks_save_one_model_and_their_responses(tmp_path: Path) -> None:
    path, _ = on_ranks(2, save_sharded_failure, tmp_path)
    failure = load_failure(path)
    assert same(failure.responses, [*failed(2), *failed(3, first=1)])
    fresh, policy = tiny_policy(seed=2), tiny_policy(seed=1)
    load_failed_weights(fresh.model, failure)
    weights = [list(p.model.parameters()) for p in (policy, fresh)]
    assert all(torch.equal(a, b) for a, b in zip(*weights, strict=True))
