"""Statistics beside means, against scipy and by hand; the limits by simulation."""

import numpy as np
import pytest
from scipy import stats

from kpo.evals.statistics.aggregates import (
    interquartile_mean,
    mean_over_seeds,
    over_seeds,
    performance_profile,
    probability_of_improvement,
)


@pytest.mark.parametrize("shape", [(4, 1), (8, 3), (2, 2)])
def test_it_is_the_trimmed_mean_where_quartiles_cut_no_score(shape: tuple[int, int]) -> None:
    scores = np.random.default_rng(0).random(shape)
    assert float(interquartile_mean(scores)) == pytest.approx(stats.trim_mean(scores.ravel(), 0.25))


def test_cut_scores_count_in_part() -> None:
    """Of five scores the middle half is 1/4 of 5 = 1.25 to 3.75: 0.75, 1 and 0.75 of three."""
    scores = np.array([[0.1], [0.9], [0.3], [0.2], [0.4]])
    assert float(interquartile_mean(scores)) == pytest.approx((0.75 * 0.2 + 0.3 + 0.75 * 0.4) / 2.5)


def test_one_wild_run_does_not_move_it() -> None:
    scores = np.linspace(0.4, 0.6, 8)[:, None]
    wild = scores.copy()
    wild[-1] = 1.0
    assert float(interquartile_mean(wild)) == pytest.approx(float(interquartile_mean(scores)))


def test_the_probability_is_mann_whitneys() -> None:
    rng = np.random.default_rng(1)
    x, y = rng.integers(0, 5, (6, 2)) / 4, rng.integers(0, 5, (6, 2)) / 4
    by_scipy = [stats.mannwhitneyu(x[:, b], y[:, b]).statistic / 36 for b in range(2)]
    assert float(probability_of_improvement(x, y)) == pytest.approx(np.mean(by_scipy))
    assert float(probability_of_improvement(x, x)) == 0.5
    assert float(probability_of_improvement(x + 2, y)) == 1


def test_a_profile_falls_from_all_to_none() -> None:
    found = performance_profile([[0.1, 0.5], [0.5, 0.9]], [0.0, 0.1, 0.5, 0.89, 0.9])
    assert found.tolist() == [1.0, 0.75, 0.25, 0.25, 0.0]


def test_limits_of_a_mean_are_students() -> None:
    """Of a mean the jackknife's variance is the usual one."""
    scores = np.array([[0.3], [0.5], [0.45], [0.62]])
    found = over_seeds(np.mean, scores)
    wanted = stats.ttest_1samp(scores.ravel(), 0).confidence_interval(0.95)
    assert (float(found.low), float(found.high)) == pytest.approx(tuple(wanted))


def test_limits_stay_where_scores_are_and_need_two_seeds() -> None:
    rows = np.array([[0.0], [0.0], [1.0]]), np.array([[0.0], [1.0], [1.0]])
    found = over_seeds(probability_of_improvement, *rows)
    assert 0 == float(found.low) <= float(found.value) <= float(found.high) == 1
    alone = over_seeds(np.mean, [[0.4, 0.6]])
    assert float(alone.value) == 0.5
    assert np.isnan([alone.low, alone.high]).all()


def test_seeds_that_agree_are_so_many_trials() -> None:
    """Of 3 yes-or-no trials that all say yes the lower limit is 0.025^(1/3)."""
    better, worse = np.full((3, 2), 0.7), np.full((3, 2), 0.4)
    found = over_seeds(probability_of_improvement, better, worse)
    assert (float(found.value), float(found.high)) == (1, 1)
    assert float(found.low) == pytest.approx(0.025 ** (1 / 3))
    half = over_seeds(lambda x: performance_profile(x, [0.5]), np.array([[0.7, 0.4]] * 4))
    wanted = stats.beta.ppf(0.025, 2, 3), stats.beta.ppf(0.975, 3, 2)
    assert (half.low[0], half.high[0]) == pytest.approx(wanted)


@pytest.mark.parametrize("values", [[3.0, 5.0, 4.5, 6.2], [0.1, 0.4]])
def test_a_mean_over_seeds_has_students_limits(values: list[float]) -> None:
    wanted = stats.ttest_1samp(values, 0).confidence_interval(0.95)
    assert tuple(mean_over_seeds(values)) == pytest.approx((np.mean(values), *wanted))


def test_one_seed_has_a_mean_and_no_limits() -> None:
    found = mean_over_seeds([7.0])
    assert found.value == 7
    assert np.isnan([found.low, found.high]).all()


@pytest.mark.slow
@pytest.mark.parametrize("seeds", [5, 8])
def test_limits_hold_the_truth_nearly_as_often_as_they_say(seeds: int) -> None:
    """2,000 tables whose seeds shift all three benchmarks; truth: 200,000 seeds."""
    rng = np.random.default_rng(seeds)

    def table(count: int) -> np.ndarray:
        shift = 0.04 * rng.standard_t(4, (count, 1))
        return np.clip(
            np.array([0.7, 0.5, 0.35]) + shift + 0.02 * rng.standard_normal((count, 3)), 0, 1
        )

    truth = float(interquartile_mean(table(200_000)))
    held = [
        float(found.low) <= truth <= float(found.high)
        for found in (over_seeds(interquartile_mean, table(seeds)) for _ in range(2000))
    ]
    chance_truth, chance_held = 0.5, []
    for _ in range(2000):
        found = over_seeds(probability_of_improvement, table(seeds), table(seeds))
        chance_held.append(float(found.low) <= chance_truth <= float(found.high))
    print(seeds, np.mean(held), np.mean(chance_held))
    assert 0.92 <= np.mean(held) <= 0.98
    assert 0.92 <= np.mean(chance_held) <= 0.99
