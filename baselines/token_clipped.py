"""Token-clipped control: GRPO with KPO's clip range, that is KPO without its filter.

It is no published method. It separates the effect of the tight clip from that of the filter.

Deviation: the paper's baselines have other clip ranges than KPO, so that filter and clip are
confounded; here a row has KPO's clip and no filter. Switch: `methods`. Measured: `tiny`:
`kpo-clipped` against `token-clipped`; `tiny`: `token-clipped` against `grpo`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from kpo.baselines.grpo import GRPO
from kpo.objective import Bound, Role, ShareBound


@dataclass(frozen=True, kw_only=True)
class TokenClipped(GRPO):
    """Raw token ratios clipped to [1 - 3e-4, 1 + 4e-4]."""

    role: ClassVar[Role] = "control"

    clip_low: ShareBound = 3e-4
    clip_high: Bound = 4e-4
