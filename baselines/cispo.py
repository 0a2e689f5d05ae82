"""CISPO (MiniMax-M1, arXiv 2506.13585): the clip bounds a token's weight, and drops no token.

    J = sum_t sg(clip(r_t, weight_low, weight_high)) A log pi(y_t),   r = exp(z)

The bounds are of the weight itself, not distances from 1.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from kpo.objective import (
    Bound,
    MeanOver,
    ObjectiveOutput,
    TokenBatch,
    mean_over,
    token_log_ratio,
    weighted_surrogate,
)
from kpo.settings import Settings


@dataclass(frozen=True, kw_only=True)
class CISPO(Settings):
    """Raw token ratios bounded to [weight_low, weight_high]."""

    mean_over: ClassVar[MeanOver] = "tokens"

    weight_low: Bound = 0.0
    weight_high: Bound = 5.0

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.weight_low > self.weight_high:
            raise ValueError(
                f"cispo wants weight_low <= weight_high, got {self.weight_low} and"
                f" {self.weight_high}"
            )

    def __call__(self, batch: TokenBatch) -> ObjectiveOutput:
        """Loss of the batch."""
        z = token_log_ratio(batch)
        r = z.exp()
        weight = r.clamp(self.weight_low, self.weight_high)
        value = weight * batch.logprobs
        return weighted_surrogate(batch, value, weight, z, mean_over(self), weight != r)
