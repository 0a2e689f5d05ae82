"""What a batch of tokens may be: its shapes and the kinds of its numbers."""

import warnings
from dataclasses import replace

import pytest
import torch

from kpo.objective import TokenBatch
from tests.kpo.cases import random_batch


@pytest.mark.parametrize(
    ("logprobs", "old", "mask", "advantages"),
    [
        ([6], [6], [6], [6]),
        ([2, 3], [2, 4], [2, 3], [2]),
        ([2, 3], [2, 3], [3, 2], [2]),
        ([2, 3], [2, 3], [2, 3], [3]),
        ([2, 3], [2, 3], [2, 3], [2, 3]),
        ([2, 3, 1], [2, 3, 1], [2, 3, 1], [2]),
    ],
)
def test_shapes_that_do_not_fit_are_named(
    logprobs: list[int], old: list[int], mask: list[int], advantages: list[int]
) -> None:
    with pytest.raises(ValueError) as error:
        TokenBatch(
            torch.zeros(logprobs), torch.zeros(old), torch.zeros(advantages), torch.ones(mask)
        )
    assert str(error.value).startswith("TokenBatch wants logprobs, old_logprobs, mask [B, T] and")
    assert str(error.value).endswith(f"got {logprobs}, {old}, {mask} and {advantages}")


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("name", ["logprobs", "old_logprobs"])
def test_half_precision_is_widened_with_a_warning(dtype: torch.dtype, name: str) -> None:
    batch = random_batch(seed=14, dtype=torch.float32)
    half = getattr(batch, name).to(dtype).requires_grad_(name == "logprobs")
    with pytest.warns(UserWarning, match=rf"TokenBatch: {name} are {dtype}, .* coarser than clips"):
        widened = replace(batch, **{name: half})
    values = getattr(widened, name)
    assert values.dtype == torch.float32
    assert torch.equal(values, half.float())
    assert values.requires_grad == half.requires_grad


def test_log_probs_that_are_no_real_numbers_are_refused() -> None:
    batch = random_batch(seed=15)
    with pytest.raises(ValueError, match=r"wants old_logprobs of floating point, got torch.int64"):
        replace(batch, old_logprobs=batch.old_logprobs.long())


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_full_precision_stays_as_it_is(dtype: torch.dtype) -> None:
    batch = random_batch(seed=14, dtype=dtype)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        again = replace(batch)
    assert again.logprobs is batch.logprobs
    assert again.old_logprobs is batch.old_logprobs
