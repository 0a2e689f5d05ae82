"""What holds for every objective, each against the oracle; then what is KPO's own."""

import math
from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor

from kpo.kalman import kalman_filter
from kpo.objective import ObjectiveOutput, TokenBatch, mean_over, token_log_ratio
from kpo.registry import make_objective
from tests.kpo.cases import (
    BY_LOGPROB,
    IDS,
    METHODS,
    SOFT,
    Method,
    as_array,
    loss_and_gradient,
    one_response,
    random_batch,
    rows_of,
)

every_method = pytest.mark.parametrize("method", METHODS, ids=IDS)
GARBAGE = [math.nan, math.inf, -math.inf]


def assert_close(found: Tensor, reference: Tensor, tolerance: float) -> None:
    """Within the tolerance times the largest reference entry."""
    if reference.numel():
        scale = float(reference.abs().max())
        torch.testing.assert_close(found, reference, rtol=0, atol=tolerance * scale)


def check(method: Method, batch: TokenBatch, tolerance: float = 1e-10) -> None:
    """Loss, count, gradient and log-ratio are the oracle's."""
    oracle = method.expected(batch)
    output, gradient = loss_and_gradient(method.build(), batch)
    terms = max(1.0, float(np.abs(oracle.gradient).sum()))
    assert output.loss.shape == ()
    assert float(output.loss) == pytest.approx(oracle.loss, rel=tolerance, abs=tolerance * terms)
    assert int(output.count) == oracle.units
    assert_close(gradient.double(), torch.tensor(oracle.gradient), tolerance)
    live = (batch.advantages != 0)[:, None].expand_as(batch.mask)  # at A = 0 no side is worse
    log_ratio = output.log_ratio.double()
    assert_close(log_ratio[live], torch.tensor(oracle.log_ratio)[live], tolerance)
    assert not output.log_ratio.requires_grad
    assert bool((output.log_ratio[~batch.mask] == 0).all())


def with_garbage(batch: TokenBatch, garbage: float) -> TokenBatch:
    """The masked positions of both log-probabilities overwritten."""
    return replace(
        batch,
        logprobs=batch.logprobs.masked_fill(~batch.mask, garbage),
        old_logprobs=batch.old_logprobs.masked_fill(~batch.mask, -garbage),
    )


def padded(batch: TokenBatch, columns: int, garbage: float) -> TokenBatch:
    def pad(tensor: Tensor, value: float) -> Tensor:
        return torch.nn.functional.pad(tensor, (0, columns), value=value)

    return TokenBatch(
        logprobs=pad(batch.logprobs, garbage),
        old_logprobs=pad(batch.old_logprobs, garbage),
        advantages=batch.advantages,
        mask=pad(batch.mask, 0),
    )


def micro_batches(batch: TokenBatch, size: int) -> Iterator[tuple[Tensor, TokenBatch]]:
    """A shuffled split; every part is cut to its own longest response."""
    order = torch.tensor(np.random.default_rng(size).permutation(len(batch.mask)))
    for rows in torch.split(order, size):
        yield rows, rows_of(batch, rows)


# Against the oracle


@every_method
@pytest.mark.parametrize("seed", range(3))
def test_value_and_gradient(method: Method, seed: int) -> None:
    check(method, random_batch(seed))


@every_method
def test_value_and_gradient_in_float32(method: Method) -> None:
    check(method, random_batch(seed=7, dtype=torch.float32), tolerance=2e-6)


@every_method
def test_responses_of_one_token(method: Method) -> None:
    check(method, random_batch(seed=8, length=1))


@every_method
def test_long_responses(method: Method) -> None:
    check(method, random_batch(seed=9, length=300))


def drops(method: Method) -> bool:
    """Whether it has a clip that drops tokens, and a filter that is quick enough for it."""
    return method.name not in SOFT and method.label not in ("kpo-unclipped", "kpo-paper")


def test_the_cases_reach_both_sides_of_every_clip() -> None:
    for method in METHODS:
        if not drops(method):
            continue
        batch = random_batch(seed=0)
        passed = method.expected(batch).gradient != 0
        for A in (batch.advantages > 0, batch.advantages < 0):
            seen = passed[A.numpy()][batch.mask[A].numpy()]
            assert 0.05 < seen.mean() < 0.95, method.label


@every_method
@pytest.mark.parametrize("dtype", [torch.int64, torch.float32])
def test_a_mask_of_zeros_and_ones(method: Method, dtype: torch.dtype) -> None:
    batch = random_batch(seed=1)
    numbers = replace(batch, mask=batch.mask.to(dtype))
    for found, reference in zip(outcome(method, numbers), outcome(method, batch), strict=True):
        assert torch.equal(found, reference)


