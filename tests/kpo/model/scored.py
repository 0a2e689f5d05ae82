"""Ragged prompts and responses, and their scores: the policy's own and the plain way's."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from kpo.model.policy import Policy, response_logprobs

PROMPTS = [[5, 6, 7], [9], [4, 8, 15, 16, 23, 42, 50], [30, 31]]
RESPONSES = [[11, 12, 13, 14, 1], [20], [61, 62, 1], [33, 1, 35, 36, 37, 38, 39, 40, 41]]
LENGTHS = [len(response) for response in RESPONSES]


def plain(policy: Policy, prompt: Sequence[int], response: Sequence[int]) -> Tensor:
    """All log-probs [T, V] at the tokens of one response, from the model's own full logits."""
    ids = torch.tensor([[*prompt, *response]])
    logits = policy.model(input_ids=ids).logits[0, len(prompt) - 1 : -1]
    return logits.float().log_softmax(-1)


def plain_logprobs(policy: Policy) -> list[Tensor]:
    """Of each response's tokens, a response at a time."""
    return [
        plain(policy, x, y).gather(1, torch.tensor(y)[:, None]).squeeze(1)
        for x, y in zip(PROMPTS, RESPONSES, strict=True)
    ]


def plain_entropies(policy: Policy) -> list[Tensor]:
    """At the same places."""
    full = [plain(policy, x, y) for x, y in zip(PROMPTS, RESPONSES, strict=True)]
    return [torch.distributions.Categorical(logits=logits).entropy() for logits in full]


def rows(values: Tensor, mask: Tensor) -> list[Tensor]:
    return [row[real] for row, real in zip(values, mask, strict=True)]


def scores(policy: Policy) -> tuple[Tensor, Tensor, Tensor]:
    """Log-probs, entropies and mask."""
    logprobs, entropy, mask = response_logprobs(policy, PROMPTS, RESPONSES, entropy=True)
    assert entropy is not None
    return logprobs, entropy, mask
