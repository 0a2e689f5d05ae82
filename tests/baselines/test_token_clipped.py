"""The control: GRPO with KPO's clip, nothing else."""

import math

import pytest
import torch

from kpo.registry import make_objective
from tests.kpo.cases import loss_and_gradient, one_response, random_batch

CASES = [  # ratio - 1, advantage, objective - advantage, whether a gradient is left
    (3e-4, 1.0, 3e-4, True),
    (5e-4, 1.0, 4e-4, False),
    (-5e-4, 1.0, -5e-4, True),
    (-2e-4, -1.0, 2e-4, True),
    (-5e-4, -1.0, 3e-4, False),
    (5e-4, -1.0, -5e-4, True),
]


@pytest.mark.parametrize(("excess", "A", "gain", "kept"), CASES)
def test_one_token(excess: float, A: float, gain: float, kept: bool) -> None:
    batch = one_response([math.log1p(excess)], A)
    output, gradient = loss_and_gradient(make_objective("token_clipped"), batch)
    assert float(output.loss) == pytest.approx(-(A + gain), rel=1e-12)
    assert float(gradient) == pytest.approx(-A * (1 + excess) if kept else 0.0, rel=1e-12)


@pytest.mark.parametrize("clips", [(3e-4, 4e-4), (0.2, 0.2), (0.05, 0.6)])
def test_it_is_grpo_with_another_clip(clips: tuple[float, float]) -> None:
    batch = random_batch(seed=0)
    settings = {"clip_low": clips[0], "clip_high": clips[1]}
    control, gradient = loss_and_gradient(make_objective("token_clipped", **settings), batch)
    grpo, grpo_gradient = loss_and_gradient(make_objective("grpo", **settings), batch)
    assert torch.equal(control.loss, grpo.loss)
    assert torch.equal(gradient, grpo_gradient)
    assert torch.equal(control.log_ratio, grpo.log_ratio)
