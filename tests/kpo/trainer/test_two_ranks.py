"""A step on two ranks, one after the other in this process: shares, scales, merged metrics."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeVar

import pytest
import torch
from torch import Tensor

from kpo.distributed.ranks import ALONE, Ranks
from kpo.model.policy import Policy
from kpo.registry import make_objective
from kpo.trainer.batch import Rollouts
from kpo.trainer.step import StepMetrics, Updater
from tests.kpo.models import tiny_policy
from tests.kpo.trainer.rollouts import rollouts

T = TypeVar("T")
GRPO = make_objective("grpo")
ROWS = [0, 1, 2, 9, 10, 11]


@dataclass(frozen=True)
class Apart(Ranks):
    """A rank that meets no other."""

    def gather(self, item: T) -> list[T]:
        return [item] * self.size


class Kept(torch.optim.SGD):
    """Keeps the gradients of its steps."""

    def step(self, closure: object = None) -> None:  # type: ignore[override]
        weights = self.param_groups[0]["params"]
        self.gradients = torch.cat([p.grad.flatten().clone() for p in weights])


def stepped(policy: Policy, made: Rollouts, ranks: Ranks) -> tuple[Tensor, StepMetrics]:
    """The gradient of one rank, and what it saw in two updates."""
    metrics = StepMetrics()
    optimizer = Kept(policy.model.parameters(), lr=1.0)
    updater = Updater(policy, optimizer, GRPO, 30, torch.inf, ranks=ranks)
    for _ in range(2):
        updater.update(made, ROWS, metrics)
        assert all(p.grad is None for p in policy.model.parameters())  # rollouts need the memory
    assert metrics.updates == 2
    return optimizer.gradients, metrics


def test_the_mean_of_two_ranks_gradients_is_that_of_one() -> None:
    policy = tiny_policy()
    policy.model.double()
    made = rollouts(policy)
    whole, alone = stepped(policy, made, ALONE)
    (first, metrics), (second, others) = (stepped(policy, made, Apart(i, 2)) for i in range(2))
    assert not torch.allclose(first, second)
    torch.testing.assert_close((first + second) / 2, whole, rtol=0, atol=1e-9)
    norms = [float(gradient.norm()) for gradient in (first, second)]
    assert metrics.summary()["grad_norm"] == pytest.approx(norms[0])  # a mean over its updates
    metrics.merge([others])
    found, expected = metrics.summary(), alone.summary()
    assert found.pop("grad_norm") == pytest.approx(sum(norms) / 2)  # FSDP gives all ranks one
    expected.pop("grad_norm")
    assert set(found) == set(expected)
    for name in ("loss", "clip_fraction", "ratio_raw_q50", "kl_old"):
        assert found[name] == pytest.approx(expected[name], abs=1e-6), name
    assert metrics.sums["loss"][1] == alone.sums["loss"][1] == 2 * len(ROWS)
