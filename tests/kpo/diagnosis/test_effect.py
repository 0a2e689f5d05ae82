"""What objectives clip and drop: against slopes by hand, and against autograd on policy."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from kpo.diagnosis.effect import Effect, look, padded
from kpo.diagnosis.responses import Response
from kpo.objective import Objective, TokenBatch, divides_by_std
from kpo.registry import OBJECTIVES, SETTINGS, make_objective, usual_objectives
from tests.kpo import oracles
from tests.kpo.cases import as_array, random_batch
from tests.kpo.diagnosis.made import response

SEEDS = range(3)


def shares(objective: Objective, rows: list[Response]) -> dict[str, float]:
    effect = Effect()
    effect.add(objective, padded(rows))
    return effect.summary()


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("name", OBJECTIVES)
def test_shares_are_those_of_slopes_by_hand(name: str, seed: int) -> None:
    objective = usual_objectives()[name]
    batch = random_batch(seed)
    near = (batch.logprobs - batch.old_logprobs).clamp(-5, 5)  # where no soft gate underflows to 0
    batch = replace(batch, logprobs=batch.old_logprobs + near)
    z = as_array(batch.logprobs) - as_array(batch.old_logprobs)
    mask, A = batch.mask.numpy(), as_array(batch.advantages)
    settings: oracles.Settings = SETTINGS.get(name, {})
    logprobs = as_array(batch.logprobs)
    slopes = oracles.expected(name, settings, z, A, mask, logprobs).gradient
    on_policy = oracles.expected(name, settings, 0 * z, A, mask, as_array(batch.old_logprobs))
    sizes = np.abs(on_policy.gradient)
    expected = sizes[slopes == 0].sum() / sizes.sum()
    effect = Effect()
    effect.add(objective, (batch, batch))
    assert effect.summary()["gradient_dropped"] == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("name", OBJECTIVES)
def test_sizes_are_those_of_the_objective_on_policy(name: str) -> None:
    objective = usual_objectives()[name]
    batch = random_batch(5)
    _, size, _ = look(objective, (batch, batch))
    leaf = batch.old_logprobs.clone().requires_grad_()
    (slope,) = torch.autograd.grad(objective(replace(batch, logprobs=leaf)).loss, leaf)
    assert torch.allclose(size / size.sum(), slope.abs() / slope.abs().sum(), atol=1e-15)


def test_grpo_by_hand() -> None:
    up, far = np.log(1.1), np.log(1.3)
    rows = [response([up, far, -far], 1.0), response([far, -far], -3.0), response([far], 0.0)]
    # of 1/3 a token the second; of 3/2 a token the second, whose ratio is below .8; nothing
    found = shares(make_objective("grpo"), rows)
    assert found["gradient_dropped"] == pytest.approx((1 / 3 + 3 / 2) / (1 + 3))
    assert found["clip_fraction"] == pytest.approx(2 / 6)
    tokens = shares(make_objective("dapo", clip_high=0.2), rows)
    assert tokens["gradient_dropped"] == pytest.approx((1 + 3) / (3 + 6))


def test_gspo_drops_whole_responses() -> None:
    rows = [response([0.1, -0.0985], 1.0), response([0.1, -0.09985], 2.0), response([-1.0], 0.5)]
    found = shares(make_objective("gspo"), rows)  # means 7.5e-4, 7.5e-5, -1
    assert found["gradient_dropped"] == pytest.approx(1 / 3.5)
    assert found["clip_fraction"] == pytest.approx(2 / 5)


def test_token_clipped_and_kpo_differ_by_the_filter() -> None:
    z = [5e-4] * 40
    rows = [response(z, 1.0), response([-one for one in z], -1.0)]
    assert shares(make_objective("token_clipped"), rows)["gradient_dropped"] == 1
    assert shares(make_objective("kpo", q=1e-6), rows)["gradient_dropped"] == 0
    gains, x, expected = 0.0, 0.0, 0
    for one in z:
        gains = (gains + 1e-2) / (gains + 1e-2 + 1)
        x += gains * (one - x)
        expected += np.exp(x) > 1 + 4e-4
    found = shares(make_objective("kpo", q=1e-2), [rows[0]])["gradient_dropped"]
    assert 0 < found < 1
    assert found == pytest.approx(expected / 40)


def test_cispo_bounds_weights_and_drops_nothing() -> None:
    rows = [response([3.0, -3.0, 0.0], 1.0), response([2.0], -1.0)]
    found = shares(make_objective("cispo"), rows)
    assert found == {"clip_fraction": 2 / 4, "gradient_dropped": 0.0}


def test_each_objective_gets_its_kind_of_advantage() -> None:
    far = np.log(1.5)
    rows = [response([far], 1.0, centred=0.25), response([0.0], 1.0, centred=0.75)]
    for name, expected in (("grpo", 1 / 2), ("dr_grpo", 1 / 4)):
        objective = usual_objectives()[name]
        assert divides_by_std(objective) == (name == "grpo")
        assert shares(objective, rows)["gradient_dropped"] == pytest.approx(expected)


def test_portions_add_up_and_nothing_has_no_shares() -> None:
    rows = [response([0.3, 0.0], 1.0), response([0.0], -1.0), response([0.5] * 7, 0.1)]
    objective = make_objective("grpo")
    effect = Effect()
    assert np.isnan(list(effect.summary().values())).all()
    for one in rows:
        effect.add(objective, padded([one]))
    assert effect.summary() == pytest.approx(shares(objective, rows))


def test_padding_holds_no_response() -> None:
    batch, _ = padded([response([0.1], 1.0), response([0.2, 0.3], 2.0)])
    assert isinstance(batch, TokenBatch)
    assert batch.mask.tolist() == [[True, False], [True, True]]
    assert batch.advantages.tolist() == [1.0, 2.0]


def test_without_an_advantage_there_is_nothing_to_drop() -> None:
    rows = [response([3.0, 0.0], 0.0), response([3.0, 0.0], 1.0)]
    _, size, gone = look(make_objective("grpo"), padded(rows))
    assert size.tolist() == [[0.0, 0.0], [0.5, 0.5]]
    assert gone.tolist() == [[False, False], [True, False]]
