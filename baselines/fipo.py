"""FIPO (arXiv 2603.19835): tokens weigh more where the policy has moved towards what follows them.

    F_t = sum_{k >= t} 2^{-(k - t) / half_life} z_k
    f_t = clip(exp(F_t), 1, 1 + reach), but clip(exp(F_t), 1 - reach, 1) where A < 0 and r_t > 4
    J = sum_t f_t min(r_t A, clip(r_t, 1 - clip_low, 1 + clip_high) A),   r = exp(z)

F is KPO's filter with a steady gain, run from the end to the beginning and not normalised: the
anti-causal mirror of KPO. No gradient flows through f.

Deviation: FIPO has no dual clip, and no token is left out of F for the size of its ratio.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, ClassVar

from kpo.memory import q_from_memory
from kpo.objective import (
    Bound,
    MeanOver,
    ObjectiveOutput,
    ShareBound,
    TokenBatch,
    clipped_surrogate,
    mean_over,
    token_log_ratio,
)
from kpo.settings import Settings, Within

if TYPE_CHECKING:  # experiment files are checked without torch
    from torch import Tensor

UNSAFE = 4.0
"""The ratio above which a token of negative advantage is weighed no more than others."""


@dataclass(frozen=True, kw_only=True)
class FIPO(Settings):
    """PPO's clip with weights within `reach` of 1; `half_life` of the future in tokens."""

    mean_over: ClassVar[MeanOver] = "tokens"

    half_life: Annotated[float, Within(ge=0.1)] = 32.0
    reach: ShareBound = 0.2
    clip_low: ShareBound = 0.2
    clip_high: Bound = 0.28

    def __call__(self, batch: TokenBatch) -> ObjectiveOutput:
        """Loss of the batch."""
        z = token_log_ratio(batch)
        A = batch.advantages[:, None]
        unsafe = (A < 0) & (z.exp() > UNSAFE)
        f = self._future(z, batch).exp()
        f = f.clamp(1, 1 + self.reach).where(~unsafe, f.clamp(1 - self.reach, 1))
        return clipped_surrogate(batch, z, self.clip_low, self.clip_high, mean_over(self), f)

    def _future(self, z: Tensor, batch: TokenBatch) -> Tensor:
        """F [B, T]."""
        from kpo.kalman import kalman_filter  # noqa: PLC0415 - needs torch, settings do not

        gain = 1 - 2 ** (-1 / self.half_life)
        q = q_from_memory(1 / gain)
        return kalman_filter(z, batch.mask, q=q, start="steady", direction="anticausal") / gain
