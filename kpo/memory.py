"""The filter's settings, without torch: what it knows at the start, how much it remembers.

    pass(t) = 1 - prod_{j<=t} (1 - K_j)

is the share of a constant drift that has come through after t tokens.
"""

from __future__ import annotations

import math
from typing import Literal

Start = Literal["known", "steady", "diffuse"]
"""What the filter knows of x_0 before the first token: `known`, P_0 = 0, the paper's, so that the
first gains are about q t and what passes is shrunk towards 0; `steady`, the gain's limit from the
first token on, an exponential average from 0; `diffuse`, nothing, P_0 -> infinity: x_1 = z_1."""

Direction = Literal["causal", "anticausal", "two_sided", "shuffled"]
"""What x_t is an estimate from: z_1 .. z_t, the paper's; z_t .. z_T; all of them, the smoother; or
those that come before it in an order that is drawn once and has nothing to do with the text."""


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


def pass_share(t: float, q: float, start: Start = "known") -> float:
    """Share of a drift that is constant from the first token on in the state after t tokens.

    known: 1 - cosh(theta / 2) / cosh((t + 1/2) theta) with cosh theta = 1 + q / 2, which solves the
    recursion P_0 = 0 exactly.
    """
    check_q(q)
    if start == "diffuse":
        return 1.0
    if start == "steady":
        return -math.expm1(t * math.log1p(-steady_gain(q)))
    half = math.asinh(math.sqrt(q) / 2)  # theta / 2, as cosh theta - 1 = 2 sinh^2 (theta / 2)
    # cosh a / cosh b without overflow
    a, b = half, (2 * t + 1) * half
    return 1 - math.exp(a - b) * (1 + math.exp(-2 * a)) / (1 + math.exp(-2 * b))


def mean_pass_share(length: int, q: float, start: Start = "known") -> float:
    """The mean of `pass_share` over the tokens of a response."""
    return sum(pass_share(t, q, start) for t in range(1, length + 1)) / length
