"""One optimizer step: the gradient of the whole mini-batch, however it is cut."""

import copy
import math
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from kpo.advantage import group_advantages
from kpo.diagnostics import RatioStatistics
from kpo.model.policy import Policy
from kpo.objective import Objective, TokenBatch
from kpo.registry import make_objective
from kpo.trainer.batch import Rollouts
from kpo.trainer.step import StepMetrics, Updater
from tests.kpo.means import MEANS
from tests.kpo.model.scored import plain
from tests.kpo.models import tiny_policy
from tests.kpo.trainer.rollouts import rollouts

ROWS = [0, 1, 2, 9, 10, 11]
LR = 0.5
OBJECTIVES = {
    "grpo": make_objective("grpo"),
    "gmpo": make_objective("gmpo"),
    "dr_grpo": make_objective("dr_grpo", length=16),
    "kpo": make_objective("kpo", q=1e-2, clip_low=0.05, clip_high=0.05),
    **MEANS,
}


def flat(policy: Policy) -> Tensor:
    return torch.cat([p.detach().flatten() for p in policy.model.parameters()])


def double_policy() -> Policy:
    """In float64, so that rounding does not hide a difference."""
    policy = tiny_policy()
    policy.model.double()
    return policy


def step(
    policy: Policy,
    made: Rollouts,
    objective: Objective,
    *,
    rows: list[int] | None = None,
    budget: int = 1000,
    clip_norm: float = math.inf,
    importance_cap: float | None = None,
) -> tuple[Tensor, StepMetrics]:
    """The gradient that a step of plain gradient descent took, and the step's metrics."""
    before, metrics = flat(policy), StepMetrics()
    optimizer = torch.optim.SGD(policy.model.parameters(), lr=LR)
    updater = Updater(policy, optimizer, objective, budget, clip_norm, importance_cap)
    updater.update(made, rows or ROWS, metrics)
    return (before - flat(policy)) / LR, metrics


def moved(policy: Policy) -> Policy:
    """The policy after an update or so: ratios are no longer 1."""
    other = Policy(copy.deepcopy(policy.model), policy.tokenizer, policy.eos)
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for p in other.model.parameters():
            p.add_(torch.randn(p.shape, generator=generator, dtype=p.dtype), alpha=0.005)
    return other


def assert_close(found: Tensor, expected: Tensor, relative: float) -> None:
    torch.testing.assert_close(found, expected, rtol=0, atol=relative * float(expected.abs().max()))


@pytest.mark.parametrize("budget", [1, 20, 30])
@pytest.mark.parametrize("name", OBJECTIVES)
def test_the_gradient_does_not_depend_on_the_micro_batch(name: str, budget: int) -> None:
    policy = double_policy()
    made = rollouts(policy)
    whole, metrics = step(moved(policy), made, OBJECTIVES[name])
    parts, part_metrics = step(moved(policy), made, OBJECTIVES[name], budget=budget)
    assert float(whole.abs().max()) > 1e-3
    assert_close(parts, whole, 1e-6)
    for key in ("loss", "clip_fraction", "grad_norm"):
        assert part_metrics.summary()[key] == pytest.approx(metrics.summary()[key], 1e-5, 1e-6)


