"""GRPO's clipped surrogate, by hand on one token."""

import math

import pytest

from kpo.registry import make_objective
from tests.kpo.cases import loss_and_gradient, one_response

CASES = [  # ratio, advantage, objective, its gradient with respect to log pi
    (1.1, 1.0, 1.1, 1.1),
    (1.5, 1.0, 1.2, 0.0),
    (0.5, 1.0, 0.5, 0.5),
    (1.5, -1.0, -1.5, -1.5),
    (0.9, -1.0, -0.9, -0.9),
    (0.5, -1.0, -0.8, 0.0),
    (1.21, 2.0, 2.4, 0.0),
    (1.19, 2.0, 2.38, 2.38),
    (9.0, 0.0, 0.0, 0.0),
]


@pytest.mark.parametrize(("ratio", "A", "value", "slope"), CASES)
def test_one_token(ratio: float, A: float, value: float, slope: float) -> None:
    output, gradient = loss_and_gradient(make_objective("grpo"), one_response([math.log(ratio)], A))
    assert float(output.loss) == pytest.approx(-value, rel=1e-12)
    assert float(gradient) == pytest.approx(-slope, rel=1e-12)
    assert float(output.log_ratio) == pytest.approx(math.log(ratio))


@pytest.mark.parametrize(("A", "bound"), [(1.0, 1.5), (-1.0, 0.9)])
def test_each_side_has_its_own_clip(A: float, bound: float) -> None:
    objective = make_objective("grpo", clip_low=0.1, clip_high=0.5)
    output, gradient = loss_and_gradient(objective, one_response([9 * A], A))
    assert float(output.loss) == pytest.approx(-A * bound, rel=1e-12)
    assert float(gradient) == 0


def test_tokens_are_clipped_one_by_one() -> None:
    _, gradient = loss_and_gradient(
        make_objective("grpo"), one_response([0.0, 1.0, -1.0, 0.1], 1.0)
    )
    weights = [1.0, 0.0, math.exp(-1), math.exp(0.1)]
    assert gradient[0].tolist() == pytest.approx([-weight / 4 for weight in weights])
