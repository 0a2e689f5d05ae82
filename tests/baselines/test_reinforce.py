"""REINFORCE: the ratio does not matter."""

import pytest
import torch

from kpo.registry import make_objective
from tests.kpo.cases import loss_and_gradient, one_response, random_batch


@pytest.mark.parametrize("z", [0.0, 3.0, -700.0])
def test_every_token_weighs_the_same(z: float) -> None:
    output, gradient = loss_and_gradient(make_objective("reinforce"), one_response([z, 0.0], -2.0))
    assert gradient[0].tolist() == [1.0, 1.0]
    assert float(output.loss) == z
    assert output.log_ratio[0].tolist() == [0.0, 0.0]
    assert int(output.metrics["clip_fraction"][0]) == 0


def test_it_is_the_limit_of_kpo_without_a_clip() -> None:
    batch = random_batch(seed=0)
    kpo = make_objective("kpo", q=1e-15, clip_low=None, clip_high=None)
    limit = loss_and_gradient(kpo, batch)[1]
    torch.testing.assert_close(
        limit, loss_and_gradient(make_objective("reinforce"), batch)[1], rtol=1e-8, atol=1e-12
    )
