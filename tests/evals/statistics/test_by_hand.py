"""Intervals and tests of differences, number by number from their definitions, in plain loops."""

import itertools
import math
from collections.abc import Sequence

import numpy as np
import pytest
from scipy import stats

from kpo.evals.metrics import Floats, avg_scores, interval, pass_at_k, pass_scores, variance_levels
from kpo.evals.statistics.differences import compare_rows

SIZES = [(3,), (2, 7), (5, 2, 4)]
"""Problems of the benchmarks."""


def levels(blocks: Sequence[Floats]) -> tuple[float, float, float, float, float]:
    """Mean, V_s, V_p, V_e and the problems' degrees of freedom of a macro-average."""
    S, w = len(blocks[0]), 1 / len(blocks)
    seeds = [sum(w * float(block[s].mean()) for block in blocks) for s in range(S)]
    mean = sum(seeds) / S
    V_s = sum((x - mean) ** 2 for x in seeds) / (S * (S - 1)) if S > 1 else 0.0
    V_p = V_e = squares = 0.0
    for block in blocks:
        P, m = block.shape[1], float(block.mean())
        own = sum((float(block[:, p].mean()) - m) ** 2 for p in range(P)) / (P * (P - 1))
        V_p += w**2 * own
        squares += (w**2 * own) ** 2 / (P - 1)
        if S > 1:
            e = [
                block[s, p] - block[s].mean() - block[:, p].mean() + m
                for s, p in itertools.product(range(S), range(P))
            ]
            V_e += w**2 * sum(float(x) ** 2 for x in e) / (S * P * (S - 1) * (P - 1))
    return mean, V_s, V_p, V_e, V_p**2 / squares


def tables(seeds: int, sizes: Sequence[int], seed: int = 0) -> list[Floats]:
    """Scores between 0.1 and 0.9, some of their seeds further apart than others."""
    rng = np.random.default_rng(seed)
    return [0.5 + 0.4 * rng.uniform(-1, 1, (seeds, P)) for P in sizes]


@pytest.mark.parametrize("sizes", SIZES)
@pytest.mark.parametrize("seeds", [1, 2, 3, 5])
@pytest.mark.parametrize("seed", range(4))
def test_an_interval(seeds: int, sizes: tuple[int, ...], seed: int) -> None:
    blocks = tables(seeds, sizes, seed)
    mean, V_s, V_p, V_e, df = levels(blocks)
    V_1, V_2 = max(V_s - V_e / 4, 0), max(V_p, V_e) - 3 / 4 * V_e
    nu = (V_1 + V_2) / (V_1 / max(seeds - 1, 1) + V_2 / df)
    h = float(stats.t.isf(0.025, nu)) * math.sqrt(V_1 + V_2)
    middle, width = math.log(mean / (1 - mean)), h / (mean * (1 - mean))
    expected = [1 / (1 + math.exp(-middle + sign * width)) for sign in (1, -1)]
    assert interval(variance_levels(blocks)) == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("x", [0.3, 5.6])
def test_an_interval_where_all_problems_are_alike_and_partly_solved(x: float) -> None:
    """Quantiles of Beta(x, n - x + 1) and Beta(x + 1, n - x): x of n = 6, no whole number."""
    found = interval(variance_levels([np.full((3, 6), x / 6)]))
    expected = [stats.beta.ppf(0.025, x, 7 - x), stats.beta.ppf(0.975, x + 1, 6 - x)]
    assert found == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("share", [0, 1, 3, 6])
def test_an_interval_where_all_problems_are_alike(share: int) -> None:
    """That of as many yes-or-no trials as there are problems."""
    block = np.full((3, 6), share / 6)
    found = interval(variance_levels([block]))
    exact = stats.binomtest(share, 6).proportion_ci(0.95, "exact")
    assert found == pytest.approx([exact.low, exact.high], rel=1e-6, abs=1e-9)


def test_an_interval_where_all_benchmarks_are_alike() -> None:
    """Two benchmarks of 2 and 6 problems weigh as 4 / (1 / 2 + 1 / 6) = 6 problems."""
    found = interval(variance_levels([np.ones((3, 2)), np.ones((3, 6))]))
    assert found == pytest.approx([0.025 ** (1 / 6), 1], rel=1e-9)


