"""Small training runs for tests."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from kpo.config.train import Train
from kpo.distributed.ranks import ALONE, Ranks
from kpo.evals.grading.grader import Grade
from kpo.model.policy import Policy
from kpo.objective import Objective
from kpo.registry import make_objective
from kpo.rollout.engine import Response, RolloutEngine, Sampling
from kpo.rollout.transformers import TransformersEngine
from kpo.trainer.batch import Prompt
from kpo.trainer.log import RunLog
from kpo.trainer.loop import Trainer
from kpo.trainer.state.checkpoint import Checkpoints
from tests.kpo.models import tiny_policy

PROMPTS = [Prompt(f"p{i}", [5 + i, 6, 7 + i % 3], "e") for i in range(6)]


def reward(pairs: Sequence[tuple[str, str]]) -> list[Grade]:
    """Whether the response holds its gold more often than its successor in the alphabet."""
    return [Grade(text.count(gold) >= 1, "ok", None) for gold, text in pairs]


def by_length(pairs: Sequence[tuple[str, str]]) -> list[Grade]:
    """Whether the response has an odd length, which differs within nearly every group."""
    return [Grade(len(text) % 2 > 0, "ok", None) for _, text in pairs]


class EndlessEngine(TransformersEngine):
    """Its rollouts after the first `after` never come back; then `mark` is there."""

    def __init__(self, policy: Policy, mark: Path, after: int) -> None:
        super().__init__(policy)
        self.mark, self.left = mark, after

    def generate(
        self, prompts: Sequence[Sequence[int]], seeds: Sequence[int], sampling: Sampling
    ) -> list[list[Response]]:
        if self.left == 0:
            self.mark.touch()
            while True:  # a signal that comes just before a sleep does not shorten it
                time.sleep(0.05)
        self.left -= 1
        return super().generate(prompts, seeds, sampling)


def tiny_trainer(
    folder: Path,
    *,
    policy: Policy | None = None,
    engine: RolloutEngine | None = None,
    objective: str | Objective = "grpo",
    seed: int = 0,
    ranks: Ranks = ALONE,
    **settings: Any,
) -> Trainer:
    """A trainer on a random model whose reward is a letter in the response."""
    policy = policy or tiny_policy(seed=3)
    base = {
        "problems": "none",
        "steps": 3,
        "prompts": 4,
        "group": 8,
        "mini_batches": 2,
        "max_tokens_per_microbatch": 240,
        "max_prompt_tokens": 8,
        "max_response_tokens": 12,
        "lr": 1e-3,
    }
    return Trainer(
        policy=policy,
        objective=make_objective(objective) if isinstance(objective, str) else objective,
        engine=engine or TransformersEngine(policy),
        reward=reward,
        prompts=PROMPTS,
        config=Train.model_validate({**base, **settings}),
        seed=seed,
        log=RunLog(folder if ranks.is_main else None),
        checkpoints=Checkpoints(folder / "checkpoints", {"seed": seed}, ranks=ranks),
        ranks=ranks,
    )


def metrics(folder: Path) -> list[dict[str, float]]:
    """The metrics that a run wrote."""
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
