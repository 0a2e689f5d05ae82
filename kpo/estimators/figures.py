"""How near gradients of mini-batches are to the true one, from their inner products alone.

g_1..g_m are gradients of independent mini-batches with mean gamma, t_1..t_K those of independent
parts of a large on-policy batch with mean tau, the truth. Every square of a mean is estimated from
pairs of different mini-batches or parts, so that noise adds nothing to it: squared biases are
unbiased. They can come out below 0, and cosines of means above 1, as their standard errors allow.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
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


def moments(p: Products) -> Array:
    """What figures follow from [5], all in units of |tau|, and unbiased beside it.

    gamma tau; the mean cosine of g_i and tau, 0 where g_i is; |gamma|^2; E |g_i|^2; (gamma tau)^2.
    """
    with np.errstate(all="ignore"):
        norm, lengths = p.norm, np.sqrt(np.diag(p.own))
        cosines = np.divide(p.cross.mean(1), lengths, out=np.zeros_like(lengths), where=lengths > 0)
        return np.array(
            [
                p.cross.mean() / norm,
                cosines.mean() / np.sqrt(norm),
                squared_mean(p.own) / norm,
                np.trace(p.own) / len(p.own) / norm,
                squared_product(p.cross) / norm**2,
            ]
        )


def figures(moments: Array) -> Array:
    """The figures of FIGURES [..., 7] from moments [..., 5]; NaN for a root of what is below 0.

    cosine of gamma and tau; cosine_batch, the mean of that of g_i and tau; slope, gamma's part
    along tau, in units of |tau|; and, in units of |tau|^2, bias |gamma - tau|^2, variance
    E |g_i - gamma|^2, mse, their sum, and mse_scaled, the least of E |c g_i - tau|^2 over c: what
    is left where, as under Adam, a gradient's length does not count.
    """
    slope, cosine_batch, own, square, product = np.moveaxis(moments, -1, 0)
    with np.errstate(all="ignore"):
        bias, variance = own - 2 * slope + 1, square - own
        cosine, mse_scaled = slope / np.sqrt(own), 1 - product / square
        found = [cosine, cosine_batch, slope, bias, variance, bias + variance, mse_scaled]
    values = np.stack(found, -1)
    return np.where(np.isfinite(values), values, np.nan)


@dataclass(frozen=True)
class Replicates:
    """Values [F], and for each independent sample of n members those without each member [n, F]."""

    whole: Array
    without: tuple[Array, ...]

    @classmethod
    def of(cls, p: Products) -> Replicates:
        """Moments; the samples are the mini-batches and the parts of the truth, 3 at the least."""
        batches = [moments(p.without_batch(i)) for i in range(len(p.own))]
        parts = [moments(p.without_part(k)) for k in range(len(p.truth))]
        return cls(moments(p), (np.array(batches), np.array(parts)))

    @classmethod
    def mean(cls, several: Sequence[Replicates]) -> Replicates:
        """Means of independent values, each with samples of its own."""
        whole = np.mean([each.whole for each in several], axis=0)
        moved = (
            whole + (values - each.whole) / len(several)
            for each in several
            for values in each.without
        )
        return cls(whole, tuple(moved))

    def map(self, function: Callable[[Array], Array]) -> Replicates:
        """What follows from the values."""
        return Replicates(function(self.whole), tuple(map(function, self.without)))

    def __sub__(self, other: Replicates) -> Replicates:
        """Differences of values that come from the same samples."""
        pairs = zip(self.without, other.without, strict=True)
        return Replicates(self.whole - other.whole, tuple(a - b for a, b in pairs))

    @property
    def errors(self) -> Array:
        """Standard errors [F] by the jackknife over the members of every sample."""
        return np.sqrt(sum((len(x) - 1) * x.var(0) for x in self.without))
