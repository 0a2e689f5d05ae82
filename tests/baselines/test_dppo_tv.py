"""DPPO-TV: a trust region in probability, by hand."""

import math

import pytest
import torch

from kpo.objective import TokenBatch
from kpo.registry import make_objective
from tests.kpo.cases import loss_and_gradient

CASES = [  # p_old, p, A, weight
    (0.50, 0.64, 1.0, 1.28),
    (0.50, 0.66, 1.0, 0.0),  # further up than A > 0 may take it
    (0.50, 0.30, 1.0, 0.6),  # down is against the advantage
    (0.50, 0.30, -1.0, 0.0),
    (0.50, 0.36, -1.0, 0.72),
    (0.50, 0.90, -1.0, 1.8),
    (1e-4, 1e-3, 1.0, 10.0),  # a large ratio, little probability
    (1e-4, 1e-2, 1.0, 20.0),  # at most the cap
]


@pytest.mark.parametrize(("old", "new", "A", "weight"), CASES)
def test_one_token(old: float, new: float, A: float, weight: float) -> None:
    batch = TokenBatch(
        logprobs=torch.tensor([[math.log(new)]], dtype=torch.float64),
        old_logprobs=torch.tensor([[math.log(old)]], dtype=torch.float64),
        advantages=torch.tensor([A], dtype=torch.float64),
        mask=torch.ones(1, 1),
    )
    output, gradient = loss_and_gradient(make_objective("dppo_tv"), batch)
    assert float(gradient) == pytest.approx(-A * weight, rel=1e-9)
    assert float(output.loss) == pytest.approx(-A * weight * math.log(new), rel=1e-9)
    assert [int(part) for part in output.metrics["clip_fraction"]] == [weight == 0, 1]


def test_the_threshold_is_a_setting() -> None:
    with pytest.raises(ValueError, match=r"objective dppo_tv: threshold is 1\.5, but must be less"):
        make_objective("dppo_tv", threshold=1.5)
