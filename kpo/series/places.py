"""Where log-ratios are from: kept apart by stage of training and by use of the responses."""

from __future__ import annotations

from typing import Literal, get_args

Use = Literal["first", "later"]
Stage = Literal["begin", "middle", "end"]
"""Of a training: thirds of its steps."""
USES: tuple[Use, ...] = get_args(Use)
STAGES: tuple[Stage, ...] = get_args(Stage)


def stage_of(step: int, steps: int) -> Stage:
    """The stage of a step, from 0, of a training of so many."""
    return STAGES[len(STAGES) * step // steps]
