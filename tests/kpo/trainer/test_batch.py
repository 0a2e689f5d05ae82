"""A step's rollouts: their order, their rewards, their old log-probs, their mini-batches."""

from collections import Counter
from collections.abc import Sequence

import pytest
import torch

from kpo.distributed.ranks import Ranks
from kpo.evals.grading.grader import Grade
from kpo.rollout.engine import Response
from kpo.trainer.batch import (
    Prompt,
    compute_rewards,
    make_rollouts,
    micro_batches,
    mini_batches,
    old_logprobs,
    step_prompts,
)
from tests.kpo.model.scored import plain
from tests.kpo.models import tiny_policy
from tests.kpo.trainer.rollouts import GROUP, TEXTS, responses, rewards, rollouts, statuses
from tests.kpo.trainer.runs import PROMPTS

# The order of prompts


@pytest.mark.parametrize("per_step", [1, 2, 4, 6, 9])
def test_every_epoch_holds_every_prompt_once(per_step: int) -> None:
    steps = 3 * len(PROMPTS)
    ids = [p.id for step in range(steps) for p in step_prompts(PROMPTS, per_step, 0, step)]
    epochs = [ids[i : i + len(PROMPTS)] for i in range(0, len(ids), len(PROMPTS))]
    assert len(epochs) == 3 * per_step
    for epoch in epochs:
        assert sorted(epoch) == sorted(prompt.id for prompt in PROMPTS)
    assert len({tuple(epoch) for epoch in epochs}) > 1


def test_the_order_depends_on_the_seed_and_not_on_what_was_asked_before() -> None:
    many = [Prompt(str(i), [1], "") for i in range(50)]
    forward = [step_prompts(many, 4, 0, step) for step in range(30)]
    assert [step_prompts(many, 4, 0, step) for step in reversed(range(30))] == forward[::-1]
    assert step_prompts(many, 4, 1, 0) != forward[0]


def test_the_order_is_that_of_earlier_runs() -> None:
    """Another one would make other results of the same seed."""
    many = [Prompt(str(i), [1], "") for i in range(10)]
    assert ["".join(p.id for p in step_prompts(many, 10, 3, step)) for step in range(2)] == [
        "8960734152",
        "3974250681",
    ]


# Micro-batches


COUNTS = [5, 90, 12, 33, 7, 64, 21, 8, 50, 11, 30, 9]
MADE = [Response([2] * count, [], "stop") for count in COUNTS]
LONG = [Prompt(str(i), [3] * (6 + i), "") for i in range(4)]  # three responses each


