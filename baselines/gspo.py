"""GSPO (arXiv 2507.18071) in its token form: one ratio per response, the geometric mean.

    s_{i,t} = exp(sg(mean_t z_{i,t}) + log pi - sg(log pi))

Its gradient is exactly that of the sequence form min(s_i A_i, clip(s_i) A_i), s_i = exp(mean_t z).
"""

from __future__ import annotations

from dataclasses import dataclass

from kpo.objective import (
    Bound,
    ObjectiveOutput,
    ShareBound,
    TokenBatch,
    clipped_surrogate,
    masked_mean,
    mean_over,
    token_log_ratio,
)
from kpo.settings import Settings


@dataclass(frozen=True, kw_only=True)
class GSPO(Settings):
    """Sequence ratio clipped to [1 - clip_low, 1 + clip_high]."""

    clip_low: ShareBound = 3e-4
    clip_high: Bound = 4e-4

    def __call__(self, batch: TokenBatch) -> ObjectiveOutput:
        """Loss of the batch."""
        z = token_log_ratio(batch)
        mean = masked_mean(z, batch.mask)[:, None].expand_as(z)
        return clipped_surrogate(batch, mean, self.clip_low, self.clip_high, mean_over(self))
