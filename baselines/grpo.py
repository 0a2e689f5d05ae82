"""GRPO (arXiv 2402.03300): PPO's clipped surrogate on raw token ratios r = exp(z).

Deviations from the paper: no KL term; mean over responses of the mean over their tokens, as for
every method here.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from kpo.objective import (
    MeanOver,
    ObjectiveOutput,
    Role,
    TokenBatch,
    check_ratio_clip,
    clipped_surrogate,
    token_log_ratio,
)


@dataclass(frozen=True, kw_only=True)
class GRPO:
    """Raw token ratios clipped to [1 - clip_low, 1 + clip_high]."""

    role: ClassVar[Role] = "baseline"
    mean_over: ClassVar[MeanOver] = "responses"

    clip_low: float = 0.2
    clip_high: float = 0.2

    def __post_init__(self) -> None:
        check_ratio_clip(self.clip_low, self.clip_high)

    def __call__(self, batch: TokenBatch) -> ObjectiveOutput:
        """Loss of the batch."""
        z = token_log_ratio(batch)
        return clipped_surrogate(batch, z, self.clip_low, self.clip_high, self.mean_over)
