"""Paired tests on simulated tables: how often they cry wolf, how often they see what is there."""

from collections.abc import Collection

import numpy as np
import pytest
from scipy import special

from kpo.config.compare import DEFAULT, declared
from kpo.config.method import Method
from kpo.evals.metrics import Floats
from kpo.evals.statistics.differences import POWER, Pair, all_pairs, compare_rows, holm_families
from kpo.objective import Role
from tests.evals.simulated import SAMPLES, Rows, additive, scores

pytestmark = pytest.mark.slow
TABLES, AT_ONCE = 10_000, 100  # few at once stay in the cache
PLACE = all_pairs(4).index((3, 0))
ROLES: list[Role] = ["baseline", "baseline", "baseline", "control", "proposed"]
"""Of rows 1 to 5; row 0 is the base model."""
WORLDS = {
    "no seed effect": ([0.0] * 5, 0.01),
    "alike": ([0.15] * 5, 0.015),
    "alike, far apart": ([0.5] * 5, 0.015),
    "two rows five times as noisy": ([0.1, 0.1, 0.1, 0.5, 0.5], 0.03),
    "one row four times as noisy": ([0.13, 0.2, 0.13, 0.12, 0.48], 0.045),
    "one row twelve times as noisy": ([0.1, 0.1, 0.1, 0.1, 1.2], 0.06),
    "a baseline twelve times as noisy": ([1.2, 0.1, 0.1, 0.1, 0.1], 0.055),
}
COLLAPSED = {
    "one row": ([0.1, 0.1, 0.1, 0.1, 1.2], {5}, 0.045),
    "two rows": ([0.1, 0.1, 0.1, 0.5, 2.0], {4, 5}, 0.05),
    "three rows": ([0.1, 0.1, 1.0, 1.0, 1.2], {3, 4, 5}, 0.04),
    "a row like others": ([0.15] * 5, {5}, 0.025),
}
"""Rows of which a run collapsed, whose seeds stray as they like."""
TOGETHER = {
    "all": ([0.5] * 5, 0.045),
    "all, far": ([1.5] * 5, 0.035),
    "two groups": ([0.3, 0.3, 0.3, -0.3, -0.3], 0.05),
    "two groups, far": ([1.0, 1.0, 1.0, -1.0, -1.0], 0.05),
    "all but one": ([0.3, 0.3, 0.3, 0.3, 0.0], 0.05),
}
"""What each row takes of its seed's own luck, beside a deviation of 0.05 that is the run's."""


def null_tables(
    rng: np.random.Generator,
    deviations: list[float],
    problems: tuple[int, ...],
    shares: list[float] | None = None,
    tables: int = AT_ONCE,
) -> Rows:
    """So many tables of counts: a row of one seed, and rows with the same expected score.

    Their seeds are apart by `deviations` (logit), and by `shares` of what all rows have in common;
    around logit 0 the expected score is 0.5 whatever the deviation.
    """
    luck = rng.normal(size=(tables, 3, 1)) if shares else 0
    seeds = [d * rng.normal(size=(tables, 3, 1)) for d in deviations]
    seeds = [a + share * luck for a, share in zip(seeds, shares or [0] * len(seeds), strict=True)]
    seeds = [np.zeros((tables, 1, 1)), *seeds]
    rows: Rows = [[] for _ in seeds]
    for n in problems:
        shared = rng.normal(size=(tables, 1, n))
        for a, cells in zip(seeds, rows, strict=True):
            own = 0.2 * rng.normal(size=(tables, 1, n))
            logit = shared + own + a + 0.1 * rng.normal(size=(*a.shape[:2], n))
            cells.append(rng.binomial(SAMPLES, special.expit(logit)).astype(np.float64))
    return rows


def smallest_adjusted(rows: Rows, pairs: Collection[Pair], apart: Collection[int] = ()) -> Floats:
    """Smallest Holm-adjusted p of each table, both metrics, as `evals.tables` makes them."""
    smallest = []
    for metric in ("avg", "pass"):
        x = [[scores(block, metric) for block in row] for row in rows]
        columns = [compare_rows([[row[b]] for row in x], apart) for b in range(len(x[0]))]
        families = holm_families([*columns, compare_rows(x, apart)], pairs)
        smallest += [np.nanmin(p, axis=-1) for p in families]
    return np.min(smallest, axis=0)


