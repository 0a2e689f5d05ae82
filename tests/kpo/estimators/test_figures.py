"""Figures of estimators against gradients whose mean and spread are known, in float64."""

from __future__ import annotations

import numpy as np
import pytest

from kpo.estimators.figures import (
    FIGURES,
    Array,
    Products,
    Replicates,
    figures,
    moments,
    squared_mean,
    squared_product,
)

GAMMA, TAU = np.array([1.0, 0.5, 0.0, -0.5, 0.2]), np.array([0.8, 1.0, -0.3, 0.0, 0.2])
SPREAD, TRUTH_SPREAD = np.array([1.0, 2.0, 0.5, 1.0, 0.3]), np.array([0.3, 0.1, 0.2, 0.2, 0.1])
M, K = 8, 5


def products(own: Array, true: Array) -> Products:
    return Products(own @ own.T, own @ true.T, true @ true.T)


def drawn(rng: np.random.Generator, m: int = M, k: int = K) -> tuple[Array, Array]:
    """Gradients of m mini-batches and k parts of the truth."""
    own = GAMMA + SPREAD * rng.standard_normal((m, len(GAMMA)))
    return own, TAU + TRUTH_SPREAD * rng.standard_normal((k, len(TAU)))


def found_in(p: Products) -> Array:
    return figures(moments(p))


def replicates(p: Products) -> Replicates:
    return Replicates.of(p).map(figures)


def named(values: Array) -> dict[str, float]:
    return dict(zip(FIGURES, values.tolist(), strict=True))


def test_without_noise_they_are_those_of_the_two_vectors() -> None:
    found = named(found_in(products(np.tile(GAMMA, (M, 1)), np.tile(TAU, (K, 1)))))
    cosine = GAMMA @ TAU / np.linalg.norm(GAMMA) / np.linalg.norm(TAU)
    bias = ((GAMMA - TAU) ** 2).sum() / (TAU @ TAU)
    assert found == pytest.approx(
        {
            "cosine": cosine,
            "cosine_batch": cosine,
            "slope": GAMMA @ TAU / (TAU @ TAU),
            "bias": bias,
            "variance": 0.0,
            "mse": bias,
            "mse_scaled": 1 - cosine**2,
        },
        abs=1e-12,
    )


def test_errors_of_one_mini_batch_are_those_of_the_definition() -> None:
    """Means over the mini-batches at hand, to a truth without noise."""
    own, _ = drawn(np.random.default_rng(0))
    found, norm = named(found_in(products(own, np.tile(TAU, (K, 1))))), TAU @ TAU
    assert found["mse"] == pytest.approx(((own - TAU) ** 2).sum(1).mean() / norm, 1e-12)
    assert found["variance"] == pytest.approx(own.var(0, ddof=1).sum() / norm, 1e-12)
    cosines = own @ TAU / np.linalg.norm(own, axis=1) / np.linalg.norm(TAU)
    assert found["cosine_batch"] == pytest.approx(cosines.mean(), 1e-12)


def test_the_best_scale_leaves_what_is_told() -> None:
    own, _ = drawn(np.random.default_rng(8), m=1000)
    scales = np.linspace(-1, 2, 3001)
    square, along = (GAMMA**2 + SPREAD**2).sum(), GAMMA @ TAU
    least = (scales**2 * square - 2 * scales * along + TAU @ TAU).min() / (TAU @ TAU)
    found = named(found_in(products(own, np.tile(TAU, (K, 1)))))
    assert found["mse_scaled"] == pytest.approx(least, rel=0.02)
    assert least < 0.95 * found["mse"]


def test_squares_of_means_are_unbiased() -> None:
    """Where the mean of all vectors, squared, is far too long."""
    rng = np.random.default_rng(1)
    pairs = []
    for _ in range(3000):
        own, true = drawn(rng)
        p = products(own, true)
        bias = squared_mean(p.own) - 2 * p.cross.mean() + p.norm
        naive = ((own.mean(0) - true.mean(0)) ** 2).sum(), p.cross.mean() ** 2
        pairs.append((bias, squared_product(p.cross), *naive, p.norm))
    bias, product, naive_bias, naive_product, norm = np.array(pairs).T
    for found, naive, exact in (
        (bias, naive_bias, ((GAMMA - TAU) ** 2).sum()),
        (product, naive_product, (GAMMA @ TAU) ** 2),
    ):
        error = found.std() / len(found) ** 0.5
        assert abs(found.mean() - exact) < 3 * error
        assert naive.mean() - exact > 10 * error
    assert bias.min() < 0
    assert norm.mean() == pytest.approx(TAU @ TAU, rel=0.01)


def test_the_truths_noise_is_that_of_its_mean() -> None:
    rng = np.random.default_rng(2)
    noises = [products(*drawn(rng)).noise for _ in range(500)]
    exact = (TRUTH_SPREAD**2).sum() / K / (TAU @ TAU)
    assert np.mean(noises) == pytest.approx(exact, rel=0.05)


def test_standard_errors_are_the_spread_of_what_is_found() -> None:
    rng = np.random.default_rng(3)
    found, errors = [], []
    for _ in range(300):
        made = replicates(products(*drawn(rng, 40, 20)))
        found.append(made.whole)
        errors.append(made.errors)
    spread, told = np.std(found, axis=0), np.mean(errors, axis=0)
    assert named(told) == pytest.approx(named(spread), rel=0.15)


def test_the_truths_noise_is_part_of_standard_errors() -> None:
    own, true = drawn(np.random.default_rng(4), 40)
    sure = replicates(products(own, np.tile(true.mean(0), (K, 1))))
    unsure = replicates(products(own, true))
    assert (unsure.errors > sure.errors).all()


def test_a_difference_is_surer_than_its_parts_where_mini_batches_are_shared() -> None:
    own, true = drawn(np.random.default_rng(5))
    one, other = (replicates(products(x, true)) for x in (own, 0.9 * own + 0.01))
    difference = one - other
    at = FIGURES.index("cosine_batch")
    assert difference.errors[at] < one.errors[at] / 5
    assert not (one - one).errors.any()


def test_the_mean_of_several_weighs_all_alike_and_is_surer() -> None:
    rng = np.random.default_rng(9)
    found, errors = [], []
    for _ in range(200):
        several = [Replicates.of(products(*drawn(rng, 30, 10))) for _ in range(3)]
        mean = Replicates.mean(several).map(figures)
        found.append(mean.whole)
        errors.append(mean.errors)
    alone = several[0].map(figures)
    assert Replicates.mean(several[:1]).map(figures).errors == pytest.approx(alone.errors)
    at = FIGURES.index("slope")
    assert found[-1][at] == pytest.approx(np.mean([each.whole[0] for each in several]))
    spread, told = np.std(found, axis=0), np.mean(errors, axis=0)
    assert named(told) == pytest.approx(named(spread), rel=0.15)


def test_a_gradient_of_zero_has_no_direction() -> None:
    own, _ = drawn(np.random.default_rng(6))
    own[:2] = 0
    found = named(found_in(products(own, np.tile(TAU, (K, 1)))))
    rest = own[2:] @ TAU / np.linalg.norm(own[2:], axis=1) / np.linalg.norm(TAU)
    assert found["cosine_batch"] == pytest.approx(rest.sum() / M, 1e-12)


def test_too_few_mini_batches_leave_figures_without_a_value() -> None:
    assert np.isnan(squared_mean(np.ones((1, 1))))
    own, true = drawn(np.random.default_rng(7), m=2)
    made = replicates(products(own, true))
    assert np.isfinite(made.whole).all()
    assert np.isnan(named(made.errors)["bias"])
