"""The filter's starts, directions and bounds, each against a dense Gaussian or a recursion."""

import math

import numpy as np
import pytest
import torch
from torch import Tensor

from kpo.kalman import kalman_filter, kalman_gains, saturated_filter
from kpo.memory import Direction, Start, mean_pass_share, pass_share, steady_gain
from kpo.registry import make_objective
from tests.kpo import oracles
from tests.kpo.cases import holey_mask, loss_and_gradient, one_response, random_batch

STARTS: list[Start] = ["known", "steady", "diffuse"]
DIRECTIONS: list[Direction] = ["causal", "anticausal", "two_sided"]
QS = [1e-6, 1e-4, 1e-2, 1.0, 30.0]
every_start = pytest.mark.parametrize("start", STARTS)
every_q = pytest.mark.parametrize("q", QS)


def prior(start: Start, q: float) -> float:
    """P_0 in units of V."""
    return {"known": 0.0, "steady": steady_gain(q), "diffuse": math.inf}[start]


def estimate(z: oracles.Array, q: float, start: Start, direction: Direction) -> oracles.Array:
    """What a direction asks for, from the dense Gaussian."""
    if direction == "anticausal":
        return estimate(z[::-1], q, start, "causal")[::-1]
    P_0 = prior(start, q)
    if direction == "two_sided":
        return oracles.gaussian_states(z, q, 1.0, P_0)
    return np.array([oracles.gaussian_states(z[:t], q, 1.0, P_0)[-1] for t in range(1, len(z) + 1)])


@every_q
@every_start
@pytest.mark.parametrize("direction", DIRECTIONS)
def test_it_is_the_posterior_mean(start: Start, direction: Direction, q: float) -> None:
    for length in (1, 2, 65, 130):
        z = np.random.default_rng(length).standard_normal(length)
        found = kalman_filter(
            torch.tensor(z)[None],
            torch.ones(1, length),
            q=q,
            start=start,
            direction=direction,
        )
        wanted = estimate(z, q, start, direction)
        np.testing.assert_allclose(found[0].numpy(), wanted, rtol=1e-8, atol=1e-10)


@every_start
@pytest.mark.parametrize("direction", [*DIRECTIONS, "shuffled"])
def test_masked_tokens_are_as_if_cut_out(start: Start, direction: Direction) -> None:
    rng = np.random.default_rng(0)
    mask = holey_mask(rng, rows=12, length=90)
    z = torch.tensor(np.where(mask, rng.standard_normal(mask.shape), np.nan))
    found = kalman_filter(z, torch.tensor(mask), q=1e-2, start=start, direction=direction)
    assert not bool(found[~torch.tensor(mask)].any())
    for row, values, seen in zip(found, z, torch.tensor(mask), strict=True):
        alone = values[seen][None]
        wanted = kalman_filter(
            alone, torch.ones_like(alone), q=1e-2, start=start, direction=direction
        )
        torch.testing.assert_close(row[seen], wanted[0], rtol=1e-12, atol=1e-14)


@every_q
def test_a_steady_gain_is_an_exponential_average(q: float) -> None:
    gains = kalman_gains(500, q, "steady")
    torch.testing.assert_close(gains, gains.new_full((500,), steady_gain(q)), rtol=1e-12, atol=0)


