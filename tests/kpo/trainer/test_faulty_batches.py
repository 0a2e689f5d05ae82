"""A loss that is not finite: who heeds it, and what is kept of it."""

from __future__ import annotations

from dataclasses import dataclass, replace

import pytest
import torch

from kpo.advantage import group_advantages
from kpo.distributed.ranks import ALONE, Ranks
from kpo.model.policy import Policy
from kpo.objective import Objective, ObjectiveOutput, TokenBatch
from kpo.registry import make_objective
from kpo.trainer.batch import micro_batches
from kpo.trainer.step import NonFinite, StepMetrics, Updater
from tests.kpo.models import tiny_policy
from tests.kpo.processes import on_ranks
from tests.kpo.trainer.rollouts import rollouts

BUDGET = 20


@dataclass
class Faulty:
    """GRPO whose loss is NaN in its n-th call; whatever follows is NaN too, in truth as here."""

    call: int
    calls: int = 0

    def __call__(self, batch: TokenBatch) -> ObjectiveOutput:
        output = make_objective("grpo")(batch)
        if not batch.logprobs.requires_grad:  # the diagnostics' shuffle control
            return output
        self.calls += 1
        return replace(output, loss=output.loss * torch.nan) if self.calls >= self.call else output


def updater(policy: Policy, objective: Objective, ranks: Ranks = ALONE) -> Updater:
    optimizer = torch.optim.SGD(policy.model.parameters(), lr=0.1)
    return Updater(policy, optimizer, objective, BUDGET, 1.0, ranks=ranks)


@pytest.mark.parametrize("call", [1, 2, 3])
def test_exactly_the_faulty_micro_batch_is_kept(call: int) -> None:
    policy = tiny_policy()
    made = rollouts(policy)
    parts = micro_batches(made.prompts, made.responses, range(12), BUDGET)
    assert len(parts) > 3
    with pytest.raises(NonFinite) as found:
        updater(policy, Faulty(call)).update(made, range(12), StepMetrics())
    assert found.value.what == "loss"
    kept = found.value.failed
    assert [each.tokens for each in kept] == [made.responses[row].tokens for row in parts[call - 1]]
    prompts = [made.prompts[row // made.group].tokens for row in parts[call - 1]]
    assert [each.prompt for each in kept] == prompts


def test_a_ratio_beyond_all_bounds_stops_although_the_clip_bounds_the_loss() -> None:
    policy = tiny_policy()
    made = rollouts(policy)
    row = int(group_advantages(made.rewards).flatten().argmax())
    made.old_logprobs[row, 0] -= 1000
    with pytest.raises(NonFinite, match=r"^ratio$") as found:
        updater(policy, make_objective("grpo")).update(made, range(12), StepMetrics())
    assert made.responses[row].tokens in [each.tokens for each in found.value.failed]


def what_stopped(ranks: Ranks) -> tuple[str, bool]:
    """What each rank says, and whether it left its weights alone; only the second has a fault."""
    torch.set_num_threads(1)
    policy = tiny_policy()
    made = rollouts(policy)
    before = [p.detach().clone() for p in policy.model.parameters()]
    try:
        own = updater(policy, Faulty(1 if ranks.rank == 1 else 1000), ranks)
        own.update(made, range(12), StepMetrics())
    except NonFinite as found:
        pairs = zip(before, policy.model.parameters(), strict=True)
        return found.what, all(torch.equal(a, b) for a, b in pairs)
    return "went on", False


def test_a_fault_of_the_second_rank_stops_the_first() -> None:
    assert on_ranks(2, what_stopped) == [("loss", True), ("loss", True)]


def test_of_a_gradient_that_is_not_finite_all_micro_batches_are_kept() -> None:
    policy = tiny_policy()
    made = rollouts(policy)
    next(policy.model.parameters()).register_hook(lambda gradient: gradient * torch.nan)
    with pytest.raises(NonFinite, match=r"^gradient$") as found:
        updater(policy, make_objective("grpo")).update(made, range(12), StepMetrics())
    kept = found.value.failed
    assert [each.tokens for each in kept] == [response.tokens for response in made.responses]
    ids = [prompt.id for prompt in made.prompts for _ in range(made.group)]
    assert [each.prompt_id for each in kept] == ids
    for each, old, mask in zip(kept, made.old_logprobs, made.mask, strict=True):
        assert torch.equal(each.batch.old_logprobs[0], old[mask])
        assert torch.allclose(each.batch.logprobs[0], old[mask], atol=1e-5)  # no step was taken
        assert each.batch.mask.all()
        assert not each.batch.logprobs.requires_grad
    advantages = torch.cat([each.batch.advantages for each in kept])
    assert torch.equal(advantages, group_advantages(made.rewards).flatten())
