"""DAPO's loss: GRPO's terms, another upper bound, and a mean in which every token counts alike."""

import math

import pytest
import torch

from kpo.registry import make_objective
from tests.kpo.cases import loss_and_gradient, one_response, random_batch


@pytest.mark.parametrize(
    ("ratio", "A", "slope"), [(1.27, 1.0, 1.27), (1.29, 1.0, 0.0), (0.79, -1.0, 0.0)]
)
def test_its_bounds(ratio: float, A: float, slope: float) -> None:
    _, gradient = loss_and_gradient(make_objective("dapo"), one_response([math.log(ratio)], A))
    assert float(gradient) == pytest.approx(-A * slope)


def test_a_token_of_a_long_response_counts_as_much_as_one_of_a_short_one() -> None:
    batch = random_batch(seed=0)
    batch = type(batch)(batch.old_logprobs, batch.old_logprobs, batch.advantages, batch.mask)
    output, gradient = loss_and_gradient(make_objective("dapo"), batch)
    assert int(output.count) == int(batch.mask.sum())
    wanted = -(batch.advantages[:, None] * batch.mask)
    torch.testing.assert_close(gradient, wanted, rtol=1e-12, atol=0)
