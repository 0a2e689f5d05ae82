"""A step's rollouts: what they hold, how they are collected and cut into mini-batches."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache

import torch
from torch import Tensor

from kpo.common.seeding import derive_seed
from kpo.distributed.ranks import ALONE, Ranks
from kpo.evals.grading.grader import Grade
from kpo.evals.grading.statuses import Status
from kpo.model.policy import Policy, response_logprobs
from kpo.rollout.engine import Response

Reward = Callable[[Sequence[tuple[str, str]]], Sequence[Grade]]
"""Grades (gold, response text) pairs, in order."""


def nothing() -> None:
    """What is done between micro-batches where nothing is asked."""


@dataclass(frozen=True)
class Prompt:
    """A training prompt: its problem's id, its tokens and the gold answer."""

    id: str
    tokens: list[int]
    answer: str


@dataclass(frozen=True)
class Rollouts:
    """N groups of G responses, group by group, in lists of N G. Every rank holds all of them.

    `old_logprobs` [N G, T] are the trainer's own, under the weights that sampled the responses;
    `sampled_logprobs` [N G, T] are the engine's; `rewards` are [N, G]; `statuses`
    are those of the grades; `entropy` is the mean over tokens, in nats; `noise` is that of
    `kpo.trainer.noise`, where it was measured.
    """

    prompts: list[Prompt]
    responses: list[Response]
    rewards: Tensor
    statuses: Sequence[Status]
    old_logprobs: Tensor
    sampled_logprobs: Tensor
    mask: Tensor
    entropy: float
    noise: Mapping[str, float] = field(default_factory=dict)

    @property
    def group(self) -> int:
        """G, responses per prompt."""
        return self.rewards.shape[1]

    @property
    def mismatch(self) -> Tensor:
        """|engine's - trainer's log-prob| of every token, in nats."""
        return (self.sampled_logprobs - self.old_logprobs)[self.mask].abs()


def step_prompts(prompts: Sequence[Prompt], per_step: int, seed: int, step: int) -> list[Prompt]:
    """Prompts of one step, in an order that is shuffled anew for every pass over them."""
    places = (divmod(i, len(prompts)) for i in range(step * per_step, (step + 1) * per_step))
    return [prompts[_order(len(prompts), seed, epoch)[place]] for epoch, place in places]


@lru_cache(maxsize=2)
def _order(count: int, seed: int, epoch: int) -> list[int]:
    order = list(range(count))
    random.Random(derive_seed(seed, "order", epoch)).shuffle(order)
    return order


def token_lists(
    prompts: Sequence[Prompt], responses: Sequence[Response], rows: Sequence[int]
) -> tuple[list[list[int]], list[list[int]]]:
    """Tokens of the prompt and of the response of each row; responses stand in group order."""
    group = len(responses) // len(prompts)
    return [prompts[row // group].tokens for row in rows], [responses[row].tokens for row in rows]


def micro_batches(
    prompts: Sequence[Prompt],
    responses: Sequence[Response],
    rows: Sequence[int],
    budget: int,
    ranks: Ranks = ALONE,
) -> list[list[int]]:
    """This rank's micro-batches of some rows, of at most `budget` packed tokens each.

    Responses stand in group order, and those to one prompt stay together as far as the budget
    allows, as they share it. Every rank gets as many micro-batches, as FSDP's ranks go forward and
    backward together: their number is made a multiple of the ranks' by halving the largest.
    """
    group = len(responses) // len(prompts)

    def tokens(part: list[int]) -> int:
        shared = sum(len(prompts[i].tokens) for i in {row // group for row in part})
        return shared + sum(len(responses[row].tokens) for row in part)

    parts: list[list[int]] = []
    filled = 0
    for row in sorted(rows):
        prompt, own = len(prompts[row // group].tokens), len(responses[row].tokens)
        shared = parts and parts[-1][-1] // group == row // group
        filled += own if shared else prompt + own
        if not parts or filled > budget:
            parts.append([])
            filled = prompt + own
        parts[-1].append(row)
    while len(parts) % ranks.size:
        i = max(range(len(parts)), key=lambda i: (len(parts[i]) > 1, tokens(parts[i])))
        half = len(parts[i]) // 2
        parts[i : i + 1] = [parts[i][:half], parts[i][half:]]
    return parts[ranks.rank :: ranks.size]


@torch.no_grad()
def old_logprobs(
    policy: Policy,
    prompts: Sequence[Prompt],
    responses: Sequence[Response],
    budget: int,
    ranks: Ranks = ALONE,
    between: Callable[[], None] = nothing,
) -> tuple[Tensor, Tensor, float]:
    """log pi_old [N G, T], the mask [N G, T], and the mean entropy in nats, under the policy.

    `budget` is the number of tokens of a forward pass; the work is divided among the ranks, which
    all call `between` before each of their micro-batches.
    """
    counts = torch.tensor([len(response.tokens) for response in responses])
    mask = (torch.arange(int(counts.max()))[None] < counts[:, None]).to(policy.device)
    values = torch.zeros(2, *mask.shape, device=policy.device)  # log-probs and entropies
    for rows in micro_batches(prompts, responses, range(len(responses)), budget, ranks):
        between()
        sequences = token_lists(prompts, responses, rows)
        logprobs, entropies, _ = response_logprobs(policy, *sequences, entropy=True)
        assert entropies is not None
        values[:, rows, : logprobs.shape[1]] = torch.stack([logprobs, entropies]).float()
    old, entropy = ranks.sum(values)
    return old, mask, float(entropy.sum(dtype=torch.float64) / mask.sum())


def compute_rewards(
    policy: Policy, prompts: list[Prompt], responses: list[Response], reward: Reward
) -> list[tuple[float, Status]]:
    """The reward, 0 or 1, of each response in group order, and its grade's status."""
    group = len(responses) // len(prompts)
    tokens = [response.tokens for response in responses]
    texts = policy.tokenizer.batch_decode(tokens, skip_special_tokens=True)
    golds = [prompt.answer for prompt in prompts for _ in range(group)]
    grades = reward(list(zip(golds, texts, strict=True)))
    return [(float(grade.correct), grade.status) for grade in grades]


def make_rollouts(
    policy: Policy,
    prompts: list[Prompt],
    responses: list[Response],
    graded: Sequence[tuple[float, Status]],
    budget: int,
    ranks: Ranks = ALONE,
    between: Callable[[], None] = nothing,
) -> Rollouts:
    """Put rewards and the trainer's own old log-probs beside the responses."""
    logprobs, mask, entropy = old_logprobs(policy, prompts, responses, budget, ranks, between)
    sampled = torch.zeros(logprobs.shape)
    for row, response in enumerate(responses):
        sampled[row, : len(response.logprobs)] = torch.tensor(response.logprobs)
    rewards = torch.tensor([reward for reward, _ in graded]).view(len(prompts), -1)
    return Rollouts(
        prompts=prompts,
        responses=responses,
        rewards=rewards,
        statuses=[status for _, status in graded],
        old_logprobs=logprobs,
        sampled_logprobs=sampled.to(logprobs.device),
        mask=mask,
        entropy=entropy,
    )


def mini_batches(rollouts: Rollouts, count: int, seed: int) -> Iterator[list[int]]:
    """Rows of `count` mini-batches of whole groups, in a seeded order."""
    groups = list(range(len(rollouts.prompts)))
    random.Random(seed).shuffle(groups)
    size, G = len(groups) // count, rollouts.group
    for start in range(0, len(groups), size):
        chosen = groups[start : start + size]
        yield [group * G + j for group in chosen for j in range(G)]
