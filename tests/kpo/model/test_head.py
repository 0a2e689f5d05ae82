"""Log-probs from the chunked LM head against the full logits."""

from unittest import mock

import pytest
import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode
from transformers import CohereConfig, Gemma2Config, GraniteConfig, LlamaConfig

from kpo.model import head
from kpo.model.head import PLAIN, LogitRule, chunks, token_logprobs, token_logprobs_and_entropies

M, H, V = 37, 8, 50
RULES = [
    PLAIN,
    LogitRule(scale=2.0),
    LogitRule(scale=0.3),
    LogitRule(cap=4.0),
    LogitRule(scale=1.7, cap=2.0),
]


def inputs(dtype: torch.dtype = torch.float64) -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    hidden = torch.randn(M, H, generator=generator, dtype=torch.float64)
    weight = torch.randn(V, H, generator=generator, dtype=torch.float64)
    targets = torch.randint(V, (M,), generator=generator)
    return hidden.to(dtype).requires_grad_(), weight.to(dtype).requires_grad_(), targets


def full(hidden: Tensor, weight: Tensor, rule: LogitRule) -> Tensor:
    """All logits."""
    logits = rule.scale * (hidden @ weight.t())
    return logits if rule.cap is None else rule.cap * (logits / rule.cap).tanh()


def plain(hidden: Tensor, weight: Tensor, targets: Tensor, rule: LogitRule = PLAIN) -> Tensor:
    return full(hidden, weight, rule).log_softmax(1).gather(1, targets[:, None]).squeeze(1)


