"""GMPO (arXiv 2507.20673): geometric mean of token ratios clipped in the log domain.

    c_{i,t} = min(z_{i,t}, clip_high) if A_i > 0, max(z_{i,t}, -clip_low) otherwise
    J = sum_i exp(1/T_i sum_t c_{i,t}) A_i

The clip acts on the pessimistic side only; a clipped token has no gradient.
"""

from __future__ import annotations

from dataclasses import dataclass

from kpo.objective import (
    Bound,
    ObjectiveOutput,
    TokenBatch,
    masked_mean,
    token_log_ratio,
)
from kpo.settings import Settings


@dataclass(frozen=True, kw_only=True)
class GMPO(Settings):
    """Clip of the token log-ratios, in nats: [-clip_low, clip_high]."""

    clip_low: Bound = 0.4
    clip_high: Bound = 0.4

    def __call__(self, batch: TokenBatch) -> ObjectiveOutput:
        """Loss of the batch."""
        mask = batch.mask.bool()
        A = batch.advantages
        z = token_log_ratio(batch)
        c = z.clamp(max=self.clip_high).where(A[:, None] > 0, z.clamp(min=-self.clip_low))
        mean = masked_mean(c, mask)
        return ObjectiveOutput(
            loss=-(mean.masked_fill(A == 0, 0).exp() * A * mask.any(1)).sum(),
            count=mask.any(1).sum(),
            metrics={"clip_fraction": ((mask & (c != z)).sum(), mask.sum())},
            log_ratio=mean.detach()[:, None].expand_as(z).masked_fill(~mask, 0),
        )
