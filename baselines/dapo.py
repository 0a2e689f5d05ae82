"""DAPO's loss (arXiv 2503.14476): GRPO's with a higher upper bound, as a mean over tokens.

Only the clip and the mean: the paper's dynamic sampling, overlong filtering and soft length penalty
concern rollouts and rewards, not the objective.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from kpo.baselines.grpo import GRPO
from kpo.objective import Bound, MeanOver


@dataclass(frozen=True, kw_only=True)
class DAPO(GRPO):
    """Raw token ratios clipped to [1 - clip_low, 1 + clip_high]; every token counts alike."""

    mean_over: ClassVar[MeanOver] = "tokens"

    clip_high: Bound = 0.28
