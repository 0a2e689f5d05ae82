"""How far one policy's log-probs are from another's, added up over responses.

ess            effective sample size of the tokens' ratios r = exp(d), as a share of them:
               (mean r)^2 / mean r^2
ess_responses  the same of whole responses' ratios exp(sum_t d_t)
kl             mean of r - 1 - d, an estimate of KL(from || to) that is at least 0, nats
mean_abs, max_abs   mean and largest |d|, nats
min_abs        smallest |d| that is not 0: 1e-3 and more is the rounding of bfloat16
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np

from kpo.series.ragged import Floats, Ragged


@dataclass
class Weights:
    """Sums of exp(l) and of exp(2 l), in range whatever l."""

    top: float = -math.inf
    first: float = 0.0
    second: float = 0.0
    n: int = 0

    def add(self, log_weights: Floats) -> None:
        """Add l [N], N >= 1."""
        top = max(self.top, float(log_weights.max()))
        shrunk, weights = math.exp(self.top - top), np.exp(log_weights - top)
        self.first = self.first * shrunk + float(weights.sum())
        self.second = self.second * shrunk**2 + float((weights**2).sum())
        self.top = top
        self.n += len(log_weights)

    @property
    def effective_share(self) -> float:
        """Effective sample size as a share of their number."""
        return self.first**2 / (self.n * self.second) if self.n else math.nan


@dataclass
class Ratios:
    """Adds up log-ratios d."""

    tokens: Weights = field(default_factory=Weights)
    responses: Weights = field(default_factory=Weights)
    divergence: float = 0.0
    size: float = 0.0
    largest: float = 0.0
    smallest: float = math.inf

    def add(self, d: Ragged) -> None:
        """Add responses."""
        size = np.abs(d.values)
        self.tokens.add(d.values)
        self.responses.add(d.means * d.lengths)
        with np.errstate(over="ignore"):
            self.divergence += float((np.expm1(d.values) - d.values).sum())
        self.size += float(size.sum())
        self.largest = max(self.largest, float(size.max()))
        self.smallest = min(self.smallest, float(size[size > 0].min(initial=math.inf)))

    def summary(self) -> dict[str, float]:
        """All of them by name."""
        n = self.tokens.n or math.nan
        return {
            "ess": self.tokens.effective_share,
            "ess_responses": self.responses.effective_share,
            "kl": self.divergence / n,
            "mean_abs": self.size / n,
            "max_abs": self.largest,
            "min_abs": self.smallest,
        }