def default_pairs(best: int | None = None) -> set[Pair]:
    """What a file with these rows declares; with `best`, as if it had been known beforehand."""
    methods = {
        str(n): Method(label=str(n), objective="grpo", role=r) for n, r in enumerate(ROLES, 1)
    }
    found = declared(methods, DEFAULT).items()
    return {
        (int(row), 0 if reference == "base" else int(reference))
        for (row, reference), words in found
        if best is None or words != ("best",) or reference == str(best)
    }


def share_that_show(
    deviations: list[float], shares: list[float] | None = None, apart: Collection[int] = ()
) -> float:
    """Of TABLES null tables, as above, the share in which some difference passes for one."""
    rng = np.random.default_rng(0)
    tables = (null_tables(rng, deviations, (40, 60), shares) for _ in range(TABLES // AT_ONCE))
    smallest = [smallest_adjusted(rows, default_pairs(), apart) for rows in tables]
    return float(np.mean(np.array(smallest) <= 0.05))


@pytest.mark.parametrize("name", WORLDS)
def test_few_null_tables_show_a_difference(name: str) -> None:
    deviations, most = WORLDS[name]
    assert share_that_show(deviations) <= most


@pytest.mark.parametrize("name", COLLAPSED)
def test_few_null_tables_with_collapsed_rows_show_a_difference(name: str) -> None:
    deviations, apart, most = COLLAPSED[name]
    assert share_that_show(deviations, apart=apart) <= most


@pytest.mark.parametrize("name", TOGETHER)
def test_few_null_tables_whose_rows_stray_together_show_a_difference(name: str) -> None:
    shares, most = TOGETHER[name]
    assert share_that_show([0.05] * 5, shares) <= most


def test_a_best_baseline_that_only_the_data_name_must_be_paid_for() -> None:
    """As if it had been declared it would raise the alarms: here by a third."""
    rng = np.random.default_rng(0)
    paid, unpaid = [], []
    for _ in range(TABLES // 1_000):
        rows = null_tables(rng, [0.15] * 5, (40, 60), tables=1_000)
        means = [np.mean([block.mean((-2, -1)) for block in rows[n]], axis=0) for n in (1, 2, 3)]
        best = 1 + np.argmax(means, axis=0)
        paid.append(smallest_adjusted(rows, default_pairs()) <= 0.05)
        by_best = [smallest_adjusted(rows, default_pairs(n)) <= 0.05 for n in (1, 2, 3)]
        unpaid.append(np.choose(best - 1, by_best))
    assert np.mean(unpaid) > 1.25 * np.mean(paid)


def test_without_the_correction_many_null_tables_would_show_one() -> None:
    rows = null_tables(np.random.default_rng(0), [0.15] * 5, (40, 60), tables=1_000)
    p = compare_rows([[scores(block, "avg") for block in row] for row in rows]).p
    assert np.mean(np.nanmin(p, axis=-1) <= 0.05) > 0.1


def test_the_detectable_difference_is_detected_with_the_stated_power() -> None:
    rng = np.random.default_rng(1)
    shift = float(np.median(compare_rows(additive(rng, 0, TABLES)).detectable[:, PLACE]))
    p = compare_rows(additive(rng, shift, TABLES)).p[:, PLACE]
    assert np.mean(p <= 0.05) == pytest.approx(POWER, abs=0.09)  # 0.72: the test is cautious


def test_intervals_of_differences_cover_the_truth_and_agree_with_p() -> None:
    tests = compare_rows(additive(np.random.default_rng(2), 0.05, TABLES))
    inside = (tests.low[:, PLACE] <= 0.05) & (tests.high[:, PLACE] >= 0.05)
    assert 0.95 <= np.mean(inside) <= 0.98
    assert np.array_equal(tests.p < 0.05, (tests.low > 0) | (tests.high < 0))
    assert np.allclose(tests.mean, (tests.low + tests.high) / 2)
