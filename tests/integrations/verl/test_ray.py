"""Two workers of a local Ray compute an objective on their shards: the whole batch's gradient."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from kpo.objective import denominator
from kpo.registry import make_objective

pytest.importorskip("verl", reason="verl's environment runs these: make test-integrations")
import ray

from tests.integrations.verl.shards import ROWS, gradient, table_and_batch

pytestmark = pytest.mark.slow
REPO = Path(__file__).parents[3]
RANKS = [
    [[3, 17, 0, 5, 9], [1], [22, 20, 4, 6, 7, 8]],
    [[2, 10, 11, 12, 13, 14, 15], [16, 18, 19, 21, 23]],
]
"""Rows of each rank's micro-batches."""
CASES: dict[str, tuple[dict[str, Any], str]] = {
    "kpo": ({"q": 1e-2, "clip_low": 0.1, "clip_high": 0.1}, "seq-mean-token-mean"),
    "dapo": ({}, "token-mean"),
    "dr_grpo": ({"length": 40}, "seq-mean-token-sum-norm"),
}


@pytest.fixture(scope="module")
def cluster() -> Iterator[None]:
    environment = {"PYTHONPATH": str(REPO), "OMP_NUM_THREADS": "1"}
    ray.init("local", num_cpus=2, include_dashboard=False, runtime_env={"env_vars": environment})
    yield
    ray.shutdown()


def actor(name: str, settings: dict[str, Any], mean: str) -> dict[str, Any]:
    return {
        "_target_": "verl.workers.config.FSDPActorConfig",
        "rollout_n": 1,
        "use_dynamic_bsz": True,
        "loss_agg_mode": mean,
        "loss_scale_factor": settings.get("length"),
        "policy_loss": {
            "_target_": "kpo.integrations.verl.PolicyLoss",
            "loss_mode": f"kpo_{name}",
            "settings": settings,
        },
    }


@pytest.mark.parametrize("name", CASES)
def test_two_workers_have_the_gradient_of_the_whole_batch(cluster: None, name: str) -> None:
    settings, mean = CASES[name]
    work = ray.remote(num_cpus=1)(gradient)
    config = actor(name, settings, mean)
    parts = ray.get([work.remote(config, rows, len(RANKS)) for rows in RANKS], timeout=300)

    objective = make_objective(name, **settings)
    table, batch = table_and_batch()
    lengths = [max(n, 1) for n in batch.mask.sum(1).tolist()]  # verl counts empty responses
    size = batch.mask.sum() if mean == "token-mean" else denominator(objective, lengths)
    loss = objective(batch).loss / size
    (whole,) = torch.autograd.grad(loss, table)
    assert sorted(row for rank in RANKS for rows in rank for row in rows) == list(range(ROWS))
    assert sum(part[0] for part in parts) / len(RANKS) == pytest.approx(loss.item(), rel=1e-9)
    torch.testing.assert_close((parts[0][1] + parts[1][1]) / len(RANKS), whole)
    assert float(whole.norm()) > 1e-4
