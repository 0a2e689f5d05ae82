"""REINFORCE on every mini-batch: the ratio taken as 1, no correction at all.

    J = 1/T sum_t A log pi(y_t)

It is what KPO without a clip comes to for q -> 0, and the best estimate where log-ratios are noise
around 0. The baseline is the group's mean, as for every method here (frameworks: GPG, RGRA).
"""

from __future__ import annotations

from dataclasses import dataclass

from kpo.objective import (
    ObjectiveOutput,
    TokenBatch,
    mean_over,
    token_log_ratio,
    weighted_surrogate,
)
from kpo.settings import Settings


@dataclass(frozen=True, kw_only=True)
class REINFORCE(Settings):
    """No ratio, no settings."""

    def __call__(self, batch: TokenBatch) -> ObjectiveOutput:
        """Loss of the batch."""
        zero = token_log_ratio(batch).detach() * 0
        return weighted_surrogate(batch, batch.logprobs, zero.exp(), zero, mean_over(self))
