"""avg@k and pass@k of graded answers, with 95 % intervals over seeds, problems and answers.

Deviation: the paper trains one seed and reports no interval; here a row is the mean over training
seeds. Switch: `seeds`.

What an interval is about: the mean score of the *method*, over training seeds and over problems
like these (the problems are a sample, not the population). Problems are the same in all seeds, so
seed and problem are crossed, and the score of one problem in one seed is

    x_{sp} = mean + a_s + b_p + e_{sp}        a: seed, b: problem, e: answers (and seed x problem)

With S seeds, P problems and effects a, b, e estimated from the table's margins, the variance of the
mean that comes from each level is

    seed     V_s = sum a_s^2 / (S (S - 1))                      expects  A + E
    problem  V_p = sum b_p^2 / (P (P - 1))                      expects  B + E
    answer   V_e = sum e_{sp}^2 / (S P (S - 1) (P - 1))         expects  E

where the mean's true variance is A + B + E. This is what a bootstrap that redraws the seeds, the
problems or the residuals converges to as its resamples grow (a pigeonhole bootstrap, Owen, arXiv
0712.1111, whose levels are kept apart and scaled by n / df, as residuals are reflated in Carpenter,
Goldstein and Rasbash, Appl. Stat. 52, 2003): n effects of mean 0, redrawn with replacement, have a
mean of variance sum effect^2 / n^2. Answers are no level of their own: k drawn from k with
replacement miss a lone correct one with probability 0.36, which pulls every pass@k down.

Three seeds have only ten different resamples, so percentiles of a bootstrap over them are too
narrow: where seeds matter most they cover 83 % instead of 95 %. Instead Student's t pays for how
few seeds and problems the variances come from. V_e is in both of the others, and counts once:

    V_1 = max(V_s - f V_e, 0)   V_2 = max(V_p, V_e) - (1 - f) V_e   V = V_1 + V_2,  f = 1/4
    h   = t_nu sqrt(V),  nu = V / (V_1 / (S - 1) + V_2 / (P - 1))

nu is Satterthwaite's (Biometrics Bull. 2, 1946) with shares of V in place of their squares, which
estimates from three seeds get too wrong. Limits are set on the logit scale,
logit(mean) +- h / (mean (1 - mean)), so that they stay in [0, 1].
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import special

Floats = npt.NDArray[np.float64]

CONFIDENCE = 0.95
ROUNDING = 1e-18
"""A variance no larger than that comes from rounding alone."""
SEEDS_PART = 1 / 4
"""f: the share of V_e that the seeds' variance gives up; the problems' gives up the rest.

E[V] is right whatever f is; what changes is how often V_1 is cut off at 0, and how much of V counts
with the seeds' few degrees of freedom. No closed form says which f is best, so it comes from
simulations with known truth (tests/evals/test_coverage.py): of 20,000 tables of three seeds, for
each of 24 worlds, in how many % the interval holds the true mean, and its width beside f = 0's.

    f                                0     1/4    1/2    3/4     1
    mean of all worlds             95.9   95.0   94.9   94.9   95.1
    highest                        97.2   96.8   96.7   96.9   97.0
    lowest                         94.3   91.9   92.7   92.1   91.6
    lowest, seeds far apart        94.3   93.3   92.7   92.1   91.6
    width                          1      0.96   0.93   0.91   0.90

