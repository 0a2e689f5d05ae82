"""Dr. GRPO: a constant length, and advantages that are not divided."""

import math

import pytest
import torch

from kpo.objective import denominator, divides_by_std
from kpo.registry import make_objective
from tests.kpo.cases import loss_and_gradient, one_response, random_batch


@pytest.mark.parametrize("tokens", [1, 7])
def test_a_response_counts_as_the_constant_length(tokens: int) -> None:
    objective = make_objective("dr_grpo", length=50)
    output, gradient = loss_and_gradient(objective, one_response([0.1] * tokens, 2.0))
    assert float(output.loss / output.count) == pytest.approx(-2 * tokens * math.exp(0.1) / 50)
    assert gradient[0].tolist() == pytest.approx([-2 * math.exp(0.1)] * tokens)
    assert denominator(objective, [tokens, 3, 0]) == 100


def test_its_terms_are_grpos() -> None:
    batch = random_batch(seed=0)
    found, gradient = loss_and_gradient(make_objective("dr_grpo", length=9), batch)
    grpo, grpo_gradient = loss_and_gradient(make_objective("grpo"), batch)
    tokens = batch.mask.sum(1, keepdim=True)
    torch.testing.assert_close(gradient, grpo_gradient * tokens, rtol=1e-12, atol=0)
    assert torch.equal(found.log_ratio, grpo.log_ratio)


def test_it_asks_for_its_length_and_for_plain_advantages() -> None:
    with pytest.raises(ValueError, match=r"objective dr_grpo: .*'length'"):
        make_objective("dr_grpo")
    assert not divides_by_std(make_objective("dr_grpo", length=9))
    assert divides_by_std(make_objective("grpo"))
