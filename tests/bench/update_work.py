"""What the benches of the update phase share: rollouts of random tokens, operations counted."""

import torch

from kpo.evals.grading.statuses import Status
from kpo.model.policy import Policy
from kpo.rollout.engine import Response
from kpo.trainer.batch import Prompt, Rollouts, make_rollouts

PROMPT = 64
"""Tokens of a prompt."""


def rollouts_of(policy: Policy, groups: int, group: int, tokens: int, budget: int) -> Rollouts:
    """Some groups of responses of the same length; half of each are right."""
    generator = torch.Generator().manual_seed(0)

    def draw(count: int) -> list[int]:
        return torch.randint(2, 90, (count,), generator=generator).tolist()

    count = groups * group
    responses = [Response(row := draw(tokens), [0.0] * len(row), "length") for _ in range(count)]
    prompts = [Prompt(f"p{i}", draw(PROMPT), "") for i in range(groups)]
    graded: list[tuple[float, Status]] = [(1.0, "ok"), (0.0, "ok")] * (count // 2)
    return make_rollouts(policy, prompts, responses, graded, budget)


def operations(policy: Policy, groups: int, group: int, tokens: int) -> float:
    """Floating-point operations of forward and backward over all responses.

    6 N a token and attention's products, once each: what is computed again is not counted, padding
    does not exist, and a prompt that a group shares is read once.
    """
    config = policy.model.config
    embeddings = config.vocab_size * config.hidden_size  # tied: used once, by the LM head
    weights = sum(p.numel() for p in policy.model.parameters()) - embeddings
    length = PROMPT + tokens
    width = config.num_attention_heads * config.head_dim
    attention = config.num_hidden_layers * 2 * width * length**2  # causal: half of 4 w L^2
    responses = groups * group
    linear = 2 * (
        weights * (PROMPT * groups + responses * tokens) + embeddings * responses * tokens
    )
    return 3.0 * (linear + responses * attention)