def outcome(method: Method, batch: TokenBatch) -> tuple[Tensor, Tensor, Tensor]:
    """Loss, log-ratio and gradient."""
    output, gradient = loss_and_gradient(method.build(), batch)
    return output.loss, output.log_ratio, gradient


@every_method
@pytest.mark.parametrize(("z", "A"), [(100.0, 1.0), (-80.0, 1.0), (-80.0, -1.0), (100.0, 0.0)])
def test_ratios_beyond_float32(method: Method, z: float, A: float) -> None:
    """exp(100) is inf in float32, but where the clip bounds the term nothing may show it."""
    batch = one_response([z] * 3, A, torch.float32)
    check(method, batch, tolerance=2e-5)


# Masks


@every_method
@pytest.mark.parametrize("garbage", GARBAGE)
def test_garbage_at_masked_tokens_does_not_leak(method: Method, garbage: float) -> None:
    batch = random_batch(seed=2)
    clean, dirty = outcome(method, batch), outcome(method, with_garbage(batch, garbage))
    for found, reference in zip(dirty, clean, strict=True):
        assert torch.equal(found, reference)
    for total, _ in method.build()(with_garbage(batch, garbage)).metrics.values():
        assert math.isfinite(float(total))


@every_method
def test_nothing_but_masked_responses(method: Method) -> None:
    batch = random_batch(seed=2)
    empty = replace(batch, mask=torch.zeros_like(batch.mask))
    output, gradient = loss_and_gradient(method.build(), with_garbage(empty, math.nan))
    assert float(output.loss) == 0
    assert int(output.count) == 0
    assert not gradient.any()


@every_method
@pytest.mark.parametrize("columns", [1, 40, 64])
def test_padding_changes_nothing(method: Method, columns: int) -> None:
    batch = random_batch(seed=4, length=50)
    loss, log_ratio, gradient = outcome(method, padded(batch, columns, math.nan))
    for found, reference in zip(
        (loss, log_ratio[:, :50], gradient[:, :50]), outcome(method, batch), strict=True
    ):
        assert_close(found, reference, 1e-12)
    assert not gradient[:, 50:].any()


@every_method
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("size", [1, 5, 53])
def test_micro_batches_sum_to_the_batch(method: Method, size: int, dtype: torch.dtype) -> None:
    batch = random_batch(seed=5, dtype=dtype)
    whole, gradient = loss_and_gradient(method.build(), batch)
    summed, loss, count = torch.zeros_like(gradient), 0.0, 0
    for rows, part in micro_batches(batch, size):
        output, part_gradient = loss_and_gradient(method.build(), part)
        summed[rows, : part_gradient.shape[1]] += part_gradient
        loss, count = loss + float(output.loss), count + int(output.count)
    assert_close(summed, gradient, 1e-6)
    assert loss == pytest.approx(float(whole.loss), rel=1e-6, abs=1e-5)
    assert count == int(whole.count)


# Metrics


def clip_fraction(output: ObjectiveOutput) -> float:
    total, count = output.metrics["clip_fraction"]
    return float(total) / float(count)


@pytest.mark.parametrize("method", [m for m in METHODS if m.name != "cispo"], ids=lambda m: m.label)
@pytest.mark.parametrize("sign", [-1.0, 1.0])
def test_clip_fraction(method: Method, sign: float) -> None:
    """None inside the clip, all beyond it on the side that the advantage makes worse."""
    objective = method.build()
    assert clip_fraction(objective(one_response([1e-6 * sign] * 9, sign))) == 0
    assert clip_fraction(objective(one_response([-3.0 * sign] * 9, sign))) == 0
    if drops(method):
        assert clip_fraction(objective(one_response([300.0 * sign] * 9, sign))) == 1


@every_method
def test_metrics_add_up_over_micro_batches(method: Method) -> None:
    batch = random_batch(seed=6)
    totals: dict[str, list[float]] = {}
    for _, part in micro_batches(batch, 7):
        for name, pair in method.build()(part).metrics.items():
            sums = totals.setdefault(name, [0.0, 0.0])
            sums[:] = [a + float(b) for a, b in zip(sums, pair, strict=True)]
    for name, pair in method.build()(batch).metrics.items():
        assert [float(value) for value in pair] == pytest.approx(totals[name], rel=1e-9), name


# One policy: no method differs from another