@pytest.mark.parametrize("sizes", SIZES)
@pytest.mark.parametrize(("seeds", "rows"), [(2, 3), (3, 2), (3, 4), (6, 4)])
def test_differences_of_trained_rows(seeds: int, rows: int, sizes: tuple[int, ...]) -> None:
    scores = [tables(seeds, sizes, row) for row in range(rows)]
    scores[-1] = [block + 0.3 * np.arange(seeds)[:, None] for block in scores[-1]]  # a loud one
    found = compare_rows(scores)
    by_pair = [
        levels([a - b for a, b in zip(scores[i], scores[j], strict=True)]) for i, j in found.pairs
    ]
    own = [V_s for _, V_s, *_ in by_pair]
    by_seed = [by_seeds(scores[i]) - by_seeds(scores[j]) for i, j in found.pairs]
    nu_seed = nu_of(own, by_seed, (seeds - 1) * (rows - 1))
    for n, (mean, V_own, V_p, V_e, df) in enumerate(by_pair):
        check(found, n, mean, max(V_own, sum(own) / len(own), V_e), max(V_p - V_e, 0), nu_seed, df)


@pytest.mark.parametrize("seeds", [2, 3, 6])
def test_differences_to_a_row_of_one_seed(seeds: int) -> None:
    scores = [tables(1, (6,), 9), *(tables(seeds, (6,), row) for row in range(2))]
    found = compare_rows(scores)
    members = [n for n, pair in enumerate(found.pairs) if 0 in pair]
    by_pair = [levels([scores[found.pairs[n][0]][0] - scores[0][0]]) for n in members]
    own = [V_s for _, V_s, *_ in by_pair]
    by_seed = [by_seeds(scores[i]) - by_seeds(scores[0]) for i in (1, 2)]
    nu_seed = nu_of(own, by_seed, (seeds - 1) * 2)
    for n, (mean, V_own, V_p, V_e, df) in zip(members, by_pair, strict=True):
        check(found, n, mean, max(V_own, sum(own) / 2, V_e), max(V_p - V_e, 0), nu_seed, df)


def test_differences_of_rows_of_one_seed() -> None:
    """An interval over the problems; how far another seed would be is not known."""
    scores = [tables(1, (6,), row) for row in range(2)]
    found = compare_rows(scores)
    mean, _, V_p, _, df = levels([scores[1][0] - scores[0][0]])
    h = float(stats.t.isf(0.025, df)) * math.sqrt(V_p)
    assert [found.low[0], found.high[0]] == pytest.approx([mean - h, mean + h])
    assert np.isnan([found.p[0], found.detectable[0]]).all()


def by_seeds(blocks: Sequence[Floats]) -> Floats:
    return np.mean([block.mean(axis=1) for block in blocks], axis=0)


def nu_of(own: Sequence[float], by_seed: Sequence[Floats], most: float) -> float:
    """Degrees of freedom of a pooled seed variance, from the pairs' covariance [pairs, pairs]."""
    n = len(by_seed[0]) - 1
    evenness = sum(own) ** 2 / (len(own) * sum(V**2 for V in own))
    if n == 1:
        return max(evenness, 1)
    covariance = np.atleast_2d(np.cov(by_seed))
    square, squares = float(np.trace(covariance)) ** 2, float(np.trace(covariance @ covariance))
    # Unbiased for normal deviations, but for a factor that both have.
    truth = n * ((n + 1) * square - 2 * squares), n * (n * squares - square)
    rows = n * truth[0] / truth[1] if truth[1] > 1e-12 else math.inf
    return max(min(rows, most) * evenness, n)


def check(
    found: object, n: int, mean: float, V_1: float, V_2: float, nu_seed: float, df: float
) -> None:
    """A pair's numbers from its two variances and their degrees of freedom."""
    V = V_1 + V_2
    nu = V / (V_1 / nu_seed + V_2 / df)
    h = float(stats.t.isf(0.025, nu)) * math.sqrt(V)
    expected = {
        "mean": mean,
        "low": mean - h,
        "high": mean + h,
        "p": 2 * float(stats.t.sf(abs(mean) / math.sqrt(V), nu)),
        "detectable": h + float(stats.t.isf(0.2, nu)) * math.sqrt(V),  # power 80 %
    }
    for name, value in expected.items():
        assert getattr(found, name)[n] == pytest.approx(value, rel=1e-9), name


def test_nothing_that_varies_is_taken_for_one_problem_in_one_seed() -> None:
    rows = [[np.full((3, 5), 0.4)], [np.full((3, 5), 0.6)]]
    found = compare_rows(rows)
    h = float(stats.t.isf(0.025, 2)) / 15
    assert [found.low[0], found.high[0]] == pytest.approx([0.2 - h, 0.2 + h])


def test_scores_of_several_tables_at_once() -> None:
    correct = np.random.default_rng(0).random((2, 3, 4, 8)) < 0.4
    avg, passed = avg_scores(correct), pass_scores(correct, 3)
    assert avg.shape == passed.shape == (2, 3, 4)
    for place in np.ndindex(2, 3, 4):
        assert avg[place] == correct[place].mean()
        assert passed[place] == pytest.approx(pass_at_k(correct[place][None], 3))
