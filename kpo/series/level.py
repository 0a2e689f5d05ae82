"""Random walk plus noise against white noise: which explains log-ratios better, and with which q?

The model is the filter's (`kpo.kalman`), but for the start, of which nothing is known:

    z_t = x_t + e_t, e_t ~ N(0, V)      x_t = x_{t-1} + w_t, w_t ~ N(0, q V)

q = 0 is white noise around a mean of the response's own. The likelihood is that of the innovations
v_t = z_t - x_{t-1|t-1}, t >= 2, whose variances are V F_t (Harvey, Forecasting, Structural Time
Series Models and the Kalman Filter, 1989, section 4.2): with F_t = P_{t-1} + q + 1, P_1 = 1 and
P_t = (F_t - 1) / F_t in units of V. V is one for all responses, by maximum likelihood

    V = sum v_t^2 / F_t / n,   l(q) = -1/2 (n log V + sum log F_t) + constant,   n = sum (T - 1)
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from kpo.series.ragged import Floats, Ragged

GRID = np.concatenate([[0.0], 10.0 ** np.linspace(-8, 2, 41)])
"""q's that are tried: white noise, and four a decade."""


@dataclass
class LevelLikelihood:
    """Adds up, over responses, what the likelihood of each q of the grid needs."""

    squares: Floats = field(default_factory=lambda: np.zeros(len(GRID)))
    log_variances: Floats = field(default_factory=lambda: np.zeros(len(GRID)))
    n: int = 0

    def add(self, z: Ragged) -> None:
        """Add responses; those of one token say nothing."""
        order = np.argsort(-z.lengths, kind="stable")
        padded, _ = z.padded()
        padded, lengths = padded[order], z.lengths[order]
        x = np.broadcast_to(padded[:, :1].T, (len(GRID), len(lengths))).copy()  # [q, response]
        P = np.ones(len(GRID))
        for t in range(1, padded.shape[1]):
            there = int(np.searchsorted(-lengths, -t))  # responses with more than t tokens
            F = P + GRID + 1
            K = (F - 1) / F
            v = padded[:there, t] - x[:, :there]
            x[:, :there] += K[:, None] * v
            self.squares += (v**2).sum(1) / F
            self.log_variances += there * np.log(F)
            P = K
        self.n += int((lengths - 1).sum())

    def merge(self, other: LevelLikelihood) -> None:
        """Add what another has added up."""
        self.squares += other.squares
        self.log_variances += other.log_variances
        self.n += other.n

    def fit(self) -> tuple[float, float]:
        """The q of the highest likelihood, and how many nats it is above that of q = 0.

        q is nan where nothing varies.
        """
        if self.n == 0 or not self.squares.all():
            return float("nan"), 0.0
        likelihood = -0.5 * (self.n * np.log(self.squares / self.n) + self.log_variances)
        best = int(likelihood.argmax())
        return float(GRID[best]), float(likelihood[best] - likelihood[0])
