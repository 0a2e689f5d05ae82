"""GSPO: its token form has the gradient of the sequence form."""

import math

import pytest
import torch
from torch import Tensor

from kpo.objective import TokenBatch
from kpo.registry import make_objective
from tests.kpo.cases import loss_and_gradient, one_response, random_batch


def sequence_form(batch: TokenBatch, low: float, high: float) -> tuple[Tensor, Tensor]:
    """Minus the sum of min(s A, clip(s) A), s = (prod of ratios)^(1/T), through autograd."""
    leaf = batch.logprobs.detach().clone().requires_grad_()
    loss = torch.zeros((), dtype=leaf.dtype)
    for new, old, A, seen in zip(
        leaf, batch.old_logprobs, batch.advantages, batch.mask, strict=True
    ):
        if bool(seen.any()):
            s = (new - old)[seen].mean().exp()
            loss = loss - torch.minimum(s * A, s.clamp(1 - low, 1 + high) * A)
    return loss, torch.autograd.grad(loss, leaf)[0]


@pytest.mark.parametrize(("low", "high"), [(3e-4, 4e-4), (0.2, 0.1), (0.9, 3.0)])
def test_token_form_has_the_gradient_of_the_sequence_form(low: float, high: float) -> None:
    batch = random_batch(seed=0)
    loss, gradient = sequence_form(batch, low, high)
    found, found_gradient = loss_and_gradient(
        make_objective("gspo", clip_low=low, clip_high=high), batch
    )
    torch.testing.assert_close(found.loss, loss, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(found_gradient, gradient, rtol=1e-12, atol=1e-15)


CASES = [  # mean log-ratio, advantage, whether the response is kept
    (3e-4, 1.0, True),
    (5e-4, 1.0, False),
    (-1.0, 1.0, True),
    (-2e-4, -1.0, True),
    (-4e-4, -1.0, False),
    (1.0, -1.0, True),
]


@pytest.mark.parametrize(("mean", "A", "kept"), CASES)
def test_a_response_is_kept_or_clipped_as_a_whole(mean: float, A: float, kept: bool) -> None:
    z = [mean + 2.0, mean - 3.0, mean + 1.0]  # every token is far outside on its own
    output, gradient = loss_and_gradient(make_objective("gspo"), one_response(z, A))
    each = -A * math.exp(mean) / 3 if kept else 0.0
    assert gradient[0].tolist() == pytest.approx([each] * 3, rel=1e-12)
    assert output.log_ratio[0].tolist() == pytest.approx([mean] * 3, rel=1e-9)
