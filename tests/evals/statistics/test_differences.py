"""Paired tests: pairing, borrowed seed variance, Holm's correction and families."""

import numpy as np
import pytest
from scipy import stats

from kpo.evals.statistics.differences import all_pairs, compare_rows, holm, holm_families
from tests.evals.simulated import additive

PAIRS = [(1, 0), (0, 2), (3, 0), (2, 1), (2, 3)]
"""All of four rows but 3 and 1."""


def test_a_table_is_tested_alike_alone_and_in_a_stack() -> None:
    rows = additive(np.random.default_rng(1), 0.1, 6)
    rows = [[rows[0][0][:, :1]], *rows[1:]]  # of one seed, as the base model
    stack, alone = compare_rows(rows), compare_rows([[block[5] for block in row] for row in rows])
    for field in ("mean", "low", "high", "p", "detectable"):
        assert np.allclose(getattr(stack, field)[5], getattr(alone, field), atol=1e-12)
    together, single = holm_families([stack] * 3, PAIRS), holm_families([alone] * 3, PAIRS)
    for many, one in zip(together, single, strict=True):
        assert np.allclose(many[5], one, equal_nan=True)


def test_differences_are_paired_by_problem() -> None:
    rng = np.random.default_rng(3)
    rows = additive(rng, 0.2)
    paired = compare_rows(rows).p
    shuffled = compare_rows([[x[0][:, rng.permutation(60)]] for x in rows]).p
    place = all_pairs(4).index((3, 0))
    assert paired[place] < 0.01
    assert shuffled[place] > 0.05


def test_differences_are_paired_by_seed() -> None:
    rng = np.random.default_rng(4)
    common = 0.5 * rng.normal(size=(3, 1))
    rows = [[x[0] + common] for x in additive(rng, 0.3)]
    place = all_pairs(4).index((3, 0))
    assert compare_rows(rows).p[place] < 1e-3
    assert compare_rows([*rows[:3], [rows[3][0][[1, 2, 0]]]]).p[place] > 0.05


def test_the_mean_is_row_minus_reference_and_changes_sign_with_their_order() -> None:
    rows = additive(np.random.default_rng(5), 0.3)
    tests, turned = compare_rows(rows), compare_rows(rows[::-1])
    for n, (i, j) in enumerate(tests.pairs):
        assert tests.mean[n] == pytest.approx(rows[i][0].mean() - rows[j][0].mean())
        other = turned.pairs.index((3 - j, 3 - i))
        assert turned.mean[other] == pytest.approx(-tests.mean[n])
        assert turned.p[other] == pytest.approx(tests.p[n])


def test_a_quiet_pair_borrows_the_columns_seed_variance_and_a_loud_one_keeps_its_own() -> None:
    flat = np.zeros((3, 20)) + 0.1 * np.random.default_rng(6).normal(size=20)
    steps = np.array([[-0.1], [0.0], [0.1]])
    quiet, moved, loud = flat, flat + 0.2 + 0.1 * steps, flat - 0.2 + 3 * steps
    alone, together = compare_rows([[quiet], [moved]]), compare_rows([[quiet], [moved], [loud]])
    width = together.high - together.low
    assert width[0] > 3 * (alone.high - alone.low)[0]
    V = np.array([0.01, 0.3, 0.29]) ** 2 / 3  # of the pairs' means over seeds
    own = 2 * stats.t.isf(0.025, 2) * np.sqrt(V[1])  # all rows stray with the same seeds
    assert width[together.pairs.index((2, 0))] == pytest.approx(own, rel=0.05)


def test_what_rounding_leaves_of_a_constant_is_no_spread() -> None:
    third = np.full((3, 30), 1 / 3)  # 1/3 and its mean differ in the last bits
    p = compare_rows([[third], [third + 0.1], [third - 0.2]]).p
    assert ((p > 1e-6) & (p < 1e-2)).all()


def test_rows_without_any_spread_differ_for_sure_only_if_they_differ() -> None:
    solved, failed = np.ones((3, 30)), np.zeros((3, 30))
    p = compare_rows([[solved], [solved], [failed]]).p
    assert p[0] == 1
    assert 0 < p[1] < 1e-3


