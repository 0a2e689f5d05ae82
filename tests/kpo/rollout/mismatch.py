"""How far an engine's log-probs are from the policy's own."""

from __future__ import annotations

import torch

from kpo.model.policy import Policy, response_logprobs
from kpo.rollout.engine import RolloutEngine, Sampling

PROMPTS = [[5, 6, 7], [8], [9, 10, 11, 12, 13]]
SAMPLING = Sampling(samples=4, max_tokens=24)


def gap(engine: RolloutEngine, policy: Policy) -> float:
    """Largest difference between the engine's log-probs and the policy's own, in nats."""
    largest = 0.0
    groups = engine.generate(PROMPTS, [1, 100, 200], SAMPLING)
    for prompt, group in zip(PROMPTS, groups, strict=True):
        tokens = [response.tokens for response in group]
        with torch.no_grad():
            own, _, _ = response_logprobs(policy, [prompt] * len(group), tokens)
        for response, row in zip(group, own, strict=True):
            theirs = torch.tensor(response.logprobs)
            largest = max(largest, float((theirs - row[: len(theirs)]).abs().max()))
    return largest
