"""How near gradients of mini-batches are to the true one, from their inner products alone.

g_1..g_m are gradients of independent mini-batches with mean gamma, t_1..t_K those of independent
parts of a large on-policy batch with mean tau, the truth. Every square of a mean is estimated from
pairs of different mini-batches or parts, so that noise adds nothing to it: squared biases are
unbiased. They can come out below 0, and cosines of means above 1, as their standard errors allow.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

FIGURES = ("cosine", "cosine_batch", "slope", "bias", "variance", "mse", "mse_scaled")
"""See `figures`, in its order."""


@dataclass(frozen=True)
class Products:
    """Inner products: of gradients `own` [m, m], with the truth `cross` [m, K], `truth` [K, K]."""

    own: Array
    cross: Array
    truth: Array

    @property
    def norm(self) -> float:
        """|tau|^2; NaN where nothing of it is left beside noise."""
        norm = squared_mean(self.truth)
        return norm if norm > 0 else np.nan

    @property
    def noise(self) -> float:
        """E |mean t - tau|^2 / |tau|^2, the truth's own error."""
        K = len(self.truth)
        return float((np.trace(self.truth) / K / self.norm - 1) / K)

    def without_batch(self, i: int) -> Products:
        """Those of the other mini-batches."""
        return Products(drop(drop(self.own, i, 0), i, 1), drop(self.cross, i, 0), self.truth)

    def without_part(self, k: int) -> Products:
        """Those of the other parts of the truth."""
        return Products(self.own, drop(self.cross, k, 1), drop(drop(self.truth, k, 0), k, 1))


def drop(values: Array, place: int, axis: int) -> Array:
    """The values without one place of an axis."""
    return np.delete(values, place, axis)


def squared_mean(products: Array) -> float:
    """The squared norm of the mean that n vectors with these inner products [n, n] have, unbiased.

    NaN for fewer than two vectors.
    """
    n = len(products)
    return float((products.sum() - np.trace(products)) / (n * (n - 1))) if n > 1 else np.nan


def squared_product(cross: Array) -> float:
    """The square of gamma tau from inner products [m, K], unbiased; NaN for m or K below two."""
    m, K = cross.shape
    same = (cross.sum(1) ** 2).sum() + (cross.sum(0) ** 2).sum() - (cross**2).sum()
    return float((cross.sum() ** 2 - same) / (m * (m - 1) * K * (K - 1))) if m > 1 < K else np.nan


def figures(p: Products) -> Array:
    """The figures of FIGURES [7]; NaN for a root or quotient that noise leaves without a value.

    cosine of gamma and tau; cosine_batch, the mean of that of g_i and tau, 0 where g_i is; slope,
    gamma's part along tau, in units of |tau|; and, in units of |tau|^2, bias |gamma - tau|^2,
    variance E |g_i - gamma|^2, mse, their sum, and mse_scaled, the least of E |c g_i - tau|^2 over
    c: what is left where, as under Adam, a gradient's length does not count.
    """
    with np.errstate(all="ignore"):
        along, square, norm = p.cross.mean(), np.trace(p.own) / len(p.own), p.norm
        own = squared_mean(p.own)
        lengths = np.sqrt(np.diag(p.own))
        cosines = np.divide(p.cross.mean(1), lengths, out=np.zeros_like(lengths), where=lengths > 0)
        bias, variance = own - 2 * along + norm, square - own
        found = np.array(
            [
                along / np.sqrt(own * norm),
                cosines.mean() / np.sqrt(norm),
                along / norm,
                bias / norm,
                variance / norm,
                (bias + variance) / norm,
                1 - squared_product(p.cross) / (square * norm),
            ]
        )
    return np.where(np.isfinite(found), found, np.nan)


@dataclass(frozen=True)
class Replicates:
    """Figures of all gradients [F], and without each mini-batch [m, F] or each part [K, F]."""

    whole: Array
    without_batch: Array
    without_part: Array

    @classmethod
    def of(cls, p: Products) -> Replicates:
        """Those of `figures`; their standard errors take 3 mini-batches and 3 parts, or are NaN."""
        batches = [figures(p.without_batch(i)) for i in range(len(p.own))]
        parts = [figures(p.without_part(k)) for k in range(len(p.truth))]
        return cls(figures(p), np.array(batches), np.array(parts))

    def __sub__(self, other: Replicates) -> Replicates:
        """Differences to the figures of another objective on the same mini-batches."""
        return Replicates(
            self.whole - other.whole,
            self.without_batch - other.without_batch,
            self.without_part - other.without_part,
        )

    @property
    def errors(self) -> Array:
        """Standard errors [F] by the jackknife over mini-batches and over parts of the truth."""
        both = self.without_batch, self.without_part
        return np.sqrt(sum((len(x) - 1) * x.var(0) for x in both))
