"""An estimator's gradient is the one that the trainer would follow."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor

from kpo.estimators.gradients import OnPolicy, gradients
from kpo.model.policy import Policy
from kpo.objective import Objective, divides_by_std, mean_over
from kpo.registry import OBJECTIVES, make_objective
from kpo.trainer.batch import Rollouts
from kpo.trainer.step import StepMetrics, Updater
from tests.kpo.models import tiny_policy
from tests.kpo.trainer.rollouts import rollouts

ROWS = [0, 1, 2, 9, 10, 11]
NEEDED: dict[str, dict[str, Any]] = {"kpo": {"q": 1e-2}, "dr_grpo": {"length": 16}}
METHODS = {name: make_objective(name, **NEEDED.get(name, {})) for name in OBJECTIVES}


def updater_of(policy: Policy, objective: Objective = METHODS["grpo"]) -> Updater:
    """An updater that moves nothing."""
    optimizer = torch.optim.SGD(policy.model.parameters(), lr=0.0)
    return Updater(policy, optimizer, objective, 30, math.inf)


def followed(policy: Policy, objective: Objective, made: Rollouts) -> tuple[Tensor, StepMetrics]:
    """The gradient that the trainer gives its optimizer, and the step's metrics."""
    updater, metrics, seen = updater_of(policy, objective), StepMetrics(), list[Tensor]()

    def see(*_: Any) -> None:
        gradients = (weight.grad for weight in policy.model.parameters())
        seen.append(torch.cat([gradient.flatten() for gradient in gradients]))

    updater.optimizer.register_step_pre_hook(see)
    updater.update(made, ROWS, metrics)
    return seen[0], metrics


def move(policy: Policy, scale: float = 0.005) -> None:
    """As an update or so does: ratios are no longer 1."""
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for weight in policy.model.parameters():
            noise = torch.randn(weight.shape, generator=generator)
            weight.add_(noise.to(weight.dtype), alpha=scale)


def off_policy() -> tuple[Policy, Rollouts]:
    policy = tiny_policy()
    made = rollouts(policy)
    move(policy)
    return policy, made


def test_gradients_and_clips_are_the_trainers_own() -> None:
    """To the last bit, for all objectives together, in several micro-batches."""
    policy, made = off_policy()
    found, clipped = gradients(updater_of(policy), list(METHODS.values()), made, ROWS)
    for i, (name, objective) in enumerate(METHODS.items()):
        gradient, metrics = followed(policy, objective, made)
        assert torch.equal(found[i], gradient), name
        if "clip_fraction" in metrics.sums:
            assert float(clipped[i]) == metrics.summary()["clip_fraction"], name
    assert len({float(gradient.norm()) for gradient in found}) > 8  # they do differ


def test_on_policy_all_estimate_the_same() -> None:
    """Each is the gradient of REINFORCE with its advantages and its mean."""
    policy = tiny_policy()
    policy.model.double()
    made = rollouts(policy)
    truths = [OnPolicy.of(objective) for objective in METHODS.values()]
    assert len(set(truths)) == 3
    found, clipped = gradients(updater_of(policy), [*METHODS.values(), *truths], made, ROWS)
    for name, own, true in zip(METHODS, found, found[len(METHODS) :], strict=False):
        assert float(true.norm()) > 1e-2
        torch.testing.assert_close(own, true, rtol=0, atol=1e-6 * float(true.abs().max()))
        assert not torch.equal(own, torch.zeros_like(own)), name
    assert not clipped.any()


@pytest.mark.parametrize("name", METHODS)
def test_the_truth_takes_advantages_and_mean_of_its_objective(name: str) -> None:
    objective, truth = METHODS[name], OnPolicy.of(METHODS[name])
    assert mean_over(truth) == mean_over(objective)
    assert divides_by_std(truth) == divides_by_std(objective)
