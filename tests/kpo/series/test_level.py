"""The likelihood of a random walk plus noise, against a dense Gaussian's."""

import numpy as np
import pytest
from scipy import stats

from kpo.series.level import GRID, LevelLikelihood
from kpo.series.ragged import Floats, Ragged


def ragged(responses: list[Floats]) -> Ragged:
    return Ragged(np.concatenate(responses), np.array([len(one) for one in responses]))


def walks(q: float, lengths: list[int], seed: int = 0) -> Ragged:
    rng = np.random.default_rng(seed)
    return ragged(
        [
            rng.normal() + np.sqrt(q) * rng.normal(size=T).cumsum() + rng.normal(size=T)
            for T in lengths
        ]
    )


def dense(z: Ragged, q: float) -> float:
    """Log-likelihood of the responses' differences, which do not see the start, at the best V."""
    squares = log_det = n = 0.0
    for one in np.split(z.values, z.starts[1:]):
        T = len(one)
        steps = np.tril(np.ones((T, T)))
        D = np.diff(np.eye(T), axis=0)
        C = D @ (q * steps @ steps.T + np.eye(T)) @ D.T
        squares += float((D @ one) @ np.linalg.solve(C, D @ one)) if T > 1 else 0
        log_det += float(np.linalg.slogdet(C)[1]) if T > 1 else 0
        n += T - 1
    return float(-0.5 * (n * np.log(squares / n) + log_det))


def test_likelihoods_are_those_of_a_dense_gaussian() -> None:
    z = walks(0.1, [3, 1, 7, 2, 12])
    found = LevelLikelihood()
    found.add(z)
    mine = -0.5 * (found.n * np.log(found.squares / found.n) + found.log_variances)
    expected = np.array([dense(z, q) for q in GRID])
    assert mine - mine[0] == pytest.approx(expected - expected[0], abs=1e-8)


def test_responses_add_up_in_any_portions() -> None:
    z = walks(0.01, [5, 9, 2, 4])
    whole, parts = LevelLikelihood(), LevelLikelihood()
    whole.add(z)
    for one in np.split(z.values, z.starts[1:]):
        parts.add(ragged([one]))
    assert parts.fit() == pytest.approx(whole.fit())


@pytest.mark.parametrize("q", [1e-3, 1e-2, 1.0])
def test_the_q_of_a_random_walk_is_found(q: float) -> None:
    found = LevelLikelihood()
    found.add(walks(q, [400] * 200))
    best, gain = found.fit()
    assert best == pytest.approx(q, rel=0.8)
    assert gain > 100


def test_white_noise_gains_no_more_than_chance_has_it() -> None:
    gains = []
    for seed in range(40):
        found = LevelLikelihood()
        found.add(walks(0.0, [40] * 30, seed))
        gains.append(found.fit()[1])
    assert np.mean(gains) < stats.chi2.mean(1) / 2  # half of them at the edge, where it is 0
    assert max(gains) < 6


def test_what_does_not_vary_has_no_q() -> None:
    found = LevelLikelihood()
    found.add(ragged([np.zeros(5), np.zeros(1)]))
    assert np.isnan(found.fit()[0])
    assert LevelLikelihood().fit()[1] == 0
