"""The filter against the plain recursion, a dense Gaussian, and the properties of a linear map.

Error of a filtered row: max |x - x_ref| / max |x_ref|, the reference in float64. A float32 result
may be off by 6e-8 of itself from rounding alone, so 1e-7 leaves the algorithm hardly anything.
"""

import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from kpo.kalman import kalman_filter, kalman_filter_reference, kalman_gains
from kpo.memory import steady_gain
from tests.kpo.cases import as_array, holey_mask
from tests.kpo.oracles import Array, filter_masked, gain_path, posterior_means

QS = [1e-8, 1e-6, 1e-4, 1e-2, 1.0, 100.0]
EXTREME_QS = [1e-12, *QS, 1e4, 1e12]
LENGTHS = [1, 2, 63, 64, 65, 512, 4096, 65536]
BAD_QS = [0.0, -1e-6, math.nan, math.inf, -math.inf]

Filter = Callable[..., Tensor]
both_forms = pytest.mark.parametrize("form", [kalman_filter, kalman_filter_reference])
seeded = settings(derandomize=True, deadline=None, max_examples=40)
any_q = st.floats(-12, 12).map(lambda exponent: 10.0**exponent)


def noise_and_drift(length: int, seed: int = 0) -> Tensor:
    """[2, T] float32: noise around zero, where the filter cancels most, and a noisy walk."""
    rng = np.random.default_rng(seed)
    noise = 0.1 * rng.standard_normal((2, length))
    noise[1] += np.cumsum(0.01 * rng.standard_normal(length))
    return torch.tensor(noise, dtype=torch.float32)


def row_error(found: Tensor, reference: Array) -> float:
    """The largest error of any row; see the head of this file."""
    scale = np.abs(reference).max(axis=1)
    return float((np.abs(as_array(found) - reference).max(axis=1) / scale).max())


def recursion(z: Tensor, q: float, V: float = 1.0) -> Array:
    """The oracle for a batch without masked tokens."""
    return filter_masked(as_array(z), np.ones(z.shape, dtype=bool), Q=q * V, V=V)


def filter_all(z: Tensor, q: float, form: Filter = kalman_filter) -> Tensor:
    return form(z, torch.ones(z.shape, dtype=torch.bool), q=q)


# Gains


@pytest.mark.parametrize("V", [1.0, 0.03])
@pytest.mark.parametrize("q", EXTREME_QS)
def test_gains_are_those_of_the_riccati_recursion(q: float, V: float) -> None:
    path = gain_path(300, Q=q * V, V=V)
    gains = kalman_gains(300, q)
    assert gains.dtype == torch.float64
    assert gains.tolist() == pytest.approx([K for K, _ in path], rel=1e-10)
    assert (V * gains).tolist() == pytest.approx([P for _, P in path], rel=1e-10)


@pytest.mark.parametrize("q", EXTREME_QS)
def test_gains_rise_to_the_steady_gain(q: float) -> None:
    gains = kalman_gains(5000, q)
    assert bool((gains.diff() >= -1e-15).all())
    assert float(gains[0]) == pytest.approx(q / (1 + q), rel=1e-12)
    assert float(gains[-1]) <= steady_gain(q) * (1 + 1e-12)
    if q >= 1e-4:
        assert float(gains[-1]) == pytest.approx(steady_gain(q), rel=1e-10)


def test_no_gains_for_no_tokens() -> None:
    assert kalman_gains(0, 1e-6).shape == (0,)


def test_gains_cannot_be_corrupted_by_a_caller() -> None:
    fresh = kalman_gains(70, 0.5).clone()
    kalman_gains(70, 0.5).fill_(9.0)
    assert torch.equal(kalman_gains(70, 0.5), fresh)
    z = noise_and_drift(70)
    assert (
        row_error(filter_all(z, 0.5), filter_masked(as_array(z), z.numpy() == z.numpy(), 0.5))
        < 1e-7
    )


