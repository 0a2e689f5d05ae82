"""The learning rate's schedule: a linear rise, then constant or a cosine.

As torch's LambdaLR with each rate in closed form: its LinearLR and CosineAnnealingLR multiply from
update to update, which moves the last bits of the rates.
"""

from __future__ import annotations

import math

from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR


def warm_up(
    optimizer: Optimizer, warm_up_steps: int, *, steps: int = 0, final: float = 1.0
) -> LambdaLR:
    """Rise linearly over `warm_up_steps` updates, then stay, or fall to `final` of the peak.

    It falls along a cosine that ends at `steps` updates.
    """

    def factor(step: int) -> float:
        if step < warm_up_steps:
            return (step + 1) / warm_up_steps
        progress = min(1.0, (step - warm_up_steps) / max(1, steps - warm_up_steps))
        return final + (1 - final) * 0.5 * (1 + math.cos(math.pi * progress))

    return LambdaLR(optimizer, factor)