At 0 intervals are wider than they need be; from 1/2 on they lose where seeds are far apart. The
91.9 is pass@16 of problems that are alike and nearly all solved: their score moves in few steps.
"""


def avg_at_k(correct: npt.ArrayLike) -> float:
    """Mean over problems of the share of correct answers; correct: 0/1, [problems, samples]."""
    return float(avg_scores(_checked(correct)).mean())


def pass_at_k(correct: npt.ArrayLike, k: int) -> float:
    """Mean over problems of the unbiased estimate of P(one of k answers is correct).

    With c of n answers correct, 1 - C(n - c, k) / C(n, k) (Chen et al., arXiv 2107.03374, eq. 1).
    """
    return float(pass_scores(_checked(correct), k).mean())


def avg_scores(correct: npt.NDArray[np.bool_]) -> Floats:
    """Share of correct answers of each problem; [..., samples] -> [...]."""
    return correct.mean(axis=-1, dtype=np.float64)


def pass_scores(correct: npt.NDArray[np.bool_], k: int) -> Floats:
    """pass@k of each problem; [..., samples] -> [...].

    C(n - c, k) / C(n, k) = prod_{j < c} (n - k - j) / (n - j), a product of numbers in [0, 1], so
    nothing overflows.
    """
    n = correct.shape[-1]
    if isinstance(k, bool) or not isinstance(k, int | np.integer) or not 1 <= k <= n:
        raise ValueError(f"k must be a whole number from 1 to the {n} samples there are, got {k!r}")
    j = np.arange(n)
    miss = np.cumprod(np.maximum(n - k - j, 0) / (n - j))  # all k wrong, for c = 1 ... n
    table = 1 - np.concatenate(([1.0], miss))
    return np.asarray(table[correct.sum(axis=-1)], dtype=np.float64)


def _checked(correct: npt.ArrayLike) -> npt.NDArray[np.bool_]:
    array = np.asarray(correct)
    if array.ndim != 2 or 0 in array.shape:
        raise ValueError(f"correct must be [problems, samples], neither 0, got {array.shape}")
    if array.dtype.kind not in "biuf" or not np.isin(array, (0, 1)).all():
        raise ValueError("correct must hold 0 and 1 (or booleans) only")
    return array.astype(np.bool_)


@dataclass(frozen=True)
class Levels:
    """Variance of a mean by level (see above); every array is [...]. One seed: seed is 0.

    by_seed: the mean of each seed [..., seeds].
    """

    mean: Floats
    by_seed: Floats
    seed: Floats
    problem: Floats
    answer: Floats
    seeds: int
    problem_df: Floats
    effective_problems: float


def variance_levels(scores: Sequence[Floats]) -> Levels:
    """The levels of a mean score, for as many tables at once as there are leading dimensions.

    scores: one array [..., seeds, problems] a benchmark. Of several the mean is the macro-average:
    each benchmark weighs the same; seeds are shared by all, problems are each one's own.
    """
    S, weight = scores[0].shape[-2], 1 / len(scores)
    by_seed = weight * np.sum([x.mean(axis=-1) for x in scores], axis=0)
    mean = by_seed.mean(axis=-1)
    problem, answer, squares = np.zeros((3, *mean.shape))
    for block in scores:
        P = block.shape[-1]
        x = block - block.mean(axis=(-2, -1), keepdims=True)
        a, b = x.mean(axis=-1, keepdims=True), x.mean(axis=-2, keepdims=True)
        V_p = weight**2 * _of_mean(b, P - 1)
        problem += V_p
        squares += V_p**2 / max(P - 1, 1)
        if S > 1:
            answer += weight**2 * _of_mean(x - a - b, (S - 1) * (P - 1))
    return Levels(
        mean=mean,
        by_seed=by_seed,
        seed=_of_mean((by_seed - mean[..., None])[..., None], S - 1) if S > 1 else 0 * mean,
        problem=problem,
        answer=answer,
        seeds=S,
        problem_df=np.divide(problem**2, squares, out=np.ones_like(mean), where=squares > 0),
        effective_problems=len(scores) ** 2 / sum(1 / x.shape[-1] for x in scores),
    )


def _of_mean(effects: Floats, df: int) -> Floats:
    """Variance of the mean of n effects [..., a, b] around 0, n = a b, of which df are free.

    Without one (a single problem) nothing is known: nan.
    """
    n = effects.shape[-2] * effects.shape[-1]
    squares: Floats = (effects**2).sum(axis=(-2, -1))
    return squares / (n * df) if df else np.full_like(squares, np.nan)


def interval(levels: Levels) -> tuple[Floats, Floats]:
    """Limits of the mean, each [...]; nan where there is one problem only.

    Where no problem differs from another (all solved, or none), the limits are those of as many
    yes-or-no trials as there are problems (Clopper and Pearson, Biometrika 26, 1934).
    """
    mean = levels.mean
    spread = Spread(
        np.maximum(levels.seed - SEEDS_PART * levels.answer, 0),
        np.maximum(levels.problem, levels.answer) - (1 - SEEDS_PART) * levels.answer,
        max(levels.seeds - 1, 1),
        levels.problem_df,
    )
    h = spread.half_width(1 - CONFIDENCE)
    flat = levels.problem <= ROUNDING
    safe = np.where(flat, 0.5, mean)
    centre, width = special.logit(safe), h / (safe * (1 - safe))
    low, high = trial_limits(mean, levels.effective_problems)
    low = np.where(flat, low, special.expit(centre - width))
    return low, np.where(flat, high, special.expit(centre + width))


@dataclass(frozen=True)
class Spread:
    """The two variances of a mean, V_1 and V_2 above, with their degrees of freedom."""

    seed: Floats
    problem: Floats
    seed_df: float | Floats
    problem_df: Floats

    @property
    def variance(self) -> Floats:
        """V."""
        return self.seed + self.problem

    @property
    def df(self) -> Floats:
        """nu; 1 where nothing varies."""
        V = self.variance
        inverse = self.seed / self.seed_df + self.problem / self.problem_df
        return np.divide(V, inverse, out=np.ones_like(V), where=inverse > 0)

    def half_width(self, alpha: float) -> Floats:
        """h of a two-sided interval at level alpha."""
        t = -special.stdtrit(self.df, alpha / 2)
        return np.asarray(t * np.sqrt(self.variance), dtype=np.float64)

    def p_value(self, mean: Floats) -> Floats:
        """Two-sided p of t = mean / sqrt(V); 1 where the mean is 0."""
        scale = np.sqrt(self.variance)
        t = np.divide(np.abs(mean), scale, out=np.zeros_like(mean), where=mean != 0)
        return np.asarray(2 * special.stdtr(self.df, -t), dtype=np.float64)


def trial_limits(mean: Floats, n: float) -> tuple[Floats, Floats]:
    """Clopper and Pearson's limits of a probability, from a share `mean` of n trials.

    With x = n mean, the quantile `tail` of Beta(x, n - x + 1) and 1 - `tail` of Beta(x + 1, n - x).
    """
    tail = (1 - CONFIDENCE) / 2
    x = np.clip(n * mean, 0, n)
    some, left = np.maximum(x, 1e-9), np.maximum(n - x, 1e-9)
    low = np.where(x > 0, special.betaincinv(some, n - x + 1, tail), 0)
    return low, np.where(x < n, special.betaincinv(x + 1, left, 1 - tail), 1)
