"""The CUDA branch of packed attention: what it hands to flash attention, alone and in training."""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn.attention.varlen import varlen_attn

from kpo.distributed.ranks import Ranks
from kpo.distributed.sharding import shard
from kpo.model.packing import attention, has_kernel, pack
from kpo.model.policy import recompute, response_logprobs
from kpo.rollout.transformers import TransformersEngine
from tests.kpo.flash import Kernel, flash_on_the_cpu
from tests.kpo.model.shared_prompts import PROMPTS, RESPONSES
from tests.kpo.models import tiny_policy
from tests.kpo.processes import on_ranks
from tests.kpo.trainer.runs import metrics, tiny_trainer

CPU = torch.device("cpu")
STEPS = 2


def heads(count: int, tokens: int, size: int, seed: int) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(1, count, tokens, size, generator=generator).bfloat16().requires_grad_()


def test_the_stand_in_is_called_as_the_real_one_is() -> None:
    real, ours = (inspect.signature(kernel).parameters for kernel in (varlen_attn, Kernel.__call__))
    for name, parameter in ours.items():
        if name != "self":
            assert parameter.kind == real[name].kind
            assert parameter.default == real[name].default


@pytest.mark.parametrize(("kv_heads", "window"), [(1, None), (2, None), (6, None), (2, 4)])
def test_the_kernel_is_given_what_it_takes_and_gives_what_buckets_give(
    kv_heads: int, window: int | None
) -> None:
    packed = pack(PROMPTS, RESPONSES, CPU)
    tokens = packed.ids.shape[1]
    q, k, v = parts = [heads(n, tokens, 8, seed) for seed, n in enumerate((6, kv_heads, kv_heads))]
    how: dict[str, Any] = {"packed": packed, "scaling": 0.3, "sliding_window": window}
    expected, _ = attention(None, q, k, v, None, **how)
    with flash_on_the_cpu() as kernel:
        found, _ = attention(None, q, k, v, None, **how)
    assert kernel.calls == 1
    torch.testing.assert_close(found, expected, rtol=0.02, atol=0.02)
    weights = torch.randn(found.shape).bfloat16()
    for a, b in zip(
        torch.autograd.grad((found * weights).sum(), parts),
        torch.autograd.grad((expected * weights).sum(), parts),
        strict=True,
    ):
        torch.testing.assert_close(a, b, rtol=0.05, atol=0.05)


@pytest.mark.parametrize(
    ("size", "dtype", "taken"),
    [
        (64, torch.bfloat16, True),
        (256, torch.float16, True),
        (64, torch.float32, False),
        (12, torch.bfloat16, False),
        (512, torch.bfloat16, False),
    ],
)
def test_heads_that_the_kernel_refuses_go_to_buckets(
    size: int, dtype: torch.dtype, *, taken: bool
) -> None:
    packed = pack(PROMPTS, RESPONSES, CPU)
    part = heads(2, packed.ids.shape[1], size, 0).to(dtype)
    with flash_on_the_cpu() as kernel:
        attention(None, part, part, part, None, packed=packed, scaling=0.1)
    assert kernel.calls == taken
    assert not has_kernel(part)  # on the CPU


def test_soft_caps_and_values_of_another_size_go_to_buckets() -> None:
    packed = pack(PROMPTS, RESPONSES, CPU)
    tokens = packed.ids.shape[1]
    part, other = heads(2, tokens, 64, 0), heads(2, tokens, 32, 1)
    with flash_on_the_cpu() as kernel:
        attention(None, part, part, part, None, packed=packed, scaling=0.1, softcap=2.0)
        found, _ = attention(None, part, part, other, None, packed=packed, scaling=0.1)
    assert kernel.calls == 0
    assert found.shape == (1, tokens, 2, 32)


def test_a_model_scores_through_the_kernel() -> None:
    policy = tiny_policy(seed=3)
    policy.model.bfloat16()
    expected, _, mask = response_logprobs(policy, PROMPTS, RESPONSES)
    with flash_on_the_cpu() as kernel:
        found, _, _ = response_logprobs(policy, PROMPTS, RESPONSES)
    assert kernel.calls == policy.model.config.num_hidden_layers
    assert float((found - expected)[mask].abs().max().detach()) < 0.2


def train(ranks: Ranks, folder: Path, *, flash: bool) -> int:
    """Train in bfloat16 with recomputed layers; how often the kernel was called on this rank."""
    torch.set_num_threads(1)
    engine = TransformersEngine(tiny_policy(seed=3))
    policy = shard(tiny_policy(seed=3), ranks, "bfloat16")
    recompute(policy.model)
    trainer = tiny_trainer(
        folder, policy=policy, engine=engine, ranks=ranks, steps=STEPS, dtype="bfloat16"
    )
    if not flash:
        trainer.train()
        return 0
    with flash_on_the_cpu() as kernel:
        trainer.train()
    return kernel.calls


def through_kernel(ranks: Ranks, folder: Path) -> int:
    return train(ranks, folder, flash=True)


def through_buckets(ranks: Ranks, folder: Path) -> int:
    return train(ranks, folder, flash=False)


@pytest.mark.slow
def test_two_ranks_train_through_the_kernel_as_through_buckets(tmp_path: Path) -> None:
    calls = on_ranks(2, through_kernel, tmp_path / "kernel")
    on_ranks(2, through_buckets, tmp_path / "buckets")
    layers = tiny_policy().model.config.num_hidden_layers
    assert all(count % layers == 0 and count > 3 * layers * STEPS for count in calls)
    kernel, buckets = (metrics(tmp_path / name) for name in ("kernel", "buckets"))
    assert kernel[0]["reward"] == buckets[0]["reward"]  # the same rollouts
    assert kernel[0]["grad_norm"] == pytest.approx(buckets[0]["grad_norm"], rel=0.05)
    for a, b in zip(kernel, buckets, strict=True):
        assert a["logprob_mismatch_mean"] == pytest.approx(b["logprob_mismatch_mean"], rel=0.5)
