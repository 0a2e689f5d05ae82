"""Learning-rate schedules: a linear rise, then constant or a cosine.

As torch's LambdaLR with each rate in closed form: its LinearLR and CosineAnnealingLR multiply from
update to update, which moves the last bits of the rates.
"""

from __future__ import annotations

import math

from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR


def warm_up_constant(optimizer: Optimizer, warm_up_steps: int) -> LambdaLR:
    """Rise linearly over `warm_up_steps` updates, then stay."""
    return warm_up_cosine(optimizer, warm_up_steps, warm_up_steps=warm_up_steps, final=1.0)


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
