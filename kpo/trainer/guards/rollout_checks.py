"""What a step's rollouts look like, and whether they are samples of the trainer's policy."""

from __future__ import annotations

import torch

from kpo.common.cli import UserError
from kpo.config.train import Train
from kpo.evals.grading.statuses import FAILURES
from kpo.model.loading import MAX_MISMATCH, MEAN_MISMATCH, excess
from kpo.trainer.batch import Rollouts


def check_mismatch(step: int, rollouts: Rollouts, settings: Train) -> None:
    """Raise UserError where the engine's log-probs are too far from the trainer's.

    Without a bound among the settings it is that of rounding in the dtype that both compute in.
    """
    bound = settings.max_logprob_mismatch or MEAN_MISMATCH[getattr(torch, settings.dtype)]
    mismatch = rollouts.mismatch
    if excess(mismatch, bound):
        raise UserError(
            f"step {step}: the log-probs of the sampled tokens differ by"
            f" {float(mismatch.mean()):.3g} nats in the mean and"
            f" {float(mismatch.max()):.3g} at most between the rollout engine and the trainer,"
            " more than train.max_logprob_mismatch"
            f" ({bound:g}, at most {MAX_MISMATCH} times as much): the engine has other weights,"
            " another precision or another distribution than the trainer"
        )


def describe(rollouts: Rollouts) -> dict[str, float]:
    """What a step's rollouts looked like, before learning from them."""
    lengths = [len(response.tokens) for response in rollouts.responses]
    cut = sum(response.finish == "length" for response in rollouts.responses)
    equal = (rollouts.rewards == rollouts.rewards[:, :1]).all(1)
    return {
        "reward": float(rollouts.rewards.mean()),
        "response_tokens": sum(lengths) / len(lengths),
        "truncated": cut / len(lengths),
        **{name: rollouts.statuses.count(name) / len(lengths) for name in FAILURES},
        "zero_std_groups": float(equal.float().mean()),
        "entropy": rollouts.entropy,
        "logprob_mismatch_mean": float(rollouts.mismatch.mean()),
        "logprob_mismatch_max": float(rollouts.mismatch.max()),
        **rollouts.noise,
    }
