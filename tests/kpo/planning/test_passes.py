"""Passes on fake tensors against real ones, autograd's own account, and torch's counter."""

import gc
from typing import Any

import pytest
import torch
from torch import Tensor

from kpo.model.packing import Packed, pack
from kpo.model.policy import Policy, recompute
from kpo.planning.passes import (
    Cost,
    Meter,
    cost,
    cost_of,
    measure,
)
from tests.kpo.models import FAMILIES, tiny_policy

LENGTHS = [(8, 24), (3, 40), (5, 17)]
ROUND = 8192  # bytes of indices and the like


def packed() -> Packed:
    row = pack(
        [[i] * prompt for i, (prompt, _) in enumerate(LENGTHS)],
        [[0] * response for _, response in LENGTHS],
        torch.device("cpu"),
    )
    assert row.padded.longest == 42  # made here, outside of what is measured
    return row


def deep(policy: Policy, layers: int) -> Any:
    config = policy.model.config
    config.num_hidden_layers = layers
    if getattr(config, "layer_types", None):
        config.layer_types = config.layer_types[:1] * layers
    return config


def fake(config: Any, layers: int, *, dtype: str = "float32", again: bool = False) -> Cost:
    return measure(config, LENGTHS, layers=layers, dtype=dtype, checkpointing=again)


def test_live_bytes_count_storages_once_and_until_they_are_dropped() -> None:
    known = torch.zeros(100)
    with Meter([known]) as live:
        a = torch.zeros(10)
        b = torch.zeros(20)
        views = a.view(2, 5), known[3:]
        assert (live.now, live.peak) == (120, 120)
        del b
        gc.collect()
        assert (live.now, live.peak) == (40, 120)
        del a
        assert live.now == 40
        del views
        assert live.now == 0


@pytest.mark.parametrize("again", [False, True], ids=["kept", "checkpointed"])
@pytest.mark.parametrize("family", FAMILIES)
def test_fake_tensors_take_what_real_ones_take(family: str, again: bool) -> None:
    policy = tiny_policy(family)
    if again:
        recompute(policy.model)
    real = cost_of(policy.model, packed())
    found = fake(policy.model.config, 2, again=again)
    assert found.kept == pytest.approx(real.kept, abs=ROUND)
    assert found.peak == pytest.approx(real.peak, abs=ROUND)
    assert all(weight.grad is None for weight in policy.model.parameters())


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_what_is_kept_is_what_autograd_saves(dtype: str) -> None:
    policy = tiny_policy()
    policy.model.to(getattr(torch, dtype))
    known = {p.untyped_storage().data_ptr() for p in policy.model.parameters()}
    saved: dict[int, int] = {}
    held: list[Tensor] = []  # or a later tensor could take a freed one's place

    def save(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in known:
            saved[storage.data_ptr()] = storage.nbytes()
            held.append(tensor)
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(save, lambda tensor: tensor):
        logprobs, _ = policy.scorer(packed())
    assert logprobs.requires_grad
    kept = fake(policy.model.config, 2, dtype=dtype).kept
    assert sum(saved.values()) == pytest.approx(kept, rel=0.02)


@pytest.mark.parametrize("again", [False, True], ids=["kept", "checkpointed"])
def test_further_layers_add_what_the_second_adds(again: bool) -> None:
    config = deep(tiny_policy(), 5)
    found = cost(config, LENGTHS, dtype="bfloat16", checkpointing=again)
    assert found == fake(config, 5, dtype="bfloat16", again=again)


def test_checkpointing_keeps_the_input_of_each_layer_alone() -> None:
    config = tiny_policy().model.config
    one, two = (fake(config, layers, dtype="bfloat16", again=True).kept for layers in (1, 2))
    tokens = packed().ids.shape[1]
    assert two - one == tokens * config.hidden_size * 2
    assert two < fake(config, 2, dtype="bfloat16").kept / 4


def test_the_logits_are_in_the_peak(monkeypatch: pytest.MonkeyPatch) -> None:
    config = tiny_policy().model.config
    config.vocab_size = 10_000  # else a layer takes more
    monkeypatch.setattr("kpo.model.head.CHUNK_LOGITS", 1)
    chunked = fake(config, 1, again=True)
    monkeypatch.setattr("kpo.model.head.CHUNK_LOGITS", 1 << 30)
    whole = fake(config, 1, again=True)
    logits = sum(response for _, response in LENGTHS) * config.vocab_size * 4
    assert whole.kept == chunked.kept
    assert whole.peak - chunked.peak > 0.9 * logits


# Operations


@pytest.mark.slow
@pytest.mark.parametrize("again", [False, True], ids=["kept", "checkpointed"])
@pytest.mark.parametrize("family", ["qwen3", "gemma2", "mixtral"])
def test_further_layers_add_the_seconds_operations(family: str, again: bool) -> None:
    config = deep(tiny_policy(family), 5)
    lengths = [(7, 20)] * 2
    how: dict[str, Any] = {"checkpointing": again, "shared": True}
    found, whole = cost(config, lengths, **how), measure(config, lengths, layers=5, **how)
    assert (found.forward, found.update) == (whole.forward, whole.update)


def test_a_mixture_computes_with_the_experts_that_are_chosen() -> None:
    config = tiny_policy("mixtral").model.config
    counts = []
    for chosen in (1, 2):
        config.num_experts_per_tok = chosen
        counts.append(cost(config, [(5, 20)]).forward)
    expert = 3 * config.hidden_size * config.intermediate_size  # gate, up and down
    assert counts[1] - counts[0] == 2 * 24 * 2 * expert  # in each of 24 tokens and 2 layers


def test_a_shared_prompt_is_read_once() -> None:
    config = tiny_policy().model.config
    one, two, three = (cost(config, [(40, 20)] * n, shared=True) for n in (1, 2, 3))
    assert two.forward - one.forward == three.forward - two.forward
    assert two.forward < 1.7 * one.forward
