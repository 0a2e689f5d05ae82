"""Ranks of several nodes: who is where, what each holds, and what all must see."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from kpo.common.cli import UserError
from kpo.distributed.ranks import ALONE, Ranks, check_shared, join
from kpo.distributed.sharding import full, shard
from kpo.model.policy import response_logprobs
from kpo.trainer.state.checkpoint import Checkpoints
from tests.kpo.models import tiny_policy
from tests.kpo.processes import on_ranks

NAMES = "WORLD_SIZE", "LOCAL_WORLD_SIZE", "RANK", "LOCAL_RANK", "GROUP_RANK"


@pytest.mark.parametrize(
    ("told", "said"),
    [
        (("2", "2", "1", "1", "0"), "each of 2 nodes, but there is 2: .*kpo.nodes 2 2 -m"),
        (("4", "4", "1", "1", "0"), "but process 1 is one of 4 on its node"),  # one machine
        (("4", "2", "1", "0", "1"), "but process 1 is one of 2 on its node"),  # in turn
    ],
)
def test_ranks_that_were_not_started_node_by_node(
    told: tuple[str, ...], said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in zip(NAMES, told, strict=True):
        monkeypatch.setenv(name, value)
    with pytest.raises(UserError, match=said):
        join(gpus=0, ranks=2, nodes=2, stall_s=1.0)


def seen(ranks: Ranks, folder: Path, own: str) -> str:
    """What is said of a folder that each node has for itself, under a name that stands for both."""
    place = folder / (own.format(rank=ranks.rank))
    place.mkdir(exist_ok=True)
    try:
        check_shared(place, replace(ranks, nodes=2))
    except UserError as error:
        return str(error)
    return "seen"


@pytest.mark.slow
def test_a_folder_that_is_not_shared_is_refused_on_every_node(tmp_path: Path) -> None:
    assert on_ranks(2, seen, tmp_path, "both") == ["seen"] * 2
    assert not list((tmp_path / "both").iterdir())
    said = on_ranks(2, seen, tmp_path, "only-{rank}")
    assert all("is not the same folder on all nodes" in sentence for sentence in said)


def trained(ranks: Ranks, folder: Path) -> tuple[float, list[torch.Tensor], float]:
    """A gradient's norm, weights after a step and a checkpoint, and the share that one holds."""
    torch.set_num_threads(1)
    ranks = replace(ranks, nodes=max(1, ranks.size // 2))
    policy = shard(tiny_policy(seed=3), ranks, "float32")
    optimizer = torch.optim.AdamW(policy.model.parameters(), lr=1e-2)
    mine = ranks.share(range(4))
    logprobs, _, mask = response_logprobs(
        policy, [[5, 6, 7]] * len(mine), [[8 + i, 9, 10, 11] for i in mine]
    )
    (logprobs[mask].sum() * ranks.size / 16).backward()
    norm = full(torch.nn.utils.clip_grad_norm_(policy.model.parameters(), 1e9))
    optimizer.step()
    checkpoints, weights = Checkpoints(folder, {}, ranks), dict(policy.model.named_parameters())
    checkpoints.save(1, weights, {})
    stepped = [full(weight).clone() for weight in weights.values()]
    with torch.no_grad():
        for weight in weights.values():
            weight.zero_()
    checkpoints.restore(weights)
    restored = [full(weight).clone() for weight in weights.values()]
    assert all(map(torch.equal, stepped, restored))
    held = sum(w.to_local().numel() if ranks.size > 1 else w.numel() for w in weights.values())
    return float(norm), restored, held / sum(weight.numel() for weight in stepped)


@pytest.mark.slow
def test_weights_lie_over_the_ranks_of_a_node_and_gradients_are_the_mean_over_all(
    tmp_path: Path,
) -> None:
    norm, weights, _ = trained(ALONE, tmp_path / "one")
    for found, theirs, held in on_ranks(4, trained, tmp_path / "four"):
        assert found == pytest.approx(norm, rel=1e-5)
        assert 0.4 < held < 0.6
        for a, b in zip(weights, theirs, strict=True):
            torch.testing.assert_close(b, a, rtol=0, atol=1e-5)