@every_method
def test_on_policy_gradient_is_the_policy_gradient(method: Method) -> None:
    batch = random_batch(seed=10)
    batch = replace(batch, logprobs=batch.old_logprobs)
    output, gradient = loss_and_gradient(method.build(), batch)
    tokens = batch.mask.sum(1, keepdim=True).clamp(min=1)
    weights = batch.mask.double() / (tokens if mean_over(method.build()) == "responses" else 1)
    assert_close(gradient, -batch.advantages[:, None] * weights, 1e-12)
    values = batch.logprobs if method.name in BY_LOGPROB else torch.ones_like(weights)
    if method.name == "sapo":  # 4 / tau sigmoid(0)
        A = batch.advantages[:, None]
        taus = [method.settings.get(f"tau_{side}") for side in ("positive", "negative")]
        tau = A.new_tensor(taus[0] or 1.0).where(A > 0, taus[1] or 1.05)
        values = values * 2 / tau
    wanted = -(values * weights * batch.advantages[:, None]).sum()
    assert float(output.loss) == pytest.approx(float(wanted), rel=1e-10)


# KPO


def test_kpo_weights_tokens_by_the_filtered_ratio() -> None:
    batch = random_batch(seed=11)
    z = batch.logprobs - batch.old_logprobs
    objective = make_objective("kpo", q=1e-3, clip_low=None, clip_high=None)
    output, gradient = loss_and_gradient(objective, batch)
    x = kalman_filter(z, batch.mask, q=1e-3)
    assert torch.equal(output.log_ratio, x)
    tokens = batch.mask.sum(1, keepdim=True).clamp(min=1)
    assert_close(gradient, -batch.advantages[:, None] * x.exp() / tokens * batch.mask, 1e-12)


def test_kpo_lets_no_gradient_through_the_filter() -> None:
    """Only the last of 20 tokens is not clipped: had the filter a gradient, all would get some."""
    batch = one_response([3.0] * 19 + [-30.0], 1.0)
    output, gradient = loss_and_gradient(make_objective("kpo", q=1e-2), batch)
    assert gradient[0, :19].tolist() == [0.0] * 19
    x = float(output.log_ratio[0, 19])
    assert -3 < x < 0
    assert float(gradient[0, 19]) == pytest.approx(-math.exp(x) / 20)


def test_kpo_with_memory_is_kpo_with_the_q_of_that_memory() -> None:
    batch = random_batch(seed=12)
    by_memory = loss_and_gradient(make_objective("kpo", memory=12.0), batch)[1]
    by_q = loss_and_gradient(make_objective("kpo", q=1 / (12 * 11)), batch)[1]
    assert_close(by_memory, by_q, 1e-12)


def test_kpo_without_smoothing_is_token_clipped() -> None:
    batch = random_batch(seed=13)
    for clips in ({}, {"clip_low": 0.2, "clip_high": 0.3}):
        kpo, kpo_gradient = loss_and_gradient(make_objective("kpo", q=1e12, **clips), batch)
        raw, raw_gradient = loss_and_gradient(make_objective("token_clipped", **clips), batch)
        assert_close(kpo_gradient, raw_gradient, 1e-10)
        assert_close(kpo.loss, raw.loss, 1e-10)
        assert_close(kpo.log_ratio, raw.log_ratio, 1e-10)


def test_kpo_can_keep_a_token_whose_own_ratio_is_far_outside_the_clip() -> None:
    """What the filter is for: one noisy token after many quiet ones moves x by K_t z_t only."""
    batch = one_response([0.0] * 99 + [0.3], 1.0)
    kpo = loss_and_gradient(make_objective("kpo", q=1e-6), batch)[1]
    raw = loss_and_gradient(make_objective("token_clipped"), batch)[1]
    assert float(kpo[0, -1]) != 0
    assert float(raw[0, -1]) == 0


def test_log_ratio_is_what_the_first_token_was_filtered_to() -> None:
    output = make_objective("kpo", q=0.25)(one_response([1.0, 0.0], 1.0))
    K_1, K_2 = 0.2, 0.45 / 1.45
    assert as_array(output.log_ratio)[0] == pytest.approx([K_1, K_1 * (1 - K_2)], rel=1e-12)


def test_a_masked_token_has_a_log_ratio_of_zero() -> None:
    batch = random_batch(seed=16)
    z = token_log_ratio(batch)
    assert not bool(z[~batch.mask].any())
    assert torch.equal(z[batch.mask], (batch.logprobs - batch.old_logprobs)[batch.mask])