@pytest.fixture(params=[1, V, 4 * V + 3, 1000 * V])
def chunk(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Chunks of one token, one, four and all."""
    monkeypatch.setattr("kpo.model.head.CHUNK_LOGITS", request.param)


@pytest.mark.parametrize("rule", RULES, ids=str)
@pytest.mark.usefixtures("chunk")
def test_values_and_gradients_are_those_of_the_full_logits(rule: LogitRule) -> None:
    hidden, weight, targets = inputs()
    g = torch.linspace(-1, 2, M, dtype=torch.float64)
    found = token_logprobs(hidden, weight, targets, rule)
    expected = plain(hidden, weight, targets, rule)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-12)
    for a, b in zip(
        torch.autograd.grad(found @ g, (hidden, weight)),
        torch.autograd.grad(expected @ g, (hidden, weight)),
        strict=True,
    ):
        torch.testing.assert_close(a, b, rtol=0, atol=1e-12)


@pytest.mark.parametrize("rule", RULES, ids=str)
def test_the_gradient_is_right_by_finite_differences(rule: LogitRule) -> None:
    hidden, weight, targets = inputs()
    assert torch.autograd.gradcheck(
        lambda h, w: token_logprobs(h, w, targets[:5], rule), (hidden[:5], weight)
    )


@pytest.mark.parametrize("rule", RULES, ids=str)
@pytest.mark.usefixtures("chunk")
def test_entropies_are_those_of_the_full_logits(rule: LogitRule) -> None:
    hidden, weight, targets = inputs()
    logprobs, entropies = token_logprobs_and_entropies(hidden, weight, targets, rule)
    assert not (logprobs.requires_grad or entropies.requires_grad)
    expected = plain(hidden, weight, targets, rule)
    torch.testing.assert_close(logprobs, expected, rtol=0, atol=1e-12)
    expected = torch.distributions.Categorical(logits=full(hidden, weight, rule)).entropy()
    torch.testing.assert_close(entropies, expected, rtol=0, atol=1e-12)


@pytest.mark.usefixtures("chunk")
def test_half_precision_gives_float32_and_gradients_in_half() -> None:
    hidden, weight, targets = inputs(torch.bfloat16)
    found = token_logprobs(hidden, weight, targets)
    assert found.dtype == torch.float32
    torch.testing.assert_close(
        found, plain(hidden.double(), weight.double(), targets).float(), rtol=0, atol=0.1
    )
    gradients = torch.autograd.grad(found.sum(), (hidden, weight))
    wide = [part.detach().double().requires_grad_() for part in (hidden, weight)]
    wanted = torch.autograd.grad(plain(wide[0], wide[1], targets).sum(), wide)
    for gradient, exact in zip(gradients, wanted, strict=True):
        assert gradient.dtype == torch.bfloat16
        assert float((gradient.double() - exact).norm()) < 0.02 * float(exact.norm())


def test_the_rule_is_the_configurations() -> None:
    assert LogitRule.of(LlamaConfig()) == PLAIN
    assert LogitRule.of(GraniteConfig(logits_scaling=8.0)) == LogitRule(scale=1 / 8)
    assert LogitRule.of(CohereConfig(logit_scale=0.25)) == LogitRule(scale=0.25)
    assert LogitRule.of(Gemma2Config(final_logit_softcapping=30.0)) == LogitRule(cap=30.0)


def test_no_chunk_is_larger_than_allowed() -> None:
    parts = chunks(1000, 1 << 18)
    assert [part.stop - part.start for part in parts] == [256] * 4
    assert parts[-1].stop >= 1000
    assert chunks(3, 1 << 30) == [slice(0, 1), slice(1, 2), slice(2, 3)]


@pytest.mark.usefixtures("chunk")
def test_sums_of_half_precision_products_are_not_rounded_to_half() -> None:
    hidden, weight, targets = inputs(torch.bfloat16)
    expected = plain(hidden.double(), weight.double(), targets).float()
    for found in (
        token_logprobs(hidden, weight, targets),
        token_logprobs_and_entropies(hidden, weight, targets)[0],
    ):
        torch.testing.assert_close(found, expected, rtol=0, atol=1e-5)


def test_elsewhere_than_on_the_cpu_the_product_itself_is_wide() -> None:
    hidden, weight, targets = (tensor.to("meta") for tensor in inputs(torch.bfloat16))
    logprobs, entropies = token_logprobs_and_entropies(hidden, weight, targets)
    assert logprobs.dtype == entropies.dtype == torch.float32


def test_logits_of_500_overflow_nowhere() -> None:
    hidden, weight, targets = inputs(torch.float32)
    far = hidden.detach() * (500 / float((hidden @ weight.t()).detach().abs().max()))
    expected = plain(far.double(), weight.double(), targets)
    entropies = torch.distributions.Categorical(logits=full(far.double(), weight.double(), PLAIN))
    found, entropy = token_logprobs_and_entropies(far, weight, targets)
    for logprobs in (found, token_logprobs(far, weight, targets)):
        torch.testing.assert_close(logprobs.double(), expected, rtol=1e-5, atol=1e-3)
    torch.testing.assert_close(entropy.double(), entropies.entropy(), rtol=1e-3, atol=1e-3)


def test_gradients_of_many_chunks_are_summed_in_float32(monkeypatch: pytest.MonkeyPatch) -> None:
    """In bfloat16 a sum of equal parts would stand still at 256 of them."""
    monkeypatch.setattr(head, "CHUNK_LOGITS", V)  # a token at a time
    hidden, weight, targets = inputs(torch.bfloat16)
    one = torch.autograd.grad(token_logprobs(hidden[:1], weight, targets[:1]).sum(), weight)[0]
    many = token_logprobs(hidden[:1].expand(2000, H), weight, targets[:1].expand(2000))
    gradient = torch.autograd.grad(many.sum(), weight)[0]
    torch.testing.assert_close(gradient.float(), 2000 * one.float(), rtol=0.01, atol=0)


def test_on_the_cpu_a_part_of_the_weight_is_widened_at_a_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(head, "CPU_ROWS", 7)
    hidden, weight, targets = inputs(torch.bfloat16)
    with FlopCounterMode(display=False) as counter:
        found = token_logprobs(hidden, weight, targets)
    assert counter.get_total_flops() == 2 * M * H * V  # each row of the weight once
    expected = plain(hidden.double(), weight.double(), targets).float()
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-5)


def test_elsewhere_the_product_goes_to_the_buffer_that_is_reused() -> None:
    hidden, weight, targets = (tensor.to("meta") for tensor in inputs(torch.bfloat16))
    with mock.patch("torch.mm", wraps=torch.mm) as product:
        token_logprobs_and_entropies(hidden, weight, targets)
    out = product.call_args.kwargs["out"]
    assert (out.dtype, out.shape) == (torch.float32, (M, V))
