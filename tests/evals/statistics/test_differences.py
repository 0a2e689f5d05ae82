"""Paired tests on simulated tables: false alarms, power, pairing, Holm's correction."""

import numpy as np
import pytest
from scipy import special, stats

from evals.metrics import Floats
from evals.statistics.differences import POWER, all_pairs, compare_rows, holm, holm_families
from evals.statistics.differences import Tests as PairTests  # pytest takes Test... for a test
from tests.evals.simulated import SAMPLES, scores

Rows = list[list[Floats]]  # row -> benchmark -> [seeds, problems], or a stack of such tables
TABLES = 1000


def null_tables(
    rng: np.random.Generator, deviations: list[float], problems: tuple[int, ...], base: bool
) -> Rows:
    """TABLES tables of counts of rows with the same expected score.

    Their seeds are apart by `deviations` (logit); around logit 0 the expected score is 0.5 whatever
    the deviation.
    """
    seeds = [d * rng.normal(size=(TABLES, 3, 1)) for d in deviations]
    if base:
        seeds = [np.zeros((TABLES, 1, 1)), *seeds]
    rows: Rows = [[] for _ in seeds]
    for n in problems:
        shared = rng.normal(size=(TABLES, 1, n))
        for a, cells in zip(seeds, rows, strict=True):
            own = 0.2 * rng.normal(size=(TABLES, 1, n))
            logit = shared + own + a + 0.1 * rng.normal(size=(*a.shape[:2], n))
            cells.append(rng.binomial(SAMPLES, special.expit(logit)).astype(np.float64))
    return rows


def smallest_adjusted(rows: Rows, baselines: list[int]) -> Floats:
    """Smallest Holm-adjusted p of each table, both metrics, as `evals.tables` makes them; [TABLES].

    A single table's comparisons are those of its place in the stack (tested below).
    """
    smallest = np.full(TABLES, np.inf)
    for metric in ("avg", "pass"):
        x = [[scores(block, metric) for block in row] for row in rows]
        columns = [compare_rows([[row[b]] for row in x], resamples=400) for b in range(len(x[0]))]
        columns.append(compare_rows(x, resamples=400))
        for table in range(TABLES):
            tests = [single(column, table) for column in columns]
            found = np.concatenate(holm_families(tests, baselines))
            smallest[table] = min(smallest[table], np.nanmin(found))
    return smallest


def single(stack: PairTests, table: int) -> PairTests:
    """One table's tests out of a stack's."""
    fields = (stack.mean, stack.low, stack.high, stack.p, stack.detectable)
    return PairTests(stack.pairs, *(field[table] for field in fields))


@pytest.mark.parametrize(
    "deviations",
    [[0.0] * 5, [0.15] * 5, [0.13, 0.2, 0.13, 0.12, 0.48]],
    ids=["no seed effect", "alike", "one row four times as noisy"],
)
def test_at_most_5_percent_of_null_tables_show_a_difference(deviations: list[float]) -> None:
    rows = null_tables(np.random.default_rng(0), deviations, (40, 60), base=True)
    assert np.mean(smallest_adjusted(rows, [1, 2, 3]) <= 0.05) <= 0.05


def test_without_the_correction_many_null_tables_would_show_one() -> None:
    rows = null_tables(np.random.default_rng(0), [0.15] * 5, (40, 60), base=True)
    p = compare_rows([[scores(block, "avg") for block in row] for row in rows], resamples=400).p
    assert np.mean(np.nanmin(p, axis=-1) <= 0.05) > 0.1


def test_a_table_is_tested_alike_alone_and_in_a_stack() -> None:
    rows = null_tables(np.random.default_rng(1), [0.1, 0.3, 0.2], (20, 30), base=True)
    stack = single(compare_rows(rows), 5)
    alone = compare_rows([[block[5] for block in row] for row in rows])
    for field in ("mean", "low", "high", "p", "detectable"):
        assert np.allclose(getattr(stack, field), getattr(alone, field), atol=1e-12)


def additive(rng: np.random.Generator, shift: float, rows: int = 4, problems: int = 60) -> Rows:
    """Rows of normal scores; the last is better by `shift`."""
    shared = rng.normal(size=problems)
    noise = lambda *shape: rng.normal(size=shape)  # noqa: E731
    return [
        [
            shared
            + 0.1 * noise(problems)
            + 0.03 * noise(3, 1)
            + 0.1 * noise(3, problems)
            + shift * (row == rows - 1)
        ]
        for row in range(rows)
    ]


def test_the_detectable_difference_is_detected_with_the_stated_power() -> None:
    rng = np.random.default_rng(1)
    place = all_pairs(4).index((3, 0))
    null = [compare_rows(additive(rng, 0), resamples=500).detectable[place] for _ in range(200)]
    shift = float(np.median(null))
    p = [compare_rows(additive(rng, shift), resamples=500).p[place] for _ in range(400)]
    assert np.mean(np.array(p) <= 0.05) == pytest.approx(POWER, abs=0.1)


def test_intervals_of_differences_cover_the_truth_and_agree_with_p() -> None:
    rng = np.random.default_rng(2)
    tests = [compare_rows(additive(rng, 0.05), resamples=500) for _ in range(400)]
    place = all_pairs(4).index((3, 0))
    inside = [t.low[place] <= 0.05 <= t.high[place] for t in tests]
    assert 0.93 <= np.mean(inside) <= 0.98
    for t in tests:
        assert np.array_equal(t.p < 0.05, (t.low > 0) | (t.high < 0))
        assert np.allclose(t.mean, (t.low + t.high) / 2)


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
    nu = 2 * 2 * V.sum() ** 2 / (3 * (V**2).sum())
    own = 2 * stats.t.isf(0.025, nu) * np.sqrt(V[1])
    assert width[together.pairs.index((2, 0))] == pytest.approx(own, rel=0.05)


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


def test_holm_leaves_out_what_was_not_tested() -> None:
    found = holm([np.nan, 0.01, np.nan, 0.02])
    assert np.isnan(found[[0, 2]]).all()
    assert found[[1, 3]].tolist() == pytest.approx([0.02, 0.02])


def test_families_hold_every_pair_with_a_baseline() -> None:
    rows = additive(np.random.default_rng(9), 0.1)
    tests = compare_rows(rows)
    benchmark, overall = holm_families([tests, tests], baselines=[0, 1])
    left_out = [{i, j} == {2, 3} for i, j in tests.pairs]
    assert np.array_equal(np.isnan(benchmark), left_out)
    smallest = np.nanmin(np.where(left_out, np.nan, tests.p))
    assert np.nanmin(benchmark) == np.nanmin(overall) == pytest.approx(min(5 * smallest, 1))
    first, second, _ = holm_families([tests, tests, tests], baselines=[0, 1])
    assert min(np.nanmin(first), np.nanmin(second)) == pytest.approx(min(10 * smallest, 1))
