"""DPPO with total variation (arXiv 2602.04879): a trust region in probabilities, not in ratios.

    J = sum_t M_t sg(min(r_t, cap)) A log pi(y_t),   r = exp(z)
    M_t = 0 where A > 0 and p_t - p_old > threshold, or A < 0 and p_old - p_t > threshold, else 1

p_t = pi(y_t): a rare token may move by a large ratio, as it moves little probability.

Deviation: DPPO's trust region lies around pi_old, the trainer's own log-probs of the sampled
weights, and not around the sampler's, which are the same up to `logprob_mismatch`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar

from kpo.objective import (
    MeanOver,
    ObjectiveOutput,
    TokenBatch,
    mean_over,
    token_log_ratio,
    weighted_surrogate,
)
from kpo.settings import Settings, Within


@dataclass(frozen=True, kw_only=True)
class DPPOTV(Settings):
    """Raw token ratios of at most `cap`, dropped where the probability moved by `threshold`."""

    mean_over: ClassVar[MeanOver] = "tokens"

    threshold: Annotated[float, Within(gt=0, le=1)] = 0.15
    cap: Annotated[float, Within(ge=1)] = 20.0

    def __call__(self, batch: TokenBatch) -> ObjectiveOutput:
        """Loss of the batch."""
        z = token_log_ratio(batch)
        moved = batch.logprobs.exp() - batch.old_logprobs.exp()
        A = batch.advantages[:, None]
        dropped = moved * A.sign() > self.threshold
        weight = z.exp().clamp(max=self.cap).masked_fill(dropped, 0)
        value = weight * batch.logprobs
        return weighted_surrogate(batch, value, weight, z, mean_over(self), dropped)
