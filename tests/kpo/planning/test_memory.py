"""What runs and engines hold, against what small ones take."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from transformers import GPTNeoXConfig

from kpo.model.decoder import FusedDecoder
from kpo.model.files import ModelError
from kpo.model.policy import layers, save_model
from kpo.planning.memory import (
    RESERVE,
    Sampler,
    size_of,
)
from tests.kpo.models import FAMILIES, tiny_policy
from tests.kpo.planning.planned import plan, plan_of
from tests.kpo.trainer.runs import tiny_trainer

CONFIG = tiny_policy().model.config


def nbytes(tensors: Any) -> int:
    return sum(tensor.numel() * tensor.element_size() for tensor in tensors)


def update(**settings: Any) -> dict[str, float]:
    return plan_of(CONFIG, **settings).phases["update"]


# The model


@pytest.mark.parametrize("family", FAMILIES)
def test_numbers_of_weights_are_those_of_the_model(family: str) -> None:
    model = tiny_policy(family).model
    size = size_of(model.config)
    in_layers = [sum(p.numel() for p in layer.parameters()) for layer in layers(model)]
    assert size.parameters == sum(p.numel() for p in model.parameters())
    assert (size.layer, size.root) == (max(in_layers), size.parameters - sum(in_layers))


def test_a_model_that_the_trainer_does_not_support_is_refused() -> None:
    config = tiny_policy().model.config
    config.layer_types = ["full_attention", "linear_attention"]
    with pytest.raises(ModelError, match="policy: qwen3 has layers of linear_attention"):
        size_of(config)


def test_the_cache_of_a_model_that_names_neither_key_heads_nor_head_size() -> None:
    config = GPTNeoXConfig(vocab_size=8, hidden_size=12, num_hidden_layers=2, num_attention_heads=3)
    assert size_of(config).cache == 2 * 2 * 12


# A run


def test_the_state_is_what_training_allocates(tmp_path: Path) -> None:
    trainer = tiny_trainer(tmp_path, steps=1)
    trainer.train()
    weights = list(trainer.policy.model.parameters())
    moments = [
        value
        for state in trainer.optimizer.state.values()
        for value in state.values()
        if isinstance(value, Tensor) and value.ndim
    ]
    assert all(weight.grad is None for weight in weights)  # given back after each step
    found = update()
    assert found["master weights"] == found["gradients"] == nbytes(weights)
    assert found["AdamW moments"] == nbytes(moments)


def test_every_node_has_the_whole_state() -> None:
    one, two = update(ranks=2), update(ranks=2, nodes=2)
    for part in ("master weights", "AdamW moments", "gradients", "gathered layers"):
        assert two[part] == one[part], part


def test_ranks_share_the_state_and_gather_layers() -> None:
    one, two = update(), update(ranks=2)
    for part in ("master weights", "AdamW moments", "gradients"):
        assert two[part] == one[part] / 2
    assert one["gathered layers"] == 0 < two["gathered layers"]


def test_the_micro_batch_is_filled_as_far_as_a_mini_batch_goes() -> None:
    kept = [
        update(max_tokens_per_microbatch=tokens)["activations"] for tokens in (60, 130, 480, 9999)
    ]
    assert kept[0] < kept[1] < kept[2] == kept[3]  # a mini-batch's 8 responses of 60


def test_on_a_gpu_in_float32_keys_and_values_stand_once_for_each_query_head() -> None:
    cpu, gpu, half = (
        update(gpus=gpus, dtype=dtype)["activations"]
        for gpus, dtype in ((0, "float32"), (1, "float32"), (1, "bfloat16"))
    )
    assert gpu > cpu > half


@pytest.mark.slow
def test_the_roots_gradients_may_be_the_peak() -> None:
    config = tiny_policy().model.config
    config.vocab_size = 1_000_000
    planned = plan_of(config, dtype="bfloat16")
    found, size = planned.phases["update"], planned.size
    reduced = found["activations"] + found["LM head and temporaries"]
    assert reduced >= 6 * size.root > 6 * 2 * 32 * 1_000_000  # in half precision and in float32


# Engines


def test_the_cache_is_the_samplers(tmp_path: Path) -> None:
    found = plan(tmp_path).rollout
    decoder = FusedDecoder(tiny_policy().model)
    decoder.prefill(torch.full((3, 10), 5), torch.ones(3, 10, dtype=torch.bool), 50)
    held = nbytes(tensor for pair in decoder.cache for tensor in pair)
    assert held == 3 * 60 * found.token


@pytest.mark.parametrize(
    ("settings", "copies"),
    [
        ({}, 2),  # the trainer's own, and fused copies twice
        ({"ranks": 2}, 3),
        ({"dtype": "bfloat16"}, 1),
    ],
)
def test_copies_of_the_weights_in_the_own_sampler(
    tmp_path: Path, settings: dict[str, Any], copies: int
) -> None:
    found = plan(tmp_path, **settings).rollout
    assert found.memory(1e9) == copies * found.weights + found.batch * found.longest * found.token


def test_ranks_share_the_prompts_and_batches_are_no_larger_than_the_samplers(
    tmp_path: Path,
) -> None:
    assert plan(tmp_path, prompts=4, group=5, mini_batches=1).rollout.batch == 20
    assert plan(tmp_path, prompts=4, group=6, mini_batches=1, ranks=3).rollout.batch == 12
    assert plan(tmp_path, prompts=4, group=600).rollout.batch == 256


def test_vllm_takes_its_share_and_sleeps_on_a_gpu(tmp_path: Path) -> None:
    found = plan(tmp_path, engine="vllm", gpus=1, gpu_memory=0.5, dtype="bfloat16")
    assert found.rollout.memory(80e9) == 40e9
    held = found.rollout.cache_tokens(80e9) * found.rollout.token
    room = 40e9 - RESERVE - 2 * found.size.parameters
    assert room - found.rollout.token < held <= room
    assert found.rollout.cache_tokens(1e9) == 0
    engine = [parts["rollout engine"] for parts in found.phases.values()]
    assert engine == [0.5e12, 0]


def test_vllm_on_the_cpu_has_its_cache_beside_the_weights(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VLLM_CPU_KVCACHE_SPACE", "2")
    found = plan(tmp_path, engine="vllm")
    assert found.rollout.memory(80e9) == 4 * found.size.parameters + 2 * 2**30
    assert found.rollout.cache_tokens(80e9) == 2 * 2**30 // (4 * found.size.cache)
    engine = [parts["rollout engine"] for parts in found.phases.values()]
    assert engine[0] == engine[1] > 0


def test_vllm_lays_weights_and_cache_over_the_gpus(tmp_path: Path) -> None:
    one, two = (
        plan(tmp_path, evaluate={"engine": "vllm", "gpus": n, "gpu_memory": 0.5}).evaluation
        for n in (1, 2)
    )
    assert one.memory(10e9) == two.memory(10e9) == 5e9
    assert (one.weights, one.token) == (2 * two.weights, 2 * two.token)
    assert two.cache_tokens(10e9) > 1.9 * one.cache_tokens(10e9)


def test_an_evaluation_has_weights_of_its_own(tmp_path: Path) -> None:
    found: Sampler = plan(tmp_path, evaluate={"engine": "transformers"}).evaluation
    assert (found.own, found.batch, found.longest) == (True, 256, 24 + 80)


# The disk


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_models_on_the_disk_are_as_large_as_written(tmp_path: Path, dtype: str) -> None:
    policy = tiny_policy()
    save_model(policy.model.to(getattr(torch, dtype)), policy.tokenizer, tmp_path)
    written = (tmp_path / "model.safetensors").stat().st_size
    found = plan_of(policy.model.config, dtype=dtype)  # of mini.yaml's 8 runs
    assert found.models_disk == pytest.approx(9 * written, rel=0.05)


def test_checkpoints_hold_weights_and_moments_three_times() -> None:
    found, state = plan_of(CONFIG), update()
    assert found.checkpoints_disk == 3 * (state["master weights"] + state["AdamW moments"])
