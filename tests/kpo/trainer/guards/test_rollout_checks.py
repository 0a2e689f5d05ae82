"""How far the engine's log-probs may be from the trainer's, by the dtype that both compute in."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch

from kpo.common.cli import UserError
from kpo.config.train import Train
from kpo.evals.grading.statuses import FAILURES
from kpo.trainer.batch import Rollouts
from kpo.trainer.guards.rollout_checks import check_mismatch, describe
from tests.kpo.models import tiny_policy
from tests.kpo.trainer.rollouts import rollouts

REQUIRED = {"problems": "train", "steps": 1, "max_prompt_tokens": 8, "max_response_tokens": 8}


@pytest.fixture(scope="module")
def made() -> Rollouts:
    found = rollouts(tiny_policy())
    return replace(found, sampled_logprobs=found.old_logprobs.clone())


def train(**settings: Any) -> Train:
    return Train.model_validate({**REQUIRED, "lr": 1e-3, **settings})


def shifted(made: Rollouts, mean: float) -> Rollouts:
    """Every token off by as much."""
    return replace(made, sampled_logprobs=made.old_logprobs + mean)


def one_token_off(made: Rollouts, nats: float) -> Rollouts:
    row, column = made.mask.nonzero()[0].tolist()
    sampled = made.old_logprobs.clone()
    sampled[row, column] += nats
    return replace(made, sampled_logprobs=sampled)


@pytest.mark.parametrize(
    ("settings", "right", "wrong"),
    [
        ({}, 5e-5, 2e-4),
        ({"dtype": "bfloat16"}, 0.05, 0.2),
        ({"max_logprob_mismatch": 0.01}, 0.005, 0.02),
        ({"dtype": "bfloat16", "max_logprob_mismatch": 0.01}, 0.005, 0.02),
    ],
    ids=str,
)
def test_the_mean(made: Rollouts, settings: dict[str, Any], right: float, wrong: float) -> None:
    check_mismatch(3, shifted(made, right), train(**settings))
    words = rf"step 3: .* differ by {wrong} nats in the mean and {wrong} at most"
    with pytest.raises(UserError, match=words):
        check_mismatch(3, shifted(made, wrong), train(**settings))


@pytest.mark.parametrize(
    ("settings", "right", "wrong"),
    [({"max_logprob_mismatch": 1e-3}, 0.02, 0.2), ({"max_logprob_mismatch": 0.1}, 2.0, 11.0)],
    ids=str,
)
def test_the_largest(made: Rollouts, settings: dict[str, Any], right: float, wrong: float) -> None:
    """100 times the mean's bound: one token in many is off, which no mean shows."""
    tokens = int(made.mask.sum())
    many = 1000 // tokens + 1  # so many that the mean is within its bound
    wide = replace(
        made,
        **{
            name: getattr(made, name).repeat(many, 1)
            for name in ("old_logprobs", "sampled_logprobs", "mask")
        },
    )
    check_mismatch(0, one_token_off(wide, right), train(**settings))
    off = one_token_off(wide, wrong)
    assert float(off.mismatch.mean()) <= settings["max_logprob_mismatch"]
    with pytest.raises(UserError, match=rf"and {wrong:.3g} at most .*100 times as much"):
        check_mismatch(0, off, train(**settings))


def test_what_is_no_number(made: Rollouts) -> None:
    with pytest.raises(UserError, match="differ by nan nats"):
        check_mismatch(0, one_token_off(made, torch.nan), train())


def test_shares_of_failed_grades_are_described() -> None:
    described = describe(rollouts(tiny_policy()))
    shares = {name: described[name] for name in FAILURES}
    assert shares == {"no_answer": 1 / 12, "timeout": 2 / 12, "error": 1 / 12}
