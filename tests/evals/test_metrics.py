"""avg@k, pass@k, the levels of their variance and their limits: against enumeration and by hand."""

import math
import warnings
from itertools import combinations, product

import numpy as np
import numpy.typing as npt
import pytest
from scipy import stats

from kpo.evals.metrics import (
    Floats,
    Spread,
    avg_at_k,
    interval,
    pass_at_k,
    pass_scores,
    variance_levels,
)
from tests.evals.simulated import SAMPLES, World, scores

CORRECT = np.array([[1, 0, 0, 0, 0, 0], [1, 1, 0, 1, 0, 0], [0] * 6, [1] * 6])


def test_avg_at_k_is_the_share_of_correct_answers() -> None:
    assert avg_at_k(CORRECT) == pytest.approx(10 / 24)
    assert avg_at_k([[True, False]]) == 0.5


@pytest.mark.parametrize("k", range(1, 7))
def test_pass_at_k_is_the_share_of_draws_with_a_correct_answer(k: int) -> None:
    draws = list(combinations(range(6), k))
    hits = [any(row[j] for j in draw) for row in CORRECT for draw in draws]
    assert pass_at_k(CORRECT, k) == pytest.approx(np.mean(hits), abs=1e-12)


def test_pass_at_k_of_many_samples_is_finite_and_exact() -> None:
    n, c, k = 20_000, 7, 5_000
    row = np.arange(n)[None] < c
    exact = 1 - math.comb(n - c, k) / math.comb(n, k)
    assert pass_at_k(row, k) == pytest.approx(exact, rel=1e-10)


def test_pass_at_k_is_unbiased() -> None:
    rng = np.random.default_rng(0)
    correct = rng.random((200_000, 8)) < 0.2
    assert pass_scores(correct, 3).mean() == pytest.approx(1 - 0.8**3, abs=2e-3)


@pytest.mark.parametrize("k", [0, 7, -1, True, 2.0, "2"])
def test_a_k_that_is_not_from_1_to_the_samples_is_refused(k: int) -> None:
    with pytest.raises(ValueError, match="k must be a whole number from 1 to the 6 samples"):
        pass_at_k(CORRECT, k)


@pytest.mark.parametrize(
    "correct",
    [
        [1, 0],
        [[]],
        np.zeros((0, 4)),
        np.zeros((2, 2, 2)),
        [[0.5, 1]],
        [[np.nan, 1]],
        [[2]],
        [["1"]],
    ],
)
def test_what_is_not_a_matrix_of_0_and_1_is_refused(correct: npt.ArrayLike) -> None:
    with pytest.raises(ValueError, match="correct must"):
        avg_at_k(correct)
    with pytest.raises(ValueError, match="correct must"):
        pass_at_k(correct, 1)


def anova(x: Floats) -> dict[str, float]:
    """Level variances of a table [seeds, problems] from its mean squares (two-way, crossed)."""
    S, P = x.shape
    squares = P * ((x.mean(1) - x.mean()) ** 2).sum(), S * ((x.mean(0) - x.mean()) ** 2).sum()
    rest = ((x - x.mean()) ** 2).sum() - sum(squares)
    parts = (*squares, rest)
    df = (S - 1, P - 1, (S - 1) * (P - 1))
    names = ("seed", "problem", "answer")
    return {n: v / d / (S * P) for n, v, d in zip(names, parts, df, strict=True)}


def test_levels_are_those_of_the_analysis_of_variance() -> None:
    x = scores(World(seed=0.4).counts(np.random.default_rng(1), 3, 4), "avg")
    levels = variance_levels([x])
    for row in range(3):
        assert levels.mean[row] == pytest.approx(x[row].mean())
        for name, expected in anova(x[row]).items():
            assert getattr(levels, name)[row] == pytest.approx(expected)


def redrawn(effects: Floats) -> float:
    """Mean square of the mean of n effects over all n^n ways to redraw them with replacement."""
    n = effects.size
    return float(np.mean([np.mean(draw) ** 2 for draw in product(effects.ravel(), repeat=n)]))


def test_levels_are_what_a_bootstrap_with_every_resample_finds() -> None:
    x = np.random.default_rng(12).random((2, 3))
    mean, by_seed, by_problem = x.mean(), x.mean(1, keepdims=True), x.mean(0, keepdims=True)
    levels = variance_levels([x])
    assert levels.seed == pytest.approx(redrawn(by_seed - mean) * 2)
    assert levels.problem == pytest.approx(redrawn(by_problem - mean) * 3 / 2)
    assert levels.answer == pytest.approx(redrawn(x - by_seed - by_problem + mean) * 6 / 2)


