"""VESPO: a window on the product of ratios."""

import math

import pytest
import torch

from kpo.registry import make_objective
from tests.kpo.cases import loss_and_gradient, one_response


@pytest.mark.parametrize(("A", "k", "rate"), [(1.0, 2, 3), (-1.0, 3, 2)])
@pytest.mark.parametrize("z", [[0.3, -0.1, 0.2], [0.0, 0.0], [-2.0, 0.5], [1.5]])
def test_all_tokens_have_the_windows_weight(z: list[float], A: float, k: int, rate: int) -> None:
    output, gradient = loss_and_gradient(make_objective("vespo"), one_response(z, A))
    W = math.prod(map(math.exp, z))
    phi = W**k * math.exp(rate * (1 - W))
    assert gradient[0].tolist() == pytest.approx([-A * phi] * len(z), rel=1e-10)
    assert float(output.loss) == pytest.approx(-A * phi * sum(z), rel=1e-10, abs=1e-15)
    assert output.log_ratio[0].exp().tolist() == pytest.approx([phi] * len(z), rel=1e-10)


@pytest.mark.parametrize("A", [1.0, -1.0])
def test_the_window_shuts_on_both_sides(A: float) -> None:
    """It opens widest at W = k / l."""
    peak = math.log(2 / 3 if A > 0 else 3 / 2)
    slopes = [
        abs(float(loss_and_gradient(make_objective("vespo"), one_response([z], A))[1]))
        for z in (-60.0, peak - 0.3, peak, peak + 0.3, 60.0)
    ]
    assert slopes.index(max(slopes)) == 2
    assert max(slopes[0], slopes[4]) < 1e-30


def test_responses_far_away_stay_finite() -> None:
    for z in (500.0, -500.0):
        batch = one_response([z] * 50, 1.0, torch.float32)
        output, gradient = loss_and_gradient(make_objective("vespo"), batch)
        assert bool(gradient.isfinite().all())
        assert bool(output.loss.isfinite())
