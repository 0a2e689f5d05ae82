"""KPO: the clipped surrogate on Kalman-filtered log-ratios (arXiv 2602.10609).

    r_{i,t} = exp(sg(x_{i,t}) + log pi - sg(log pi)),   x_i = KalmanFilter(z_i; q = Q / V)

clipped to [1 - clip_low, 1 + clip_high], or not clipped at all. No gradient flows through the
filter. The paper's settings: q = 1e-6 with clip 3e-4 / 4e-4, and q = 1e-4 without a clip.

`memory` may be given in place of q: the number of tokens that the filter remembers in its steady
state. `saturate` bounds its innovations [standard deviations].

Deviation: the filter's start, its memory in tokens, its direction and a bound on its innovations
are settings, as the paper's q and start fit responses of thousands of tokens; the defaults are the
paper's. Switch: `start`, `memory`, `direction`, `saturate`. Measured: `tiny`: `kpo-clipped` against
`gspo`; `tiny`: `kpo-clipped-diffuse` against `gspo`; `arms`: `known` against `gspo`; `arms`:
`diffuse` against `gspo`.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Annotated, Any, ClassVar

from kpo.memory import Direction, Start, memory_from_q, q_from_memory
from kpo.objective import (
    Bound,
    ObjectiveOutput,
    Role,
    ShareBound,
    TokenBatch,
    clipped_surrogate,
    mean_over,
    token_log_ratio,
)
from kpo.settings import Settings, Within


@dataclass(frozen=True, kw_only=True)
class KPO(Settings):
    """KPO's objective; give q or memory (tokens), and both clips or None for both."""

    role: ClassVar[Role] = "proposed"

    q: float | None = None
    memory: float | None = None
    clip_low: ShareBound | None = 3e-4
    clip_high: Bound | None = 4e-4
    start: Start = "known"
    direction: Direction = "causal"
    saturate: Annotated[float, Within(gt=0)] | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if (self.q is None) == (self.memory is None):
            raise ValueError(
                f"give exactly one of q and memory, got q={self.q!r}, memory={self.memory!r}"
            )
        if self.memory is not None:
            object.__setattr__(self, "q", q_from_memory(self.memory))
        elif self.q is not None:
            object.__setattr__(self, "memory", memory_from_q(self.q))
        if (self.clip_low is None) != (self.clip_high is None):
            raise ValueError(
                "clip_low and clip_high must both be numbers or both be None (unclipped), got"
                f" {self.clip_low!r} and {self.clip_high!r}"
            )
        if self.saturate is not None and self.direction == "two_sided":
            raise ValueError(
                f"saturate is {self.saturate!r}, but there is no innovation to bound where"
                " direction is two_sided"
            )

    def __call__(self, batch: TokenBatch) -> ObjectiveOutput:
        """Loss of the batch; with `saturate` also the share of tokens whose innovation it bound."""
        from kpo.kalman import kalman_filter, saturated_filter  # noqa: PLC0415 - needs torch

        assert self.q is not None
        z, mask = token_log_ratio(batch), batch.mask.bool()
        how: dict[str, Any] = {"q": self.q, "start": self.start, "direction": self.direction}
        if self.saturate is None:
            x = kalman_filter(z, mask, **how)
            return clipped_surrogate(batch, x, self.clip_low, self.clip_high, mean_over(self))
        x, bounded = saturated_filter(z, mask, saturate=self.saturate, **how)
        output = clipped_surrogate(batch, x, self.clip_low, self.clip_high, mean_over(self))
        metrics = {**output.metrics, "saturated": (bounded.sum(), mask.sum())}
        return replace(output, metrics=metrics)
