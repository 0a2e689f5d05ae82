"""VESPO: a soft window on the ratio of a whole response, W = exp(sum_t z_t).

    J = sum_t sg(phi(W)) A log pi(y_t),   phi(W) = W^k exp(l (1 - W))

phi is 1 at W = 1 and at most (k/l)^k exp(l - k), at W = k / l; (k, l) depends on the sign of A.
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

SHUT = -80.0
"""log phi of a window that is shut, finite for the statistics of ratios."""

Shape = Annotated[float, Within(gt=0)]


@dataclass(frozen=True, kw_only=True)
class VESPO(Settings):
    """Window (k, l) for A >= 0 and for A < 0."""

    mean_over: ClassVar[MeanOver] = "tokens"

    k_positive: Shape = 2.0
    l_positive: Shape = 3.0
    k_negative: Shape = 3.0
    l_negative: Shape = 2.0

    def __call__(self, batch: TokenBatch) -> ObjectiveOutput:
        """Loss of the batch."""
        z = token_log_ratio(batch)
        kept = batch.advantages[:, None] >= 0
        k = z.new_tensor(self.k_positive).where(kept, self.k_negative)
        l = z.new_tensor(self.l_positive).where(kept, self.l_negative)  # noqa: E741 - the paper's
        log_W = z.sum(1, keepdim=True)
        log_phi = (k * log_W + l * (1 - log_W.exp())).clamp(min=SHUT).expand_as(z)
        weight = log_phi.exp()
        value = weight * batch.logprobs
        return weighted_surrogate(batch, value, weight, log_phi, mean_over(self))
