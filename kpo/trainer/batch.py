"""A step's rollouts: what they hold, how they are collected and cut into mini-batches."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor

from kpo.advantage import group_advantages
from kpo.policy import Policy, response_logprobs
from kpo.rollout.engine import Response
from kpo.seeding import derive_seed

Reward = Callable[[Sequence[tuple[str, str]]], list[bool]]
"""Checks (gold, response text) pairs, in order."""


@dataclass(frozen=True)
class Prompt:
    """A training prompt: its problem's id, its tokens and the gold answer."""

    id: str
    tokens: list[int]
    answer: str


@dataclass(frozen=True)
class Rollouts:
    """N groups of G responses, group by group, in lists of N G.

    `old_logprobs` [N G, T] are the trainer's own, under the weights that sampled the responses;
    `rewards` and `advantages` are [N, G]; `entropy` is the mean over tokens, in nats; `gap` is
    |engine's - trainer's log-prob| of every token, in nats.
    """

    prompts: list[Prompt]
    responses: list[Response]
    rewards: Tensor
    advantages: Tensor
    old_logprobs: Tensor
    mask: Tensor
    entropy: float
    gap: Tensor

    @property
    def group(self) -> int:
        """G, responses per prompt."""
        return self.rewards.shape[1]


class PromptOrder:
    """Training prompts in a seeded order, shuffled anew for every pass over them."""

    def __init__(self, prompts: Sequence[Prompt], per_step: int, seed: int) -> None:
        self.prompts, self.per_step, self.seed = prompts, per_step, seed
        self._order = lru_cache(maxsize=2)(self._shuffled)

    def batch(self, step: int) -> list[Prompt]:
        """Prompts of one step: a function of the step alone."""
        places = range(step * self.per_step, (step + 1) * self.per_step)
        return [
            self.prompts[self._order(i // len(self.prompts))[i % len(self.prompts)]] for i in places
        ]

    def _shuffled(self, epoch: int) -> list[int]:
        order = list(range(len(self.prompts)))
        random.Random(derive_seed(self.seed, "order", epoch)).shuffle(order)
        return order


def by_length(responses: Sequence[Response], rows: Sequence[int], size: int) -> Iterator[list[int]]:
    """Cut rows into micro-batches of at most `size`, alike in length to save padding."""
    ordered = sorted(rows, key=lambda row: len(responses[row].tokens))
    for start in range(0, len(ordered), size):
        yield ordered[start : start + size]


@torch.no_grad()
def old_logprobs(
    policy: Policy, prompts: Sequence[Prompt], responses: Sequence[Response], micro_batch: int
) -> tuple[Tensor, Tensor, float]:
    """log pi_old [N G, T], the mask [N G, T], and the mean entropy in nats, under the policy."""
    policy.model.eval()
    group = len(responses) // len(prompts)
    longest = max(len(response.tokens) for response in responses)
    logprobs = torch.zeros(len(responses), longest, device=policy.device)
    mask = torch.zeros(len(responses), longest, dtype=torch.bool, device=policy.device)
    entropy = 0.0
    for rows in by_length(responses, range(len(responses)), micro_batch):
        values, entropies, real = response_logprobs(
            policy,
            [prompts[row // group].tokens for row in rows],
            [responses[row].tokens for row in rows],
        )
        width = values.shape[1]
        logprobs[rows, :width] = values.masked_fill(~real, 0)
        mask[rows, :width] = real
        entropy += float(entropies[real].sum())
    return logprobs, mask, entropy / int(mask.sum())


def assess(
    policy: Policy,
    prompts: list[Prompt],
    responses: list[Response],
    reward: Reward,
) -> Tensor:
    """Rewards [N, G] in {0, 1} of responses in group order."""
    group = len(responses) // len(prompts)
    texts = policy.tokenizer.batch_decode(
        [response.tokens for response in responses], skip_special_tokens=True
    )
    golds = [prompt.answer for prompt in prompts for _ in range(group)]
    correct = reward(list(zip(golds, texts, strict=True)))
    return torch.tensor(correct, dtype=torch.float32).view(len(prompts), group)


def make_rollouts(
    policy: Policy,
    prompts: list[Prompt],
    responses: list[Response],
    rewards: Tensor,
    micro_batch: int,
) -> Rollouts:
    """Put advantages and the trainer's own old log-probs beside the responses."""
    logprobs, mask, entropy = old_logprobs(policy, prompts, responses, micro_batch)
    sampled = torch.zeros_like(logprobs)
    for row, response in enumerate(responses):
        sampled[row, : len(response.logprobs)] = torch.tensor(response.logprobs)
    return Rollouts(
        prompts=prompts,
        responses=responses,
        rewards=rewards,
        advantages=group_advantages(rewards),
        old_logprobs=logprobs,
        mask=mask,
        entropy=entropy,
        gap=(sampled - logprobs)[mask].abs(),
    )


def mini_batches(rollouts: Rollouts, count: int, seed: int) -> Iterator[list[int]]:
    """Rows of `count` mini-batches of whole groups, in a seeded order."""
    groups = list(range(len(rollouts.prompts)))
    random.Random(seed).shuffle(groups)
    size, G = len(groups) // count, rollouts.group
    for start in range(0, len(groups), size):
        chosen = groups[start : start + size]
        yield [group * G + j for group in chosen for j in range(G)]
