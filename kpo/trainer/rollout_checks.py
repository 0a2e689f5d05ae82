"""What a step's rollouts look like, and whether they are samples of the trainer's policy."""

from __future__ import annotations

from kpo.trainer.batch import Rollouts


class RolloutGapError(RuntimeError):
    """The rollout engine does not sample from the trainer's policy."""


def check_gap(step: int, rollouts: Rollouts, bound: float) -> None:
    """Raise RolloutGapError where the engine's log-probs are too far from the trainer's."""
    gap = float(rollouts.gap.mean())
    if not gap <= bound:
        raise RolloutGapError(
            f"step {step}: the log-probs of the sampled tokens differ by {gap:.3g} nats in the mean"
            f" between the rollout engine and the trainer, more than train.max_rollout_gap"
            f" ({bound:g}): the engine has other weights, another precision or another"
            " distribution than the trainer"
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
    }