def test_the_base_model_is_set_against_every_seed() -> None:
    rows = additive(np.random.default_rng(7), 0.5)
    base = [rows[0][0][:1] - 0.5]
    tests = compare_rows([base, *rows])
    place = tests.pairs.index((1, 0))
    assert tests.mean[place] == pytest.approx(rows[0][0].mean() - base[0].mean())
    assert tests.p[place] < 1e-3


@pytest.mark.parametrize("problems", [1, 30])
def test_where_nothing_is_known_of_seeds_or_problems_nothing_is_tested(problems: int) -> None:
    seeds = 1 if problems > 1 else 3
    rng = np.random.default_rng(8)
    tests = compare_rows([[rng.random((seeds, problems))] for _ in range(3)])
    assert np.isnan(tests.p).all()
    assert not np.isnan(tests.mean).any()


def test_holm_by_hand() -> None:
    assert holm([0.01, 0.04, 0.03, 0.005]).tolist() == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.6, 0.7]).tolist() == [1, 1]
    assert holm([]).tolist() == []
    assert holm([[0.01, 0.04], [0.6, 0.03]]).tolist() == [[0.02, 0.04], [0.6, 0.06]]


def test_holm_leaves_out_what_was_not_tested() -> None:
    found = holm([np.nan, 0.01, np.nan, 0.02])
    assert np.isnan(found[[0, 2]]).all()
    assert found[[1, 3]].tolist() == pytest.approx([0.02, 0.02])


def test_families_hold_the_declared_pairs_and_each_once() -> None:
    rows = additive(np.random.default_rng(9), 0.1)
    tests = compare_rows(rows)
    benchmark, overall = holm_families([tests, tests], [*PAIRS, (0, 1), (3, 2), (1, 0)])
    left_out = [{i, j} == {1, 3} for i, j in tests.pairs]
    assert np.array_equal(np.isnan(benchmark), left_out)
    smallest = np.nanmin(np.where(left_out, np.nan, tests.p))
    assert np.nanmin(benchmark) == np.nanmin(overall) == pytest.approx(min(5 * smallest, 1))
    first, second, _ = holm_families([tests, tests, tests], PAIRS)
    assert min(np.nanmin(first), np.nanmin(second)) == pytest.approx(min(10 * smallest, 1))
    last = compare_rows(additive(np.random.default_rng(10), 0.1))
    *_, overall = holm_families([tests, tests, last], PAIRS)
    assert np.allclose(overall, holm(np.where(left_out, np.nan, last.p)), equal_nan=True)


def test_where_nothing_is_declared_nothing_is_tested() -> None:
    tests = compare_rows(additive(np.random.default_rng(11), 0.1))
    assert all(np.isnan(p).all() for p in holm_families([tests, tests], []))


def test_a_row_that_stands_apart_says_nothing_of_others() -> None:
    """Neither of their seeds' spread, nor how often they are compared with the base model."""
    rng = np.random.default_rng(4)
    base = [0.2 + 0.3 * rng.random((1, 50))]
    calm = [[0.4 + 0.3 * rng.random((3, 50))] for _ in range(3)]
    wild = [np.array([[0.0], [0.4], [0.9]]) + 0.1 * rng.random((3, 50))]
    rows = [base, *calm, wild]
    alone, together = compare_rows(rows[:4]), compare_rows(rows, apart={4})
    for n, pair in enumerate(alone.pairs):
        place = together.pairs.index(pair)
        for field in ("mean", "low", "high", "p", "detectable"):
            assert getattr(alone, field)[n] == getattr(together, field)[place]
    pooled = compare_rows(rows)
    place = pooled.pairs.index((2, 1))
    assert pooled.detectable[place] > 3 * together.detectable[place]


def test_pairs_of_a_row_that_stands_apart_are_tested_by_their_own_spread() -> None:
    rng = np.random.default_rng(5)
    rows = [[0.4 + 0.01 * rng.random((4, 50))] for _ in range(2)]
    wild = [np.array([[0.0], [0.2], [0.9], [0.5]]) + 0.01 * rng.random((4, 50))]
    tests = compare_rows([*rows, wild], apart={2})
    by_seed = (wild[0] - rows[1][0]).mean(-1)
    expected = stats.ttest_1samp(by_seed, 0)
    low, high = expected.confidence_interval()
    place = tests.pairs.index((2, 1))
    assert (tests.low[place], tests.high[place]) == pytest.approx((low, high), rel=0.05)
