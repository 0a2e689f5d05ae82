"""Token-clipped control: GRPO with KPO's clip range, that is KPO without its filter.

It is no published method. It separates the effect of the tight clip from that of the filter.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from baselines.grpo import GRPO
from kpo.objective import Bound, Role, ShareBound


@dataclass(frozen=True, kw_only=True)
class TokenClipped(GRPO):
    """Raw token ratios clipped to [1 - 3e-4, 1 + 4e-4]."""

    role: ClassVar[Role] = "control"

    clip_low: ShareBound = 3e-4
    clip_high: Bound = 4e-4
