"""SAPO: the gate's gradient through autograd, and its temperatures."""

import pytest
import torch

from kpo.registry import make_objective
from tests.kpo.cases import loss_and_gradient, one_response, random_batch


@pytest.mark.parametrize(("positive", "negative"), [(1.0, 1.05), (4.0, 0.5)])
def test_it_is_the_gradient_of_its_formula(positive: float, negative: float) -> None:
    batch = random_batch(seed=0)
    leaf = batch.logprobs.detach().clone().requires_grad_()
    A = batch.advantages[:, None]
    tau = torch.where(A > 0, A.new_tensor(positive), A.new_tensor(negative))
    gate = 4 / tau * torch.sigmoid(tau * ((leaf - batch.old_logprobs).exp() - 1)) * A
    each = (gate * batch.mask).sum(1) / batch.mask.sum(1).clamp(min=1)
    (wanted,) = torch.autograd.grad(-each.sum(), leaf)
    objective = make_objective("sapo", tau_positive=positive, tau_negative=negative)
    found, gradient = loss_and_gradient(objective, batch)
    torch.testing.assert_close(found.loss, -each.sum().detach(), rtol=1e-10, atol=0)
    torch.testing.assert_close(gradient, wanted, rtol=1e-8, atol=1e-12)


def test_negative_advantages_have_the_sharper_gate() -> None:
    """At ratio 2 the slope is 8 u (1 - u), u = sigmoid(tau)."""
    for A, tau in ((1.0, 1.0), (-1.0, 1.05)):
        batch = one_response([float(torch.tensor(2.0, dtype=torch.float64).log())], A)
        _, gradient = loss_and_gradient(make_objective("sapo"), batch)
        u = float(torch.tensor(tau, dtype=torch.float64).sigmoid())
        assert float(gradient) == pytest.approx(-A * 8 * u * (1 - u), rel=1e-9)


@pytest.mark.parametrize("name", ["tau_positive", "tau_negative"])
def test_a_temperature_is_above_zero(name: str) -> None:
    with pytest.raises(ValueError, match=f"objective sapo: {name} is 0, but must be greater than"):
        make_objective("sapo", **{name: 0})
