"""Rollouts of ragged lengths to four prompts, without an engine."""

from __future__ import annotations

import torch
from torch import Tensor

from kpo.model.policy import Policy
from kpo.rollout.engine import Response
from kpo.trainer.batch import Rollouts, make_rollouts
from tests.kpo.trainer.runs import PROMPTS

GROUP = 3
TEXTS = ["e", "7\n", "ab", "", "eee e", "xyz{", "e\\", "12345", "a b c d", "q", "ee", "f"]


def responses(policy: Policy) -> list[Response]:
    """Responses of ragged lengths to four prompts; the engine's log-probs are all -1.5."""
    rows = [[*policy.tokenizer(text)["input_ids"], policy.tokenizer.eos_token_id] for text in TEXTS]
    return [Response(row, [-1.5] * len(row), "stop") for row in rows]


def rewards() -> Tensor:
    return torch.tensor([[1.0, 0.0, 0.0], [0.0, 1.0, 1.0], [0.0, 0.0, 0.0], [1.0, 0.0, 1.0]])


def rollouts(policy: Policy, budget: int = 40) -> Rollouts:
    return make_rollouts(policy, PROMPTS[:4], responses(policy), rewards(), budget)
