"""Which rows of a table differ: paired tests, Holm's correction, detectable differences.

Two rows are paired problem by problem, and seed by seed (runs of one seed share base, data order
and the randomness of samples); a row of one seed (the base model) is set against every seed of the
other. The differences d_{sp} have the levels of `evals.metrics`, and the interval of a mean
difference is

    V_1 = V_seed, V_2 = max(V_p - V_e, 0), t = mean / sqrt(V_1 + V_2)

Unlike for a row's own interval all of V_e stays in the seed part: far out in the tails, where a
corrected p-value lives, a seed variance that came out near 0 by luck would pass for certainty.

Three seeds leave 2 degrees of freedom, at which nothing survives a correction for dozens of tests.
So the seed variance is borrowed from the whole column, over all pairs of trained rows, but a pair
whose own is larger keeps its own:

    V_seed  = max(V_own, mean over pairs of V_own, V_e)
    nu_seed = nu_rows (sum V_own)^2 / (n sum V_own^2)              n pairs; at least S - 1
    nu_rows = (S - 1) (S - 2 x) / ((S - 1) x - 1)                  at most (S - 1) (M - 1), M rows
    x       = tr(G G) / tr(G)^2                                    G [S, S]: products of the seeds'
                                                                   deviations, summed over pairs

The second factor of nu_seed is Satterthwaite's for a sum of variances: where one row is noisier
than the others it takes nu_seed towards S - 1. So does nu_rows where rows stray together with their
seeds, which share much: it is (S - 1) (tr Sigma)^2 / tr(Sigma^2), Sigma being the pairs'
covariance, both parts estimated without bias (Bai and Saranadasa, Statistica Sinica 6, 1996). Two
seeds do not tell how rows stray together, so there nu_rows is 1. (With the base model: over its
pairs with the M trained rows, at most (S - 1) M.)

Rows of which a run collapsed, as their training tells (`evals.table.rewards`), say nothing of how
far apart the seeds of others are: pairs with such a row are pooled by themselves.

Holm (Scand. J. Stat. 6, 1979) corrects within two families for each metric, the overall column and
all benchmarks together, over the pairs that the experiment file declares (`kpo.config.compare`) and
no others. The family has to be known before the data. Where rows are to be set against the best
baseline it is not known which that will be, so all baselines are declared: the corrected p-values
hold for all these pairs at once, and so for those that are looked at, however they are picked. Of
simulated tables without any true difference (10,000 each; the default's pairs of six rows) 1 % show
one where the seeds of all rows are alike, 4 % where those of one row are four times as far apart,
5 % at twelve times, 4 % where rows stray together, all of them or in two groups, and 2 to 5 % where
one to three rows collapsed.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
import numpy.typing as npt

from kpo.evals.metrics import CONFIDENCE, ROUNDING, Floats, Spread, variance_levels

LEVEL = 1 - CONFIDENCE
POWER = 0.80
Pair = tuple[int, int]


@dataclass(frozen=True)
class Tests:
    """Differences row - reference in one column; every array is [..., pairs], as shares (not %).

    p is nan where neither row has a second seed: how much a rerun would change is not known then.
    """

    pairs: list[Pair]
    mean: Floats
    low: Floats
    high: Floats
    p: Floats
    detectable: Floats


def all_pairs(rows: int) -> list[Pair]:
    """Every pair of rows once, (later, earlier)."""
    return [(j, i) for i, j in combinations(range(rows), 2)]


def compare_rows(rows: Sequence[Sequence[Floats]], apart: Collection[int] = ()) -> Tests:
    """Test every pair of rows; rows[r]: an array of scores [..., seeds, problems] a benchmark.

    Several benchmarks give the macro-average. Trained rows have the same seeds in the same order.
    Pairs with a row of `apart` are pooled by themselves. Leading dimensions are tables of their
    own.
    """
    pairs = all_pairs(len(rows))
    tables = rows[0][0].shape[:-2]
    result = Tests(pairs, *(np.full((*tables, len(pairs)), np.nan) for _ in range(5)))
    trained = [row[0].shape[-2] > 1 for row in rows]
    strays = [n in apart for n in range(len(rows))]
    # Trained rows in the pair, and whether one of its rows stands apart.
    kinds = [(trained[i] + trained[j], strays[i] or strays[j]) for i, j in pairs]
    for kind in dict.fromkeys(kinds):
        members = [n for n, own in enumerate(kinds) if own == kind]
        scores = [
            np.stack([rows[pairs[n][0]][b] - rows[pairs[n][1]][b] for n in members], axis=-3)
            for b in range(len(rows[0]))
        ]
        alike = [t for t, stray in zip(trained, strays, strict=True) if kind[1] or not stray]
        independent = sum(alike) - (kind[0] == 2)
        for field, values in _test_group(scores, independent).items():
            getattr(result, field)[..., members] = values
    return result


def _test_group(scores: Sequence[Floats], independent: int) -> dict[str, Floats]:
    """Tests of pairs whose seed variances are pooled; scores: [..., pairs, seeds, problems]."""
    levels = variance_levels(scores)
    own, problem, answer = levels.seed, levels.problem, levels.answer
    mean, S, pairs = levels.mean, levels.seeds, levels.mean.shape[-1]
    V_seed = np.maximum(np.maximum(own, own.mean(-1, keepdims=True)), answer)
    # Where nothing varies at all, the smallest thing that could: one problem in one seed.
    V_seed = np.where(V_seed > ROUNDING, V_seed, 1 / (S * levels.effective_problems) ** 2)
    total, squares = own.sum(-1, keepdims=True), pairs * (own**2).sum(-1, keepdims=True)
    evenness = np.divide(total**2, squares, out=np.ones_like(total), where=squares > 0)
    nu_rows = _rows_df(levels.by_seed, (S - 1) * independent)
    spread = Spread(
        V_seed if S > 1 else np.zeros_like(own),
        np.maximum(problem - answer, 0),
        np.maximum(nu_rows * evenness, max(S - 1, 1)),
        levels.problem_df,
    )
    h = spread.half_width(LEVEL)
    found = {"mean": mean, "low": mean - h, "high": mean + h}
    if S > 1:
        found["p"] = spread.p_value(mean)
        found["detectable"] = h + spread.half_width(2 * (1 - POWER))  # that of a one-sided test
    return found


def _rows_df(by_seed: Floats, most: int) -> Floats:
    """nu_rows [..., 1] of pairs' means by seed [..., pairs, S], at most `most`.

    Where nothing deviates with the seed, nothing does together.
    """
    S = by_seed.shape[-1]
    deviations = by_seed - by_seed.mean(-1, keepdims=True)
    G = np.swapaxes(deviations, -1, -2) @ deviations
    square, squares = np.trace(G, axis1=-2, axis2=-1) ** 2, (G**2).sum((-2, -1))
    x = np.divide(squares, square, out=np.zeros_like(square), where=square > ROUNDING**2)
    if S < 3:
        nu = np.where(x > 0, 1, most)
    else:
        above = (S - 1) * x - 1
        nu = np.divide((S - 1) * (S - 2 * x), above, out=np.full_like(x, np.inf), where=above > 0)
    return np.asarray(np.minimum(nu, most)[..., None], dtype=np.float64)


def holm(p: npt.ArrayLike) -> Floats:
    """Holm's step-down adjusted p-values of each family [..., n]; nan stays nan, not counted.

    adjusted_(i) = max_{j <= i} min(1, (n - j + 1) p_(j)), p sorted upwards.
    """
    values = np.asarray(p, dtype=np.float64)
    order = values.argsort(axis=-1, kind="stable")  # nan goes last
    known = (~np.isnan(values)).sum(axis=-1, keepdims=True)
    steps = np.take_along_axis(values, order, -1) * (known - np.arange(values.shape[-1]))
    adjusted = np.empty_like(values)
    np.put_along_axis(adjusted, order, np.minimum(np.maximum.accumulate(steps, -1), 1), -1)
    return adjusted


def holm_families(tests: Sequence[Tests], declared: Collection[Pair]) -> list[Floats]:
    """Adjusted p [..., pairs] of every column of one metric, nan for pairs not declared.

    tests: the benchmarks' columns and, last, the overall column. A pair counts once, whichever of
    its rows is named first.
    """
    either = {(max(pair), min(pair)) for pair in declared}
    counted = np.array([pair in either for pair in tests[0].pairs], dtype=bool)
    p = [np.where(counted, column.p, np.nan) for column in tests]
    benchmarks = np.split(holm(np.concatenate(p[:-1], axis=-1)), len(tests) - 1, axis=-1)
    return [*benchmarks, holm(p[-1])]