@pytest.mark.parametrize("q", BAD_QS)
def test_bad_q(q: float) -> None:
    with pytest.raises(ValueError, match="q"):
        kalman_gains(3, q)
    with pytest.raises(ValueError, match="q"):
        filter_all(torch.zeros(1, 3), q)


def test_negative_length() -> None:
    with pytest.raises(ValueError, match="length"):
        kalman_gains(-1, 1.0)


# The filter against the recursion and against the posterior mean


@pytest.mark.parametrize("length", LENGTHS)
@pytest.mark.parametrize("q", QS)
def test_float32_filter_is_the_float64_recursion(q: float, length: int) -> None:
    z = noise_and_drift(length)
    found = filter_all(z, q)
    assert found.dtype == torch.float32
    assert row_error(found, recursion(z, q, V=0.3)) <= 1e-7


@pytest.mark.parametrize("length", [1, 65, 4096])
@pytest.mark.parametrize("q", EXTREME_QS)
def test_float64_filter_is_the_recursion(q: float, length: int) -> None:
    z = noise_and_drift(length).double()
    found = filter_all(z, q)
    assert found.dtype == torch.float64
    assert row_error(found, recursion(z, q)) <= 1e-12


@pytest.mark.parametrize("q", QS)
def test_token_by_token_form_is_the_recursion(q: float) -> None:
    z = noise_and_drift(200)
    assert row_error(filter_all(z, q, kalman_filter_reference), recursion(z, q)) <= 1e-12


@both_forms
@pytest.mark.parametrize("V", [1.0, 0.37])
@pytest.mark.parametrize("length", [1, 33, 64])
@pytest.mark.parametrize("q", QS)
def test_filter_is_the_posterior_mean(form: Filter, q: float, length: int, V: float) -> None:
    z = noise_and_drift(length)[1:].double()
    posterior = posterior_means(as_array(z)[0], Q=q * V, V=V)
    assert row_error(filter_all(z, q, form), posterior[None]) <= 1e-10


def test_bfloat16_is_filtered_in_float32() -> None:
    z = noise_and_drift(100).bfloat16()
    found = filter_all(z, 1e-2)
    assert found.dtype == torch.float32
    assert row_error(found, recursion(z, 1e-2)) <= 1e-7


@pytest.mark.parametrize("shape", [(0, 5), (3, 0), (0, 0)])
def test_nothing_to_filter(shape: tuple[int, int]) -> None:
    assert filter_all(torch.zeros(shape), 1e-6).shape == shape


def test_filter_reads_strided_input_and_leaves_it_alone() -> None:
    z = noise_and_drift(140).T.contiguous().T
    before = z.clone()
    assert not z.is_contiguous()
    assert torch.equal(filter_all(z, 1e-2), filter_all(before.contiguous(), 1e-2))
    assert torch.equal(z, before)


# Any finite input


@seeded
@given(
    z=st.lists(st.floats(width=32, allow_nan=False, allow_infinity=False), min_size=1, max_size=70),
    q=any_q,
)
def test_any_finite_float32_stays_between_zero_and_its_extremes(z: list[float], q: float) -> None:
    row = torch.tensor([z], dtype=torch.float32)
    x = filter_all(row, q)
    assert bool(x.isfinite().all())
    assert float(x.max()) <= max(0.0, *z) * (1 + 1e-6)
    assert float(x.min()) >= min(0.0, *z) * (1 + 1e-6)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("length", [64, 129, 5000])
@pytest.mark.parametrize("q", EXTREME_QS)
def test_huge_input_stays_accurate(q: float, length: int, dtype: torch.dtype) -> None:
    z = (noise_and_drift(length) * 1e31).to(dtype)
    assert row_error(filter_all(z, q), recursion(z, q)) <= 1e-7


# Masked tokens are no observations


