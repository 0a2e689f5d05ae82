"""Rollouts of ragged lengths to four prompts, without an engine."""

from __future__ import annotations

import torch
from torch import Tensor

from kpo.evals.grading.statuses import STATUSES, Status
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


def statuses() -> list[Status]:
    """Five right answers, four looked at and wrong, the others without, late, and too long."""
    return [STATUSES[{2: 1, 6: 2, 8: 2, 7: 3}.get(i, 0)] for i in range(12)]


def rollouts(policy: Policy, budget: int = 40) -> Rollouts:
    graded = [*zip(rewards().flatten().tolist(), statuses(), strict=True)]
    return make_rollouts(policy, PROMPTS[:4], responses(policy), graded, budget)