def test_a_diffuse_start_and_no_drift_is_the_running_mean() -> None:
    z = torch.randn(3, 200, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    found = kalman_filter(z, torch.ones_like(z), q=1e-13, start="diffuse")
    mean = z.cumsum(1) / torch.arange(1, 201)
    torch.testing.assert_close(found, mean, rtol=0, atol=1e-8)


def test_shuffling_hides_where_tokens_stand() -> None:
    """What a slow filter passes of a step at the middle depends on the order, but not if shuffled.

    The order is the same for every response of a length and no token stays in its place by rule.
    """
    step = torch.cat([torch.zeros(200), torch.ones(200)])[None].double()
    ones = torch.ones_like(step)
    causal = kalman_filter(step, ones, q=1e-3)
    shuffled = kalman_filter(step, ones, q=1e-3, direction="shuffled")
    assert not bool(causal[0, :200].any())
    assert float(shuffled[0, :200].mean()) > 0.1
    both = kalman_filter(step.repeat(2, 1), ones.repeat(2, 1), q=1e-3, direction="shuffled")
    assert torch.equal(both[0], both[1])
    assert torch.equal(both[:1], shuffled)


@pytest.mark.parametrize("sigmas", [0.3, 1.0, 3.0])
@every_start
@pytest.mark.parametrize("direction", ["causal", "anticausal"])
def test_saturation_is_the_bounded_recursion(
    start: Start, direction: Direction, sigmas: float
) -> None:
    rng = np.random.default_rng(1)
    mask = holey_mask(rng, rows=10, length=70)
    z = 1.5 * rng.standard_t(2, mask.shape)
    x, bounded = saturated_filter(
        torch.tensor(z),
        torch.tensor(mask),
        q=0.05,
        saturate=sigmas,
        start=start,
        direction=direction,
    )
    assert bool(bounded.any())
    for i, seen in enumerate(mask):
        order = np.flatnonzero(seen)[:: 1 if direction == "causal" else -1].copy()
        states, beyond = oracles.saturated_row(
            z[i, order].tolist(), 0.05, prior(start, 0.05), sigmas
        )
        np.testing.assert_allclose(x[i, order].numpy(), states, rtol=1e-10, atol=1e-12)
        assert bounded[i, order].tolist() == beyond
    assert not bool(x[~torch.tensor(mask)].any())


def test_a_bound_that_does_not_bind_changes_nothing() -> None:
    batch = random_batch(seed=3)
    z = 0.1 * (batch.logprobs - batch.old_logprobs)
    x, bounded = saturated_filter(z, batch.mask, q=1e-4, saturate=30.0)
    torch.testing.assert_close(x, kalman_filter(z, batch.mask, q=1e-4), rtol=1e-12, atol=1e-15)
    assert not bool(bounded.any())


# The share that passes

TABLE = {  # q: at t = 50, 100, 250, 500, 1000, 2000, 4096
    1e-6: [0.0013, 0.005, 0.031, 0.113, 0.352, 0.734, 0.967],
    1e-4: [0.115, 0.354, 0.838, 0.987, 1, 1, 1],
    1e-2: [0.987, 1, 1, 1, 1, 1, 1],
}
MEANS = {  # q: over responses of 50, 250, 1000, 4096
    1e-6: [0.0004, 0.0104, 0.135, 0.625],
    1e-4: [0.042, 0.441, 0.844, 0.962],
    1e-2: [0.708, 0.941, 0.985, 0.996],
}


@pytest.mark.parametrize("q", TABLE)
def test_shares_that_pass(q: float) -> None:
    found = [pass_share(t, q) for t in (50, 100, 250, 500, 1000, 2000, 4096)]
    assert found == pytest.approx(TABLE[q], abs=6e-4 if q > 1e-6 else 5e-4)
    means = [mean_pass_share(length, q) for length in (50, 250, 1000, 4096)]
    assert means == pytest.approx(MEANS[q], abs=5e-4)


@every_q
@every_start
def test_the_share_is_what_the_filter_passes_of_a_drift(start: Start, q: float) -> None:
    drift = torch.ones(1, 700, dtype=torch.float64)
    passed = kalman_filter(drift, drift, q=q, start=start)[0].tolist()
    closed = [pass_share(t, q, start) for t in range(1, 701)]
    assert closed == pytest.approx(passed, rel=1e-9)
    assert mean_pass_share(700, q, start) == pytest.approx(sum(passed) / 700, rel=1e-9)


# As settings of the objective


@every_start
@pytest.mark.parametrize("direction", [*DIRECTIONS, "shuffled"])
def test_the_objective_filters_as_it_is_told(start: Start, direction: Direction) -> None:
    batch = random_batch(seed=4)
    objective = make_objective("kpo", q=1e-2, start=start, direction=direction)
    output, _ = loss_and_gradient(objective, batch)
    z = (batch.logprobs - batch.old_logprobs).masked_fill(~batch.mask, 0)
    wanted: Tensor = kalman_filter(z, batch.mask, q=1e-2, start=start, direction=direction)
    assert torch.equal(output.log_ratio, wanted)


def test_saturation_is_counted() -> None:
    objective = make_objective("kpo", q=1e-6, saturate=3.0)
    output = objective(one_response([0.0, 3.1, -2.9, 0.0], 1.0))
    assert [int(part) for part in output.metrics["saturated"]] == [1, 4]
    assert "saturated" not in make_objective("kpo", q=1e-6)(one_response([9.0], 1.0)).metrics


def test_a_smoother_has_no_innovations_to_bound() -> None:
    with pytest.raises(ValueError, match=r"saturate is 3\.0, but there is no innovation to bound"):
        make_objective("kpo", q=1e-6, saturate=3.0, direction="two_sided")


def test_an_unknown_start_is_refused_with_what_there_is() -> None:
    with pytest.raises(ValueError, match="start is 'zero', but must be 'known', 'steady' or 'diff"):
        make_objective("kpo", q=1e-6, start="zero")
