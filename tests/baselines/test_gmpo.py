"""GMPO: the geometric mean of ratios that are clipped where clipping is pessimistic."""

import math

import pytest
import torch
from torch import Tensor

from kpo.objective import TokenBatch
from kpo.registry import make_objective
from tests.kpo.cases import loss_and_gradient, one_response, random_batch


def product_form(batch: TokenBatch, low: float, high: float) -> tuple[Tensor, Tensor]:
    """Minus the sum of A (prod of clipped ratios)^(1/T), through autograd.

    Pessimistic per token: A > 0 takes min(r, e^high), A < 0 takes max(r, e^-low).
    """
    leaf = batch.logprobs.detach().clone().requires_grad_()
    loss = torch.zeros((), dtype=leaf.dtype)
    for new, old, A, seen in zip(
        leaf, batch.old_logprobs, batch.advantages, batch.mask, strict=True
    ):
        if bool(seen.any()):
            r = (new - old)[seen].exp()
            r = r.clamp(max=math.exp(high)) if A > 0 else r.clamp(min=math.exp(-low))
            loss = loss - A * r.prod() ** (1 / len(r))
    return loss, torch.autograd.grad(loss, leaf)[0]


@pytest.mark.parametrize(("low", "high"), [(0.4, 0.4), (0.1, 0.7), (1.5, 2.0)])
def test_it_is_the_geometric_mean_of_clipped_ratios(low: float, high: float) -> None:
    batch = random_batch(seed=0)
    loss, gradient = product_form(batch, low, high)
    found, found_gradient = loss_and_gradient(
        make_objective("gmpo", clip_low=low, clip_high=high), batch
    )
    torch.testing.assert_close(found.loss, loss, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(found_gradient, gradient, rtol=1e-10, atol=1e-14)


CASES = [  # advantage, log-ratios, those log-ratios after the clip
    (1.0, [0.1, 0.9, -0.9], [0.1, 0.4, -0.9]),
    (-1.0, [0.1, 0.9, -0.9], [0.1, 0.9, -0.4]),
    (2.0, [0.39, 0.41, 5.0], [0.39, 0.4, 0.4]),
    (-2.0, [-0.39, -0.41, -5.0], [-0.39, -0.4, -0.4]),
]


@pytest.mark.parametrize(("A", "z", "clipped"), CASES)
def test_one_response(A: float, z: list[float], clipped: list[float]) -> None:
    output, gradient = loss_and_gradient(make_objective("gmpo"), one_response(z, A))
    mean = sum(clipped) / 3
    slopes = [
        A * math.exp(mean) / 3 if c == z_t else 0.0 for z_t, c in zip(z, clipped, strict=True)
    ]
    assert float(output.loss) == pytest.approx(-A * math.exp(mean), rel=1e-12)
    assert gradient[0].tolist() == pytest.approx([-slope for slope in slopes], rel=1e-12)
    assert output.log_ratio[0].tolist() == pytest.approx([mean] * 3, rel=1e-12)


def test_a_clipped_token_still_counts_in_the_length_and_the_weight() -> None:
    _, gradient = loss_and_gradient(make_objective("gmpo"), one_response([7.0, 0.0], 1.0))
    assert gradient[0].tolist() == pytest.approx([0.0, -math.exp(0.2) / 2], rel=1e-12)


@pytest.mark.parametrize(("z", "clipped"), [(0.9, 0), (-0.9, 1)])
def test_without_an_advantage_the_lower_bound_holds(z: float, clipped: int) -> None:
    output, gradient = loss_and_gradient(make_objective("gmpo"), one_response([z], 0.0))
    assert float(output.loss) == 0
    assert not bool(gradient.any())
    assert [int(part) for part in output.metrics["clip_fraction"]] == [clipped, 1]


@pytest.mark.parametrize("name", ["clip_low", "clip_high"])
def test_a_bound_that_cannot_be_is_refused_by_name(name: str) -> None:
    with pytest.raises(ValueError, match=f"objective gmpo: {name} is -0.1, "):
        make_objective("gmpo", **{name: -0.1})