def test_levels_expect_the_variances_of_a_known_world() -> None:
    rng = np.random.default_rng(13)
    a, b, e = (rng.normal(size=(40_000, *shape)) for shape in ((3, 1), (1, 8), (3, 8)))
    levels = variance_levels([0.5 * a + 2 * b + e])
    A, B, E = 0.25 / 3, 4 / 8, 1 / 24
    for found, expected in ((levels.seed, A + E), (levels.problem, B + E), (levels.answer, E)):
        assert found.mean() == pytest.approx(expected, rel=0.02)
    assert levels.mean.var() == pytest.approx(A + B + E, rel=0.02)


def test_the_macro_average_weighs_benchmarks_alike_and_shares_their_seeds() -> None:
    rng = np.random.default_rng(2)
    small, large = (World(problems=n, seed=0.5).counts(rng, 1, 3) / SAMPLES for n in (20, 100))
    levels = variance_levels([small, large])
    by_seed = (small.mean(2) + large.mean(2))[0] / 2
    parts = anova(small[0]), anova(large[0])
    assert levels.mean[0] == pytest.approx(by_seed.mean())
    assert levels.seed[0] == pytest.approx(by_seed.var(ddof=1) / 3)
    for name in ("problem", "answer"):
        expected = sum(part[name] for part in parts) / 4
        assert getattr(levels, name)[0] == pytest.approx(expected)
    df = sum(p["problem"] for p in parts) ** 2 / (
        parts[0]["problem"] ** 2 / 19 + parts[1]["problem"] ** 2 / 99
    )
    assert levels.problem_df[0] == pytest.approx(df)


def test_one_seed_has_no_seed_level() -> None:
    x = World().counts(np.random.default_rng(3), 1, 1) / SAMPLES
    levels = variance_levels([x])
    assert levels.seed[0] == levels.answer[0] == 0
    assert levels.problem[0] == pytest.approx(x.var(ddof=1) / x.size)
    assert variance_levels([np.zeros((1, 4))]).seed == 0


def test_a_row_has_the_same_limits_alone_and_among_others() -> None:
    x = World().counts(np.random.default_rng(5), 6, 3) / SAMPLES
    together, alone = interval(variance_levels([x])), interval(variance_levels([x[4:5]]))
    assert np.allclose(np.array(together)[:, 4], np.array(alone)[:, 0], atol=1e-12)


@pytest.mark.parametrize("problems", [4, 50])
def test_nothing_solved_is_no_certainty(problems: int) -> None:
    levels = variance_levels([np.zeros((1, 3, problems))])
    low, high = interval(levels)
    assert low[0] == 0
    assert high[0] == pytest.approx(1 - 0.025 ** (1 / problems))  # all of n trials fail
    low, high = interval(variance_levels([np.ones((1, 3, problems))]))
    assert (low[0], high[0]) == (pytest.approx(0.025 ** (1 / problems)), 1)


def test_problems_that_are_all_alike_are_no_certainty() -> None:
    low, high = interval(variance_levels([np.full((1, 1, 10), 0.5)]))
    assert low[0] == pytest.approx(0.187, abs=1e-3)  # 5 of 10, Clopper and Pearson
    assert high[0] == pytest.approx(0.813, abs=1e-3)


def test_problems_that_differ_less_than_answers_do_leave_the_answers_noise() -> None:
    x = np.array([[[0, 1, 1, 0.5], [1, 0, 0, 0.5], [0.5, 0.5, 0.5, 0.6]]])  # seeds cancel out
    low, high = interval(variance_levels([x]))
    assert high[0] - low[0] > 0.1


def test_one_problem_has_no_interval() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # nothing is divided by 0
        low, high = interval(variance_levels([np.full((1, 3, 1), 0.5)]))
    assert np.isnan([low[0], high[0]]).all()


def test_limits_stay_between_0_and_1_around_the_mean() -> None:
    x = World(level=-4, problem=2, seed=1).counts(np.random.default_rng(7), 500, 3) / SAMPLES
    low, high = interval(variance_levels([x]))
    mean = x.mean((1, 2))
    assert ((low >= 0) & (low <= mean) & (mean <= high) & (high <= 1)).all()


def test_degrees_of_freedom_lie_between_those_of_the_levels() -> None:
    V_1, V_2 = np.array([1.0, 0.0, 1.0, 0.0]), np.array([0.0, 1.0, 1.0, 0.0])
    spread = Spread(V_1, V_2, 2, np.full(4, 50.0))
    assert np.allclose(spread.df, [2, 50, 2 / (1 / 2 + 1 / 50), 1])
    t = stats.t.isf(0.025, spread.df)
    assert np.allclose(spread.half_width(0.05), t * np.sqrt(V_1 + V_2))
    assert np.allclose(spread.p_value(t * np.sqrt(V_1 + V_2))[:3], 0.05)
    assert spread.p_value(np.zeros(4)).tolist() == [1] * 4