def cost(part: list[int]) -> int:
    """Packed tokens: each prompt once."""
    return sum(6 + i for i in {row // 3 for row in part}) + sum(COUNTS[row] for row in part)


@pytest.mark.parametrize("size", [1, 2, 3, 4])
@pytest.mark.parametrize("budget", [97, 120, 160, 1000])
def test_every_row_is_in_one_micro_batch_of_one_rank(budget: int, size: int) -> None:
    plans = [
        micro_batches(LONG, MADE, range(12), budget, Ranks(rank, size)) for rank in range(size)
    ]
    assert len({len(plan) for plan in plans}) == 1  # all go forward together
    assert sorted(row for plan in plans for part in plan for row in part) == list(range(12))
    assert all(part and cost(part) <= budget for plan in plans for part in plan)


def test_micro_batches_are_full_and_keep_groups_together() -> None:
    assert micro_batches(LONG, MADE, [11, 0, 3, 7, 4, 2, 6], 65) == [
        [0, 2, 3],
        [4, 6, 7],
        [11],
    ]


def test_a_row_above_the_budget_stands_alone() -> None:
    assert micro_batches(LONG, MADE, [0, 1, 2], 50) == [[0], [1], [2]]


def test_a_micro_batch_may_fill_the_budget_and_a_prompt_counts_once() -> None:
    """6 tokens of the prompt, 90 and 12 of the second and third response to it."""
    assert micro_batches(LONG, MADE, [1, 2], 108) == [[1, 2]]
    assert micro_batches(LONG, MADE, [1, 2], 107) == [[1], [2]]


def test_the_micro_batch_of_most_tokens_is_halved_for_a_second_rank() -> None:
    """Of 113, 111 and 87 tokens."""
    plans = [micro_batches(LONG, MADE, range(9), 115, Ranks(rank, 2)) for rank in range(2)]
    assert plans == [[[0], [3, 4, 5]], [[1, 2], [6, 7, 8]]]


def test_a_response_alone_is_not_halved_however_long_it_is() -> None:
    prompts = [Prompt(name, [1], "") for name in "ab"]
    made = [Response([5] * n, [-1.0] * n, "stop") for n in (100, 100, 10, 10)]
    plans = [micro_batches(prompts, made, range(4), 101, Ranks(rank, 2)) for rank in range(2)]
    assert plans == [[[0], [2]], [[1], [3]]]


# Old log-probs


def test_old_logprobs_are_the_models() -> None:
    policy = tiny_policy()
    made = responses(policy)
    logprobs, mask, entropy = old_logprobs(policy, PROMPTS[:4], made, budget=40)
    entropies = []
    for row, response in enumerate(made):
        full = plain(policy, PROMPTS[row // GROUP].tokens, response.tokens)
        expected = full.gather(1, torch.tensor(response.tokens)[:, None]).squeeze(1)
        torch.testing.assert_close(logprobs[row, mask[row]], expected, rtol=0, atol=2e-5)
        assert int(mask[row].sum()) == len(response.tokens)
        entropies.append(-(full.exp() * full).sum(1))
    assert bool((logprobs[~mask] == 0).all())
    assert not logprobs.requires_grad
    assert entropy == pytest.approx(float(torch.cat(entropies).detach().mean()), rel=1e-4)


@pytest.mark.parametrize("budget", [1, 20, 60])
def test_old_logprobs_do_not_depend_on_the_micro_batch(budget: int) -> None:
    policy = tiny_policy()
    policy.model.double()  # so that rounding does not hide a difference
    made = responses(policy)
    whole, whole_mask, entropy = old_logprobs(policy, PROMPTS[:4], made, budget=1000)
    parts, mask, part_entropy = old_logprobs(policy, PROMPTS[:4], made, budget)
    assert torch.equal(mask, whole_mask)
    torch.testing.assert_close(parts, whole, rtol=0, atol=1e-6)
    assert part_entropy == pytest.approx(entropy, rel=1e-6)


# Rewards and what follows


def test_rewards_stand_with_their_prompts() -> None:
    policy = tiny_policy()
    seen: list[tuple[str, str]] = []

    def reward(pairs: Sequence[tuple[str, str]]) -> list[Grade]:
        seen.extend(pairs)
        return [Grade(i in (0, 4), "timeout" if i == 5 else "ok", None) for i in range(len(pairs))]

    golds = [Prompt(p.id, p.tokens, f"gold {p.id}") for p in PROMPTS[:4]]
    found = compute_rewards(policy, golds, responses(policy), reward)
    assert [i for i, (value, _) in enumerate(found) if value == 1.0] == [0, 4]
    assert [i for i, (_, status) in enumerate(found) if status == "timeout"] == [5]
    assert len(found) == len(TEXTS)
    assert seen == [(f"gold p{i // GROUP}", text) for i, text in enumerate(TEXTS)]


def test_rollouts_hold_everything_in_group_order() -> None:
    policy = tiny_policy()
    made = rollouts(policy)
    assert made.group == GROUP
    assert torch.equal(made.rewards, rewards())
    assert made.statuses == statuses()
    assert [len(response.tokens) for response in made.responses] == made.mask.sum(1).tolist()
    gap = (-1.5 - made.old_logprobs[made.mask]).abs()
    torch.testing.assert_close(made.mismatch.sort().values, gap.sort().values)


@pytest.mark.parametrize("count", [1, 2, 4])
def test_mini_batches_are_whole_groups_and_cover_all(count: int) -> None:
    parts = list(mini_batches(rollouts(tiny_policy()), count, seed=3))
    assert len(parts) == count
    assert sorted(row for part in parts for row in part) == list(range(12))
    for part in parts:
        assert len(part) == 12 // count
        assert all(number == GROUP for number in Counter(row // GROUP for row in part).values())


def test_the_order_of_mini_batches_depends_on_the_seed() -> None:
    made = rollouts(tiny_policy())
    orders = {str(list(mini_batches(made, 4, seed))) for seed in range(20)}
    assert len(orders) > 5
    assert list(mini_batches(made, 4, 1)) == list(mini_batches(made, 4, 1))


def test_between_micro_batches_something_may_be_asked() -> None:
    policy = tiny_policy()
    calls: list[int] = []
    graded = [*zip(rewards().flatten().tolist(), statuses(), strict=True)]
    parts = micro_batches(PROMPTS[:4], responses(policy), range(12), 20)
    made = responses(policy)
    make_rollouts(policy, PROMPTS[:4], made, graded, 20, between=lambda: calls.append(1))
    assert len(calls) == len(parts) > 1
