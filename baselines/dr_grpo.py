"""Dr. GRPO (arXiv 2503.20783): GRPO without its two divisions.

Advantages are R - mean R, not divided by the group's standard deviation, and a response counts as a
constant `length` whatever its own, so that long wrong answers are not favoured.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar

from kpo.baselines.grpo import GRPO
from kpo.settings import Within


@dataclass(frozen=True, kw_only=True)
class DrGRPO(GRPO):
    """Raw token ratios, clipped; `length` [tokens]: the paper's is the longest response allowed."""

    divides_by_std: ClassVar[bool] = False

    length: Annotated[int, Within(ge=1)]

    @property
    def mean_over(self) -> int:
        """Tokens that a response counts as."""
        return self.length
