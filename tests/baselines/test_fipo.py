"""FIPO: weights from what the policy did to the tokens that follow."""

import math

import pytest
import torch

from kpo.registry import make_objective
from tests.kpo.cases import loss_and_gradient, one_response

NEAR = {"half_life": 1.0, "clip_low": 0.9, "clip_high": 9.0}


def weights(z: list[float], A: float, **settings: float) -> list[float]:
    """What weighs each token beside its own ratio."""
    objective = make_objective("fipo", **{**NEAR, **settings})
    gradient = loss_and_gradient(objective, one_response(z, A))[1][0]
    return [-float(g) / A / math.exp(z_t) for g, z_t in zip(gradient, z, strict=True)]


def test_the_future_is_discounted_by_the_half_life() -> None:
    """F = 0.04 + 0.02 / 2 + 0.08 / 4, 0.02 + 0.08 / 2, 0.08."""
    found = weights([0.04, 0.02, 0.08], 1.0)
    assert found == pytest.approx([math.exp(F) for F in (0.07, 0.06, 0.08)], rel=1e-10)


@pytest.mark.parametrize(("z", "weight"), [(0.5, 1.2), (-0.5, 1.0)])
def test_weights_lie_between_one_and_the_reach(z: float, weight: float) -> None:
    assert weights([z, z], 1.0) == pytest.approx([weight] * 2)


def test_tokens_far_up_of_a_bad_response_are_weighed_down_only() -> None:
    high, low = math.log(5.0), math.log(3.0)
    assert weights([high], -1.0) == pytest.approx([1.0])
    assert weights([low], -1.0) == pytest.approx([1.2])
    assert weights([high, -2.0, -2.0], -1.0, half_life=99.0) == pytest.approx([0.8, 1.0, 1.0])
    assert weights([high], 1.0) == pytest.approx([1.2])


def test_a_half_life_of_nothing_leaves_a_tokens_own_ratio() -> None:
    """F_t -> z_t: the mirror of KPO without smoothing."""
    z = [0.05, -0.02, 0.1]
    found = weights(z, 1.0, half_life=0.1)
    assert found == pytest.approx([math.exp(max(0.0, z_t)) for z_t in z], abs=2e-4)


def test_its_clip_is_dapos() -> None:
    for ratio, A in ((1.3, 1.0), (0.7, -1.0)):
        batch = one_response([math.log(ratio)], A)
        assert not bool(torch.any(loss_and_gradient(make_objective("fipo"), batch)[1]))
