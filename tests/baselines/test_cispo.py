"""CISPO: weights are bounded, no token is dropped."""

import math

import pytest
import torch

from kpo.registry import make_objective
from tests.kpo.cases import loss_and_gradient, one_response, random_batch

CASES = [  # ratio, settings, weight
    (0.01, {}, 0.01),
    (4.9, {}, 4.9),
    (40.0, {}, 5.0),
    (0.01, {"weight_low": 0.8, "weight_high": 1.2}, 0.8),
    (3.0, {"weight_low": 0.8, "weight_high": 1.2}, 1.2),
]


@pytest.mark.parametrize("A", [1.5, -1.5])
@pytest.mark.parametrize(("ratio", "settings", "weight"), CASES)
def test_one_token(ratio: float, settings: dict[str, float], weight: float, A: float) -> None:
    batch = one_response([math.log(ratio)], A)
    output, gradient = loss_and_gradient(make_objective("cispo", **settings), batch)
    assert float(gradient) == pytest.approx(-weight * A, rel=1e-12)
    assert float(output.loss) == pytest.approx(-weight * A * math.log(ratio), rel=1e-12)
    bounded = weight != pytest.approx(ratio)
    assert [int(part) for part in output.metrics["clip_fraction"]] == [bounded, 1]


def test_it_is_the_gradient_of_its_formula() -> None:
    batch = random_batch(seed=1)
    leaf = batch.logprobs.detach().clone().requires_grad_()
    ratio = (leaf - batch.old_logprobs).exp().detach().clamp(0, 5)
    loss = -(ratio * batch.advantages[:, None] * leaf)[batch.mask].sum()
    (wanted,) = torch.autograd.grad(loss, leaf)
    found, gradient = loss_and_gradient(make_objective("cispo"), batch)
    torch.testing.assert_close(found.loss, loss.detach(), rtol=1e-12, atol=0)
    torch.testing.assert_close(gradient, wanted, rtol=1e-12, atol=0)


def test_bounds_in_the_wrong_order_are_refused() -> None:
    with pytest.raises(ValueError, match=r"cispo wants weight_low <= weight_high, got 2\.0 and 1"):
        make_objective("cispo", weight_low=2.0, weight_high=1.0)
