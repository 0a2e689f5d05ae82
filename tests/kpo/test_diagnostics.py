"""Ratio statistics: direction switches by hand, quantiles, and what the shuffle control says."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor

from kpo.diagnostics import LARGE, QUANTILES, RatioStatistics, direction_switches
from kpo.objective import Objective, ObjectiveOutput, TokenBatch
from kpo.registry import make_objective
from tests.kpo.cases import holey_mask

GRPO = make_objective("grpo")
KPO = make_objective("kpo", memory=12.0, clip_low=None, clip_high=None)


def batch_of(z: Tensor, mask: Tensor | None = None) -> TokenBatch:
    old = -1 - torch.rand(z.shape, generator=torch.Generator().manual_seed(0), dtype=z.dtype)
    mask = torch.ones_like(z, dtype=torch.bool) if mask is None else mask
    return TokenBatch(old + z, old, torch.ones(len(z), dtype=z.dtype), mask)


def summary(objective: Objective, *batches: TokenBatch, seed: int = 0) -> dict[str, float]:
    statistics = RatioStatistics(seed)
    for batch in batches:
        statistics.add(batch, objective(batch).log_ratio, objective)
    return statistics.summary()


def noise(rows: int, length: int, scale: float = 0.01) -> Tensor:
    generator = torch.Generator().manual_seed(0)
    return scale * torch.randn(rows, length, generator=generator, dtype=torch.float64)


# Direction switches


@pytest.mark.parametrize(
    ("values", "mask", "threshold", "switched", "pairs"),
    [
        ([1, -1, 1, 1, -1], "11111", 0, 3, 4),
        ([1, 2, 3], "111", 0, 0, 2),
        ([1, 0, -1], "111", 0, 0, 0),  # a ratio of 1 has no direction
        ([1, -1, 1, -1], "1101", 0, 1, 1),  # only true neighbours
        ([1, -1], "00", 0, 0, 0),
        ([1], "1", 0, 0, 0),
        ([2, -2, 0.5, -2, 2], "11111", 1, 2, 2),
        ([2, -1], "11", 1, 0, 0),  # both have to exceed it
    ],
)
def test_switches_by_hand(
    values: list[float], mask: str, threshold: float, switched: int, pairs: int
) -> None:
    real = torch.tensor([[bit == "1" for bit in mask]])
    found = direction_switches(torch.tensor([values]), real, threshold)
    assert found.tolist() == [switched, pairs]


def test_rows_do_not_touch_each_other() -> None:
    values, mask = torch.tensor([[1.0, 1.0], [-1.0, -1.0]]), torch.ones(2, 2, dtype=torch.bool)
    assert direction_switches(values, mask).tolist() == [0, 2]


def test_the_threshold_keeps_rounding_out() -> None:
    z = torch.tensor([[1.0, 1e-5, -1e-5, 1e-5, -1.0, -1.0, 1.0]], dtype=torch.float64)
    found = summary(GRPO, batch_of(z))
    assert LARGE == 1e-4
    assert found["switch_raw"] == pytest.approx(4 / 6)
    assert found["switch_large_raw"] == pytest.approx(1 / 2)


# Summaries


@pytest.fixture
def ragged() -> TokenBatch:
    mask = torch.tensor(holey_mask(np.random.default_rng(0), 8, 30))
    return batch_of(noise(8, 30, 0.3), mask)


def test_the_effective_sample_size_is_that_of_the_weights(ragged: TokenBatch) -> None:
    found = summary(GRPO, ragged)
    z = (ragged.logprobs - ragged.old_logprobs)[ragged.mask.bool()].detach().double()
    w = (z.exp() / z.exp().sum()).tolist()
    assert found["ess_raw"] == found["ess_used"] == pytest.approx(1 / sum(x**2 for x in w) / len(w))
    far = torch.zeros(1, 100, dtype=torch.float64)
    far[0, 7] = 800.0  # whose exponential is beyond float64: one token has all the weight
    assert summary(GRPO, batch_of(far))["ess_raw"] == pytest.approx(0.01)
    assert summary(GRPO, batch_of(0 * far))["ess_raw"] == 1


def test_quantiles_are_of_all_unmasked_tokens(ragged: TokenBatch) -> None:
    found = summary(KPO, ragged)
    z = (ragged.logprobs - ragged.old_logprobs)[ragged.mask].numpy()
    x = KPO(ragged).log_ratio[ragged.mask].numpy()
    for name, values in (("raw", z), ("used", x)):
        for level in QUANTILES:
            key = f"ratio_{name}_q{round(100 * level):02d}"
            assert found[key] == pytest.approx(float(np.exp(np.quantile(values, level))), 1e-9)


def test_the_kl_estimate_by_hand() -> None:
    z = torch.tensor([[0.5, -0.5, 0.0]], dtype=torch.float64)
    expected = (math.exp(0.5) - 1.5 + math.exp(-0.5) - 0.5) / 3
    assert summary(GRPO, batch_of(z))["kl_old"] == pytest.approx(expected)


@pytest.mark.parametrize("scale", [0.0, 1e-6, 0.1, 3.0])
@pytest.mark.parametrize("shift", [-1.0, 0.0, 1.0])
def test_the_kl_estimate_is_not_negative(scale: float, shift: float) -> None:
    found = summary(GRPO, batch_of(noise(4, 40) * 100 * scale + shift * scale))["kl_old"]
    assert found >= 0
    assert (found == 0) == (scale == 0)


def test_the_kl_estimate_is_one() -> None:
    """For y ~ pi_old, the mean of exp(z) - 1 - z is KL(pi_old || pi), here of two coins."""
    old, new, flips = 0.3, 0.5, 200_000
    heads = torch.rand(1, flips, generator=torch.Generator().manual_seed(0)) < old
    z = torch.where(heads, math.log(new / old), math.log((1 - new) / (1 - old))).double()
    expected = old * math.log(old / new) + (1 - old) * math.log((1 - old) / (1 - new))
    assert summary(GRPO, batch_of(z))["kl_old"] == pytest.approx(expected, rel=0.02)


def test_micro_batches_add_up(ragged: TokenBatch) -> None:
    parts = [
        replace(
            ragged,
            **{
                name: getattr(ragged, name)[rows]
                for name in ("logprobs", "old_logprobs", "advantages", "mask")
            },
        )
        for rows in (slice(0, 3), slice(3, 8))
    ]
    whole, summed = summary(KPO, ragged), summary(KPO, *parts)
    for key, value in whole.items():
        if key != "switch_shuffled_used":  # another order of tokens
            assert summed[key] == pytest.approx(value, rel=1e-12), key


def test_halves_of_two_ranks_merge_into_the_whole(ragged: TokenBatch) -> None:
    """Every statistic, each of another value in the halves."""
    other = batch_of(0.3 * noise(5, 23, scale=1.0).flip(0) - 0.1)
    halves = []
    for batch in (ragged, other):
        half = RatioStatistics(3)
        half.add(batch, KPO(batch).log_ratio, KPO)
        halves.append(half)
    alone = [half.summary() for half in halves]
    first, second = halves
    first.merge(second)
    whole = summary(KPO, ragged, other, seed=3)
    assert first.summary() == pytest.approx(whole, rel=1e-12)
    for one in alone:
        assert all(one[name] != whole[name] for name in whole)


def test_raw_and_used_are_the_same_where_nothing_is_filtered(ragged: TokenBatch) -> None:
    found = summary(GRPO, ragged)
    for key, value in found.items():
        if "raw" in key:
            assert found[key.replace("raw", "used")] == pytest.approx(value)


# The shuffle control


def test_on_tokens_without_order_the_control_equals_the_filter() -> None:
    found = summary(KPO, batch_of(noise(200, 200)))
    assert found["switch_raw"] == pytest.approx(0.5, abs=0.01)
    assert found["switch_used"] < 0.2
    assert found["switch_shuffled_used"] == pytest.approx(found["switch_used"], abs=0.01)


def test_on_tokens_in_an_order_the_control_differs() -> None:
    """Signs in blocks of 50: they survive the filter, but not the shuffling before it."""
    blocks = torch.tensor([1.0, -1.0, 1.0, -1.0], dtype=torch.float64).repeat_interleave(50)
    found = summary(KPO, batch_of(noise(100, 200).abs() * blocks))
    assert found["switch_used"] < 0.03
    assert found["switch_shuffled_used"] > 3 * found["switch_used"]


class Recording:
    """An objective that keeps what it was given."""

    def __init__(self) -> None:
        self.seen: list[TokenBatch] = []

    def __call__(self, batch: TokenBatch) -> ObjectiveOutput:
        self.seen.append(batch)
        return GRPO(batch)


def shuffled(batch: TokenBatch, seed: int) -> TokenBatch:
    objective = Recording()
    RatioStatistics(seed).add(batch, GRPO(batch).log_ratio, objective)
    (seen,) = objective.seen
    return seen


def tokens(batch: TokenBatch, row: int) -> list[tuple[float, float]]:
    mask = batch.mask[row].bool()
    pairs = zip(batch.logprobs[row, mask], batch.old_logprobs[row, mask], strict=True)
    return [(float(new), float(old)) for new, old in pairs]


def test_the_control_is_each_responses_own_tokens_in_another_order(ragged: TokenBatch) -> None:
    control = shuffled(ragged, seed=0)
    assert not control.logprobs.requires_grad
    for row in range(len(ragged.mask)):
        assert sorted(tokens(control, row)) == sorted(tokens(ragged, row))
    assert any(tokens(control, row) != tokens(ragged, row) for row in range(len(ragged.mask)))


def test_the_control_depends_on_the_seed_alone(ragged: TokenBatch) -> None:
    a, b, c = (shuffled(ragged, seed).logprobs[ragged.mask] for seed in (0, 0, 1))
    assert torch.equal(a, b)
    assert not torch.equal(a, c)


def test_gradients_of_the_policy_are_left_alone(ragged: TokenBatch) -> None:
    leaf = ragged.logprobs.clone().requires_grad_()
    batch = replace(ragged, logprobs=leaf)
    RatioStatistics().add(batch, GRPO(batch).log_ratio, GRPO)
    assert leaf.grad is None


# Of several ranks, and gone back to


def collected(*batches: TokenBatch) -> RatioStatistics:
    statistics = RatioStatistics(seed=3)
    for batch in batches:
        statistics.add(batch, KPO(batch).log_ratio, KPO)
    return statistics


def test_merged_halves_are_the_whole() -> None:
    first, second = batch_of(noise(3, 9)), batch_of(noise(4, 30, scale=0.5))
    merged = collected(first)
    merged.merge(collected(second))
    assert merged.summary() == collected(first, second).summary() != collected(first).summary()


def test_what_is_merged_into_nothing_is_all() -> None:
    """A rank may have had no micro-batch."""
    merged = RatioStatistics(seed=3)
    merged.merge(collected(batch_of(noise(3, 9))))
    assert merged.summary() == collected(batch_of(noise(3, 9))).summary()


def test_one_pair_of_tokens_that_switches_is_all_of_them() -> None:
    found = summary(GRPO, batch_of(torch.tensor([[1.0, -1.0]])))
    assert found["switch_raw"] == found["switch_large_used"] == 1
