"""Several ranks, half precision and activation checkpointing: the run of one rank in float32."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from kpo.common.cli import UserError
from kpo.distributed.ranks import Ranks, join
from kpo.distributed.sharding import full, shard
from kpo.model.loading import load_policy
from kpo.model.policy import response_logprobs
from tests.kpo.means import MEANS
from tests.kpo.models import tiny_policy
from tests.kpo.processes import on_ranks
from tests.kpo.trainer.runs import metrics
from tests.kpo.trainer.sharded_run import train

pytestmark = pytest.mark.slow


def run(folder: Path, ranks: int, **settings: Any) -> list[dict[str, float]]:
    """Train on so many ranks; the metrics, a step each."""
    folder.mkdir(exist_ok=True)
    on_ranks(ranks, train, folder, settings)
    return metrics(folder)


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("alone")
    run(folder, ranks=1)
    return folder


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return dict(load_policy(folder / "model").model.named_parameters())


def test_two_ranks_with_checkpointing_train_as_one(alone: Path, tmp_path: Path) -> None:
    two = run(tmp_path, ranks=2, activation_checkpointing=True, max_tokens_per_microbatch=60)
    one = metrics(alone)
    assert any(abs(step["loss"]) > 1e-4 for step in one)
    for a, b in zip(one, two, strict=True):
        for name in ("loss", "reward", "response_tokens", "entropy", "clip_fraction", "grad_norm"):
            assert b[name] == pytest.approx(a[name], rel=1e-5, abs=1e-5), name
    there, here = weights(alone), weights(tmp_path)
    for name, weight in there.items():
        torch.testing.assert_close(here[name], weight, rtol=0, atol=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize("objective", MEANS)
def test_whatever_its_mean_is_over_two_ranks_train_as_one(objective: str, tmp_path: Path) -> None:
    folders = [tmp_path / name for name in ("one", "two")]
    one, two = (
        run(folder, ranks=ranks, objective=objective, steps=2, max_tokens_per_microbatch=60)
        for ranks, folder in enumerate(folders, 1)
    )
    assert any(abs(step["loss"]) > 1e-4 for step in one)
    for a, b in zip(one, two, strict=True):
        for name in ("loss", "reward", "grad_norm", "clip_fraction"):
            assert b[name] == pytest.approx(a[name], rel=1e-5, abs=1e-5), name
    there, here = map(weights, folders)
    for name, weight in there.items():
        torch.testing.assert_close(here[name], weight, rtol=0, atol=1e-4)


def test_half_precision_computes_in_half_and_keeps_float32_masters(
    alone: Path, tmp_path: Path
) -> None:
    half = run(tmp_path, ranks=2, dtype="bfloat16")
    gaps = [step["logprob_mismatch_mean"] for step in half]
    assert all(1e-4 < gap < 0.05 for gap in gaps)  # float32 would be below 1e-5
    assert half[0]["grad_norm"] == pytest.approx(metrics(alone)[0]["grad_norm"], rel=0.05)
    assert all(step["loss"] != 0 for step in half[1:])
    assert (tmp_path / "masters-1").read_text() == "torch.float32"
    stored = json.loads((tmp_path / "model" / "config.json").read_text())["dtype"]
    assert stored == "bfloat16"


def test_ranks_that_nothing_started(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    with pytest.raises(UserError, match=r"trains with 2 processes, but there is 1.*kpo.launch 2"):
        join(gpus=0, ranks=2, stall_s=1.0)
    monkeypatch.setenv("WORLD_SIZE", "3")
    with pytest.raises(UserError, match="with 1 processes, but there is 3"):
        join(gpus=0, ranks=1, stall_s=1.0)


@pytest.mark.parametrize("size", [1, 2, 3, 5, 7])
def test_shares_are_even_and_in_order(size: int) -> None:
    shares = [Ranks(rank, size).share(range(16)) for rank in range(size)]
    assert [i for share in shares for i in share] == list(range(16))
    assert max(map(len, shares)) - min(map(len, shares)) <= 1


def reduced(ranks: Ranks) -> tuple[set[str], float]:
    """The masters' dtypes of a base stored in bf16, and how many gradients bf16 could not hold."""
    torch.set_num_threads(1)
    policy = tiny_policy(seed=3)
    policy.model.to(torch.bfloat16)
    sharded = shard(policy, ranks, "bfloat16")
    logprobs, _, mask = response_logprobs(sharded, [[5, 6, 7]] * 2, [[8, 9, 10, 11]] * 2)
    scale = 2.0**-10 if ranks.rank else 1.0  # exact in bf16; the mean of both is not
    (logprobs[mask].sum() * scale).backward()
    masters = {str(parameter.dtype) for parameter in sharded.model.parameters()}
    gradients = [full(p.grad) for p in sharded.model.parameters() if p.grad is not None]
    flat = torch.cat([gradient.flatten() for gradient in gradients])
    flat = flat[flat != 0]
    return masters, float((flat.bfloat16().float() != flat).float().mean())


def test_a_base_stored_in_half_is_widened_and_its_gradients_are_reduced_in_float32() -> None:
    for masters, wider in on_ranks(2, reduced):
        assert masters == {"torch.float32"}
        assert wider > 0.9
