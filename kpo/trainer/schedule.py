"""Learning-rate schedules: a linear rise, then constant or a cosine."""

from __future__ import annotations

import math

from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR


def warm_up_constant(optimizer: Optimizer, warm_up_steps: int) -> LambdaLR:
    """Rise linearly over `warm_up_steps` updates, then stay."""
    return LambdaLR(optimizer, lambda step: min(1.0, (step + 1) / max(1, warm_up_steps)))


def warm_up_cosine(
    optimizer: Optimizer, steps: int, *, warm_up_steps: int, final: float
) -> LambdaLR:
    """Rise linearly, then fall along a cosine to `final` of the peak at `steps`."""

    def factor(step: int) -> float:
        if step < warm_up_steps:
            return (step + 1) / warm_up_steps
        progress = min(1.0, (step - warm_up_steps) / max(1, steps - warm_up_steps))
        return final + (1 - final) * 0.5 * (1 + math.cos(math.pi * progress))

    return LambdaLR(optimizer, factor)
