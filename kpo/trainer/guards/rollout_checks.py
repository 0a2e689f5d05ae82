"""What a step's rollouts look like, and whether they are samples of the trainer's policy."""

from __future__ import annotations

import torch

from kpo.config.train import Train
from kpo.model.agreement import MAX_GAP, MEAN_GAP, excess
from kpo.trainer.batch import Rollouts


class RolloutGapError(RuntimeError):
    """The rollout engine does not sample from the trainer's policy."""


def check_gap(step: int, rollouts: Rollouts, settings: Train) -> None:
    """Raise RolloutGapError where the engine's log-probs are too far from the trainer's.

    Without a bound among the settings it is that of rounding in the dtype that both compute in.
    """
    bound = settings.max_rollout_gap or MEAN_GAP[getattr(torch, settings.dtype)]
    if excess(rollouts.gap, bound):
        raise RolloutGapError(
            f"step {step}: the log-probs of the sampled tokens differ by"
            f" {float(rollouts.gap.mean()):.3g} nats in the mean and"
            f" {float(rollouts.gap.max()):.3g} at most between the rollout engine and the trainer,"
            f" more than train.max_rollout_gap ({bound:g}, at most {MAX_GAP} times as much): the"
            " engine has other weights, another precision or another distribution than the trainer"
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
        "equal_groups": float(equal.float().mean()),
        "entropy": rollouts.entropy,
        "rollout_gap_mean": float(rollouts.gap.mean()),
        "rollout_gap_max": float(rollouts.gap.max()),
        **rollouts.noise,
    }