@pytest.mark.parametrize("name", ["grpo", "token-mean", "constant-length", "dr_grpo"])
def test_on_policy_the_step_is_the_mean_policy_gradient(name: str) -> None:
    """-sum_i A_i sum_t w_i grad log pi, from the model's full logits, a response at a time.

    w_i is 1/N 1/T_i, 1/(sum of T_j), or 1/N 1/L.
    """
    policy = double_policy()
    made = rollouts(policy)
    loss = torch.zeros(())
    lengths = [len(made.responses[row].tokens) for row in ROWS]
    assert len(set(lengths)) > 1
    count = {"grpo": len(ROWS), "token-mean": sum(lengths)}.get(name, 16 * len(ROWS))
    advantages = group_advantages(made.rewards)
    if name == "dr_grpo":
        advantages = made.rewards - made.rewards.mean(1, keepdim=True)
    for row in ROWS:
        response = made.responses[row].tokens
        full = plain(policy, made.prompts[row // made.group].tokens, response)
        logprobs = full.gather(1, torch.tensor(response)[:, None])
        gain = logprobs.mean() if name == "grpo" else logprobs.sum()
        loss = loss - advantages.flatten()[row] * gain / count
    gradients = torch.autograd.grad(loss, list(policy.model.parameters()))
    expected = torch.cat([gradient.flatten() for gradient in gradients])
    found, metrics = step(policy, made, OBJECTIVES[name], budget=30)
    assert_close(found, expected, 1e-5)
    assert metrics.summary()["grad_norm"] == pytest.approx(float(expected.norm()), rel=1e-5)
    assert metrics.sums["loss"][1] == count


def test_twice_the_responses_are_not_twice_the_gradient() -> None:
    policy = double_policy()
    made = rollouts(policy)
    once, _ = step(moved(policy), made, OBJECTIVES["grpo"])
    twice, _ = step(moved(policy), made, OBJECTIVES["grpo"], rows=ROWS * 2, budget=35)
    assert_close(twice, once, 1e-6)


def test_nothing_is_left_over_from_the_step_before() -> None:
    policy = double_policy()
    made = rollouts(policy)
    fresh, _ = step(moved(policy), made, OBJECTIVES["grpo"])
    used = moved(policy)
    for parameter in used.model.parameters():
        parameter.grad = torch.ones_like(parameter)
    again, _ = step(used, made, OBJECTIVES["grpo"])
    assert torch.equal(again, fresh)


@pytest.mark.parametrize("share", [0.1, 0.5, 2.0])
def test_the_gradient_is_clipped_to_a_norm(share: float) -> None:
    policy = double_policy()
    made = rollouts(policy)
    whole, _ = step(moved(policy), made, OBJECTIVES["grpo"])
    norm = float(whole.norm())
    clipped, metrics = step(moved(policy), made, OBJECTIVES["grpo"], clip_norm=share * norm)
    assert metrics.summary()["grad_norm"] == pytest.approx(norm, rel=1e-5)  # as it was
    assert_close(clipped, whole * min(1.0, share), 1e-5)


CAP = 1.7


def from_another_engine(policy: Policy) -> Rollouts:
    """Rollouts whose sampling probabilities are up to a few times the trainer's, or less."""
    made = rollouts(policy)
    noise = torch.randn(made.old_logprobs.shape, generator=torch.Generator().manual_seed(0))
    return replace(made, sampled_logprobs=made.old_logprobs + noise)


def importance(made: Rollouts, row: int) -> Tensor:
    """pi_old / pi_rollout of a response's tokens, by which each token's gradient is weighted."""
    tokens = len(made.responses[row].tokens)
    return (made.old_logprobs[row, :tokens] - made.sampled_logprobs[row, :tokens]).exp()


def test_truncated_importance_weighs_each_tokens_policy_gradient() -> None:
    """-1/N sum_i A_i mean_t min(pi_old / pi_rollout, C) grad log pi, a response at a time."""
    policy = double_policy()
    made = from_another_engine(policy)
    loss = torch.zeros(())
    for row in ROWS:
        response = made.responses[row].tokens
        weights = importance(made, row)
        full = plain(policy, made.prompts[row // made.group].tokens, response)
        logprobs = full.gather(1, torch.tensor(response)[:, None]).squeeze(1)
        weighted = (weights.clamp(max=CAP) * logprobs).mean()
        loss = loss - group_advantages(made.rewards).flatten()[row] * weighted / len(ROWS)
    seen = torch.cat([importance(made, row) for row in ROWS])
    assert float(seen.min()) < 1 < CAP < float(seen.max())  # some below 1, some above the cap
    gradients = torch.autograd.grad(loss, list(policy.model.parameters()))
    expected = torch.cat([gradient.flatten() for gradient in gradients])
    found, _ = step(policy, made, OBJECTIVES["grpo"], budget=30, importance_cap=CAP)
    assert_close(found, expected, 1e-5)


@pytest.mark.parametrize("name", OBJECTIVES)
def test_truncated_importance_changes_gradients_and_no_value(name: str) -> None:
    policy = double_policy()
    made = from_another_engine(policy)
    plain_gradient, plain_metrics = step(moved(policy), made, OBJECTIVES[name])
    lowest = float(torch.cat([importance(made, row) for row in ROWS]).min())
    # Below every token's weight the cap is the weight of all.
    found, metrics = step(moved(policy), made, OBJECTIVES[name], importance_cap=lowest / 2)
    assert_close(found, plain_gradient * lowest / 2, 1e-6)
    weighted, _ = step(moved(policy), made, OBJECTIVES[name], importance_cap=CAP)
    assert float((weighted - plain_gradient).norm()) > 0.1 * float(plain_gradient.norm())
    unchanged = set(plain_metrics.summary()) - {"grad_norm"}
    assert {"loss", "clip_fraction"} <= unchanged
    for key in unchanged:
        assert metrics.summary()[key] == pytest.approx(plain_metrics.summary()[key], 1e-9), key


def test_the_objectives_view_has_each_responses_own_numbers() -> None:
    policy = tiny_policy()
    made = rollouts(policy)
    rows = [10, 1, 8]
    optimizer = torch.optim.SGD(policy.model.parameters(), lr=LR)
    batch = Updater(policy, optimizer, OBJECTIVES["grpo"], 1000, 1.0).forward(made, rows)
    assert isinstance(batch, TokenBatch)
    width = max(len(made.responses[row].tokens) for row in rows)
    assert batch.mask.shape == (3, width)
    assert torch.equal(batch.old_logprobs, made.old_logprobs[rows, :width])
    assert torch.equal(batch.advantages, group_advantages(made.rewards).flatten()[rows])
    assert torch.equal(batch.mask, made.mask[rows, :width])
    torch.testing.assert_close(
        batch.logprobs[batch.mask], batch.old_logprobs[batch.mask], rtol=0, atol=2e-5
    )


def test_metrics_are_means_over_all_that_was_added() -> None:
    metrics = StepMetrics(ratios=RatioStatistics(seed=1))
    metrics.add("a", torch.tensor(3.0), torch.tensor(2))
    metrics.add("a", 1.0, 2)
    metrics.add("b", 5.0)
    metrics.add("b", 6.0)
    metrics.add("none", 0.0, 0)
    z = torch.zeros(1, 2)
    metrics.ratios.add(
        TokenBatch(z, z, torch.ones(1), torch.ones_like(z)), z, make_objective("grpo")
    )
    summary = metrics.summary()
    assert (summary["a"], summary["b"], summary["none"]) == (1.0, 5.5, 0.0)
    assert summary["ratio_raw_q50"] == 1.0


def test_sums_are_kept_to_the_last_token() -> None:
    """Where float32 would round: a long step has more tokens than it can count."""
    metrics = StepMetrics()
    metrics.add("clip_fraction", 2.0**24, 2.0**24)
    metrics.add("clip_fraction", 1.0, 1.0)
    assert metrics.sums["clip_fraction"].tolist() == [2.0**24 + 1] * 2