@both_forms
@pytest.mark.parametrize("mask_dtype", [torch.bool, torch.int64, torch.float32])
@pytest.mark.parametrize("length", [2, 64, 200])
@pytest.mark.parametrize("q", [1e-6, 1e-2, 1.0])
def test_masked_tokens_are_as_if_cut_out(
    form: Filter, q: float, length: int, mask_dtype: torch.dtype
) -> None:
    mask = holey_mask(np.random.default_rng(length), 6, length)
    z = np.random.default_rng(1).standard_normal(mask.shape)
    found = form(torch.tensor(z), torch.tensor(mask).to(mask_dtype), q=q)
    assert as_array(found) == pytest.approx(filter_masked(z, mask, q), rel=1e-10, abs=1e-14)
    assert bool((found[torch.tensor(~mask)] == 0).all())


@both_forms
def test_padding_on_the_left_alone_is_no_observation(form: Filter) -> None:
    z = torch.tensor(np.random.default_rng(2).standard_normal((3, 90)))
    mask = torch.arange(90) >= torch.tensor([[1], [40], [89]])
    for row, real, found in zip(z, mask, form(z, mask, q=1e-2), strict=True):
        torch.testing.assert_close(found[real], filter_all(row[real][None], 1e-2)[0])
        assert not bool(found[~real].any())


@seeded
@given(seed=st.integers(0, 10**6), length=st.integers(1, 150), keep=st.floats(0, 1), q=any_q)
def test_masking_is_filtering_the_compacted_sequence(
    seed: int, length: int, keep: float, q: float
) -> None:
    rng = np.random.default_rng(seed)
    z = torch.tensor(rng.standard_normal((1, length)), dtype=torch.float32)
    mask = torch.tensor(rng.random((1, length)) < keep)
    found = kalman_filter(z, mask, q=q)[mask]
    torch.testing.assert_close(found, filter_all(z[mask][None], q)[0], rtol=1e-6, atol=1e-7)


@both_forms
@pytest.mark.parametrize("garbage", [math.nan, math.inf, -math.inf, 1e38])
def test_garbage_at_masked_tokens_does_not_leak(form: Filter, garbage: float) -> None:
    mask = torch.tensor(holey_mask(np.random.default_rng(0), 8, 150))
    z = torch.tensor(np.random.default_rng(1).standard_normal(mask.shape), dtype=torch.float32)
    dirty = z.masked_fill(~mask, garbage)
    assert torch.equal(form(dirty, mask, q=1e-2), form(z.masked_fill(~mask, 0.0), mask, q=1e-2))


# A causal linear map


@seeded
@given(seed=st.integers(0, 10**6), length=st.integers(2, 200), share=st.floats(0, 1), q=any_q)
def test_the_past_does_not_see_the_future(seed: int, length: int, share: float, q: float) -> None:
    rng = np.random.default_rng(seed)
    cut = 1 + int(share * (length - 2))
    z = torch.tensor(rng.standard_normal((2, length)), dtype=torch.float32)
    other = z.clone()
    other[:, cut:] = 1e30
    past = filter_all(z[:, :cut], q)
    for whole in (z, other):
        error = (filter_all(whole, q)[:, :cut] - past).abs().max()
        assert float(error) <= 2e-7 * float(past.abs().max())


@seeded
@given(
    seed=st.integers(0, 10**6),
    length=st.integers(1, 200),
    a=st.floats(-9, 9),
    b=st.floats(-9, 9),
    q=any_q,
)
def test_filter_is_linear(seed: int, length: int, a: float, b: float, q: float) -> None:
    z, w = torch.tensor(np.random.default_rng(seed).standard_normal((2, 3, length)))
    separate = a * filter_all(z, q) + b * filter_all(w, q)
    scale = float(filter_all(z.abs() + w.abs(), q).max())
    torch.testing.assert_close(
        filter_all(a * z + b * w, q), separate, rtol=0, atol=1e-12 * (abs(a) + abs(b) + 1) * scale
    )


@pytest.mark.parametrize("q", QS)
def test_rows_do_not_touch_each_other(q: float) -> None:
    z = torch.tensor(np.random.default_rng(5).standard_normal((5, 130)))
    alone = torch.cat([filter_all(row[None], q) for row in z])
    torch.testing.assert_close(filter_all(z, q), alone, rtol=1e-12, atol=1e-14)
