"""How much of a response the filter remembers, in its steady state: q, gain and tokens."""

from __future__ import annotations

import math


def check_q(q: float) -> None:
    """Raise ValueError unless q = Q / V is a finite number above 0."""
    if not (isinstance(q, float | int) and math.isfinite(q) and q > 0):
        raise ValueError(f"q = Q/V must be a finite number above 0, got {q!r}")


def steady_gain(q: float) -> float:
    """Limit of the gain K_t for t -> infinity: the positive root of K^2 + q K - q = 0."""
    check_q(q)
    return 2.0 / (1.0 + math.sqrt(1.0 + 4.0 / q))


def q_from_memory(memory: float) -> float:
    """The q whose steady gain is 1 / memory: the filter then remembers about `memory` tokens.

    Raises ValueError unless memory is a finite number above 1.
    """
    if not (math.isfinite(memory) and memory > 1):
        raise ValueError(f"memory must be a finite number of tokens above 1, got {memory!r}")
    gain = 1.0 / memory
    return gain * gain / (1.0 - gain)


def memory_from_q(q: float) -> float:
    """Tokens that the filter remembers in its steady state, 1 / K."""
    return 1.0 / steady_gain(q)
