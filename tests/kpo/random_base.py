"""An experiment on a random model, whose reward is seen from the response alone."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from kpo.model.policy import save_model
from kpo.trainer import reward as reward_module
from kpo.trainer.batch import Reward
from tests.kpo.config.experiments import SCRATCH, changed
from tests.kpo.models import tiny_policy
from tests.kpo.trainer.runs import reward


def letter_experiment(
    folder: Path, monkeypatch: pytest.MonkeyPatch, reward: Reward = reward
) -> dict[str, Any]:
    """Write folder/base and folder/train.jsonl, the problems; the experiment's settings.

    The reward is a letter in the response, if no other is given.
    """
    policy = tiny_policy(seed=3)
    save_model(policy.model, policy.tokenizer, folder / "base")
    rows = ({"id": str(i), "problem": f"{i}+1=?", "answer": "e"} for i in range(64))
    (folder / "train.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))

    def letters(task: object, pairs: Sequence[tuple[str, str]], grader: object) -> Any:
        return reward(pairs)

    monkeypatch.setattr(reward_module, "grades", letters)
    tree = changed(SCRATCH, "train/prompts", 4)
    tree = changed(tree, "train/mini_batches", 2)
    return changed(tree, "train/max_response_tokens", 12)
