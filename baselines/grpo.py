"""GRPO (arXiv 2402.03300): PPO's clipped surrogate on raw token ratios r = exp(z).

Deviation: GRPO's own paper has a KL term; here there is none, as in KPO's comparison.
"""

from __future__ import annotations

from dataclasses import dataclass

from kpo.objective import (
    Bound,
    ObjectiveOutput,
    ShareBound,
    TokenBatch,
    clipped_surrogate,
    mean_over,
    token_log_ratio,
)
from kpo.settings import Settings


@dataclass(frozen=True, kw_only=True)
class GRPO(Settings):
    """Raw token ratios clipped to [1 - clip_low, 1 + clip_high]."""

    clip_low: ShareBound = 0.2
    clip_high: Bound = 0.2

    def __call__(self, batch: TokenBatch) -> ObjectiveOutput:
        """Loss of the batch."""
        z = token_log_ratio(batch)
        return clipped_surrogate(batch, z, self.clip_low, self.clip_high, mean_over(self))
