"""What a loss is a mean over, in verl's words."""

from __future__ import annotations

from kpo.objective import MeanOver

MEANS = {"responses": "seq-mean-token-mean", "tokens": "token-mean"}
CONSTANT_LENGTH = "seq-mean-token-sum-norm"
"""Where each response counts as a number of tokens, verl's `loss_scale_factor`."""


def agg_mode(over: MeanOver) -> str:
    """verl's `loss_agg_mode`."""
    return CONSTANT_LENGTH if isinstance(over, int) else MEANS[over]
