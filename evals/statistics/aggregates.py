"""Beside means: interquartile mean, probability of improvement, performance profile.

Agarwal et al. (arXiv 2108.13264) ask for these with few runs, as a mean may hang on one of them.
Scores are [S, B], S seeds on B benchmarks. What varies is the training run, so intervals are over
seeds, each taken with all its benchmarks: of delete-one-seed estimates theta_{-s}, Student's t with
S - 1 degrees of freedom and the jackknife's variance (Efron and Stein, Ann. Stat. 9, 1981)

    V = (S - 1) / S sum_s (theta_{-s} - mean_s theta_{-s})^2

A bootstrap of so few seeds is too narrow (see `evals.metrics`), and this needs no random numbers.
Problems are taken as given: an interval says how another training would turn out on them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from scipy import special

from kpo.evals.metrics import CONFIDENCE, ROUNDING, Floats, trial_limits


class Estimate(NamedTuple):
    """A statistic and its 95 % limits over seeds, which are nan where there is one seed."""

    value: Floats
    low: Floats
    high: Floats


def interquartile_mean(scores: npt.ArrayLike) -> Floats:
    """Mean of the middle half of all scores.

    A score that the quartile cuts counts in part, so that the statistic moves evenly as seeds come
    and go; with a number of scores that 4 divides it is the 25 % trimmed mean.
    """
    x = np.sort(np.asarray(scores, dtype=np.float64), axis=None)
    edges = np.clip(np.arange(len(x) + 1) / len(x), 0.25, 0.75)
    return np.asarray(2 * np.diff(edges) @ x)


def probability_of_improvement(scores: npt.ArrayLike, over: npt.ArrayLike) -> Floats:
    """P(a run of the first row scores higher than one of the second), mean over benchmarks.

    Every seed of one against every seed of the other; equal scores count one half.
    """
    x, y = np.asarray(scores)[:, None], np.asarray(over)[None]
    return np.asarray(((x > y) + 0.5 * (x == y)).mean())


def performance_profile(scores: npt.ArrayLike, thresholds: npt.ArrayLike) -> Floats:
    """Share of (seed, benchmark) scores above each threshold."""
    above = np.asarray(scores)[..., None] > np.asarray(thresholds)
    return np.asarray(above.mean(axis=(0, 1)))


def over_seeds(statistic: Callable[..., Floats], *rows: npt.ArrayLike) -> Estimate:
    """A statistic of rows [S, B] with the same seeds in the same order, and its limits.

    Limits of what lies in [0, 1], as scores and probabilities do, are kept there. Where no seed
    moves it (one row is always the better one) they are those of as many yes-or-no trials as there
    are seeds: that three agree does not say that all would.
    """
    arrays = [np.asarray(row, dtype=np.float64) for row in rows]
    S = len(arrays[0])
    value = np.asarray(statistic(*arrays))
    if S == 1:
        unknown = np.full_like(value, np.nan)
        return Estimate(value, unknown, unknown)
    without = np.array(
        [statistic(*(np.delete(row, seed, axis=0) for row in arrays)) for seed in range(S)]
    )
    V = (S - 1) * without.var(axis=0)
    h = -special.stdtrit(S - 1, (1 - CONFIDENCE) / 2) * np.sqrt(V)
    low, high = trial_limits(value, S)
    still = V <= ROUNDING
    return Estimate(
        value,
        np.where(still, low, np.maximum(value - h, 0)),
        np.where(still, high, np.minimum(value + h, 1)),
    )


def mean_over_seeds(values: npt.ArrayLike) -> Estimate:
    """Mean of one number a seed, and Student's limits; for numbers of any size."""
    x = np.asarray(values, dtype=np.float64)
    S, mean = len(x), x.mean(keepdims=True)[0]
    if S == 1:
        return Estimate(mean, np.full_like(mean, np.nan), np.full_like(mean, np.nan))
    h = -special.stdtrit(S - 1, (1 - CONFIDENCE) / 2) * x.std(ddof=1) / np.sqrt(S)
    return Estimate(mean, mean - h, mean + h)
