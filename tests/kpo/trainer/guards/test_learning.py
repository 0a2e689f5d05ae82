"""Runs that learn nothing: what is said while they run, and what is recorded of them."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch

from kpo.evals.grading.grader import Grade
from kpo.model.policy import save_model
from kpo.trainer.guards.learning import moved_weights, record, standstill, stood_still
from tests.kpo.models import tiny_policy
from tests.kpo.trainer.runs import metrics, tiny_trainer

Pairs = Sequence[tuple[str, str]]


def train(folder: Path, grade: Callable[[Pairs], list[Grade]] | None, **settings: Any) -> Any:
    """A run on a random model with a reward of one's own; what its manifest would record."""
    policy = tiny_policy(seed=3)
    save_model(policy.model, policy.tokenizer, folder / "base")
    trainer = tiny_trainer(folder, policy=policy, **settings)
    if grade is not None:
        trainer.reward = grade
    trainer.train()
    save_model(policy.model, policy.tokenizer, folder / "model")
    return record(metrics(folder), folder / "base", folder / "model")


def wrong(pairs: Pairs) -> list[Grade]:
    return [Grade(correct=False, status="ok", extracted=None) for _ in pairs]


def right(pairs: Pairs) -> list[Grade]:
    return [Grade(correct=True, status="ok", extracted=None) for _ in pairs]


def by_prompt(pairs: Pairs) -> list[Grade]:
    """Every other group of 8 is right."""
    return [Grade(i // 8 % 2 == 0, "ok", None) for i in range(len(pairs))]


@pytest.mark.parametrize(
    ("grade", "words"),
    [
        (wrong, r"every response is graded wrong, \d+% of them cut at train.max_response_tokens"),
        (right, "every response is graded right: the problems are too easy"),
        (by_prompt, "within every group all responses earn the same"),
    ],
)
def test_a_run_without_a_gradient_says_so(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    grade: Callable[[Pairs], list[Grade]],
    words: str,
) -> None:
    learning = train(tmp_path, grade, steps=4)
    assert learning == {"steps": 4, "still_steps": 4, "moved_weights": 0.0}
    assert stood_still(learning) == "none of its 4 steps had a gradient"
    said = capsys.readouterr().err
    assert said.count("warning: ") == 1  # not at every further step
    assert "warning: step 2: the last 3 steps learnt nothing: " in said
    assert re.search(words, said)


def test_a_run_that_learns_says_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    learning = train(tmp_path, None)
    assert learning["still_steps"] == 0
    assert learning["moved_weights"] > 0.9
    assert stood_still(learning) is None
    assert "warning" not in capsys.readouterr().err


def test_weight_decay_is_no_learning(tmp_path: Path) -> None:
    learning = train(tmp_path, wrong, steps=2, weight_decay=0.1)
    assert learning["moved_weights"] > 0.9
    assert stood_still(learning) == "none of its 2 steps had a gradient"


def test_steps_too_small_for_the_weights_precision_are_found(tmp_path: Path) -> None:
    learning = train(tmp_path, None, lr=1e-12)
    assert learning["still_steps"] == 0
    assert learning["moved_weights"] < 0.05  # zeros, which have every precision
    none = {**learning, "moved_weights": 0.0}
    assert stood_still(none) == "its final weights, as they are stored, are the base policy's"


STILL = {"grad_norm": 0.0, "lr": 1.0, "reward": 0.5, "zero_std_groups": 1.0, "truncated": 0.0}


def said(steps: int, rows: list[dict[str, float]]) -> list[int]:
    """Steps at which a run of that many says that it does not learn."""
    return [i for i in range(len(rows)) if standstill(rows[: i + 1], steps)]


def test_when_it_is_said() -> None:
    moving = {**STILL, "grad_norm": 1e-9}
    assert said(10, [STILL] * 10) == [2]
    assert said(10, [STILL, STILL, moving] * 3) == []
    assert said(10, [moving, *[STILL] * 4, moving, *[STILL] * 3]) == [3, 8]
    assert said(2, [STILL] * 2) == [1]
    assert said(1, [STILL]) == [0]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"lr": 0.0, "grad_norm": 3.0}, "the learning rate is 0"),
        (
            {"zero_std_groups": 0.5},
            "rewards differ within groups, but the objective gives no token",
        ),
    ],
)
def test_the_reason(changes: dict[str, float], words: str) -> None:
    sentence = standstill([{**STILL, **changes}], 1)
    assert sentence is not None
    assert words in sentence


def test_weights_are_compared_as_they_are_stored(tmp_path: Path) -> None:
    policy = tiny_policy()
    save_model(policy.model, policy.tokenizer, tmp_path / "base")
    weight = policy.model.model.norm.weight
    with torch.no_grad():
        weight += 1e-6  # of 1: lost in bfloat16
    save_model(policy.model, policy.tokenizer, tmp_path / "float32")
    policy.model.bfloat16()
    save_model(policy.model, policy.tokenizer, tmp_path / "bfloat16")
    total = sum(p.numel() for p in policy.model.parameters())
    assert moved_weights(tmp_path / "base", tmp_path / "float32") == weight.numel() / total
    assert moved_weights(tmp_path / "base", tmp_path / "bfloat16") == 0
