"""SAPO (arXiv 2511.20347): a soft gate in place of the clip.

    J = 1/T sum_t (4 / tau) sigmoid(tau (r_t - 1)) A,   r = exp(z)

A token's gradient is weighted by 4 u (1 - u) r with u = sigmoid(tau (r - 1)): 1 on policy, falling
off on both sides, faster where A < 0.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from kpo.objective import (
    ObjectiveOutput,
    TokenBatch,
    mean_over,
    token_log_ratio,
    weighted_surrogate,
)
from kpo.settings import Settings, Within

Temperature = Annotated[float, Within(gt=0)]


@dataclass(frozen=True, kw_only=True)
class SAPO(Settings):
    """Gates of temperature tau_positive where A > 0, tau_negative elsewhere."""

    tau_positive: Temperature = 1.0
    tau_negative: Temperature = 1.05

    def __call__(self, batch: TokenBatch) -> ObjectiveOutput:
        """Loss of the batch."""
        z = token_log_ratio(batch)
        r = z.clamp(max=50.0).exp()  # where the gate is shut in any case, and r finite
        A = batch.advantages[:, None]
        tau = r.new_tensor(self.tau_positive).where(A > 0, self.tau_negative)
        gate = (tau * (r - 1)).sigmoid()
        slope = 4 * gate * (-tau * (r - 1)).sigmoid() * r
        return weighted_surrogate(batch, 4 / tau * gate, slope, z, mean_over(self))
