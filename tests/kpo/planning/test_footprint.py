"""What a run needs, against what small runs take."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode
from transformers import GPTNeoXConfig, Qwen3Config, Qwen3ForCausalLM

from kpo.config.train import Train
from kpo.model.decoder import FusedDecoder
from kpo.model.layers import layers, recompute
from kpo.model.packing import pack
from kpo.model.policy import Policy
from kpo.planning.footprint import CHECKPOINTS, Footprint, FootprintError, size_of
from kpo.planning.sampling_footprint import RESERVE
from kpo.tasks.tokenizer import character_tokenizer
from tests.kpo.models import FAMILIES, tiny_policy
from tests.kpo.trainer.runs import tiny_trainer


def train(**settings: Any) -> Train:
    base = {
        "problems": "none",
        "steps": 1,
        "prompts": 4,
        "group": 4,
        "mini_batches": 2,
        "max_tokens_per_microbatch": 130,
        "max_prompt_tokens": 10,
        "max_response_tokens": 50,
        "lr": 1e-3,
    }
    return Train.model_validate({**base, **settings})


def footprint(**settings: Any) -> Footprint:
    config = tiny_policy().model.config
    return Footprint(train(**settings), config, size_of(config))


def nbytes(tensors: Any) -> int:
    return sum(tensor.numel() * tensor.element_size() for tensor in tensors)


# The model


@pytest.mark.parametrize("family", FAMILIES)
def test_numbers_of_weights_are_those_of_the_model(family: str) -> None:
    model = tiny_policy(family).model
    size = size_of(model.config)
    in_layers = [sum(p.numel() for p in layer.parameters()) for layer in layers(model)]
    assert size.parameters == sum(p.numel() for p in model.parameters())
    assert (size.layer, size.layers) == (max(in_layers), sum(in_layers))
    assert size.root == size.parameters - sum(in_layers)
    assert size.head == model.get_output_embeddings().weight.numel()


def test_a_model_that_the_trainer_does_not_support_is_refused() -> None:
    config = tiny_policy().model.config
    config.layer_types = ["full_attention", "linear_attention"]
    with pytest.raises(FootprintError, match="policy: qwen3 has layers of linear_attention"):
        size_of(config)


def test_the_cache_is_the_samplers() -> None:
    policy, found = tiny_policy(), footprint()
    decoder = FusedDecoder(policy.model)
    decoder.prefill(torch.full((3, 10), 5), torch.ones(3, 10, dtype=torch.bool), 50)
    held = nbytes(tensor for pair in decoder.cache for tensor in pair)
    assert held == 3 * found.train.longest * found.number * found.size.cache


def test_the_cache_of_a_model_that_names_neither_key_heads_nor_head_size() -> None:
    config = GPTNeoXConfig(vocab_size=8, hidden_size=12, num_hidden_layers=2, num_attention_heads=3)
    assert size_of(config).cache == 2 * 2 * 12


# Memory


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
    assert footprint().state() == {
        "master weights": nbytes(weights),
        "AdamW moments": nbytes(moments),
    }


def test_ranks_share_the_state() -> None:
    one, two = footprint().state(), footprint(ranks=2).state()
    assert two == {part: value / 2 for part, value in one.items()}
    alone, together = (footprint(ranks=n).update_parts()["gradients"] for n in (1, 2))
    assert alone == 2 * together == one["master weights"]


def test_one_rank_in_float32_gathers_nothing() -> None:
    assert footprint().update_parts()["gathered layers"] == 0
    size = footprint().size
    gathered = footprint(dtype="bfloat16").update_parts()["gathered layers"]
    assert gathered == 2 * (size.root + 4 * size.layer) + 4 * 2 * size.layer


def test_scoring_in_float32_is_counted_beside_a_sampler_in_half() -> None:
    half = {"dtype": "bfloat16"}
    wide = footprint(**half, scoring_dtype="float32")
    assert wide.update_parts() == footprint().update_parts()
    assert wide.sampler.memory(1e9) == footprint(**half).sampler.memory(1e9)
    assert wide.models(1) == footprint(**half).models(1)


def test_working_memory_is_that_of_the_budget_or_of_all_responses() -> None:
    small, full, more, most = (
        footprint(max_tokens_per_microbatch=budget).working.kept for budget in (60, 130, 480, 9999)
    )
    assert 2 * small < full < 2.3 * small  # 60 tokens, and 60 + 60 + 10
    assert 3.4 * full < more == most  # a mini-batch's 8 responses of 60


@pytest.mark.parametrize(
    ("settings", "weights"),
    [
        ({}, 8),  # the trainer's own, and fused copies twice
        ({"ranks": 2}, 12),
        ({"dtype": "bfloat16"}, 2),
    ],
)
def test_the_own_sampler(settings: dict[str, Any], weights: int) -> None:
    found = footprint(**settings)
    rows = 16 // found.train.world
    cache = rows * 60 * found.number * found.size.cache
    assert found.sampler.memory(1e9) == weights * found.size.parameters + cache
    assert not found.engine_sleeps()


def test_vllm_takes_its_share_and_sleeps_on_a_gpu() -> None:
    found = footprint(engine="vllm", gpus=1, gpu_memory=0.5, dtype="bfloat16")
    assert found.sampler.memory(80e9) == 40e9
    room = 40e9 - RESERVE - 2 * found.size.parameters
    assert found.sampler.cache_tokens(80e9) == int(room / (2 * found.size.cache))
    assert found.sampler.cache_tokens(1e9) == 0
    assert found.engine_sleeps()


def test_vllm_on_the_cpu_has_its_cache_beside_the_weights(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VLLM_CPU_KVCACHE_SPACE", "2")
    found = footprint(engine="vllm")
    assert found.sampler.memory(80e9) == 4 * found.size.parameters + 2 * 2**30
    assert found.sampler.cache_tokens(80e9) == 2 * 2**30 // (4 * found.size.cache)
    assert not found.engine_sleeps()


def test_disk_holds_checkpoints_and_models() -> None:
    found = footprint(dtype="bfloat16")
    assert found.checkpoints() == CHECKPOINTS * 12 * found.size.parameters
    assert found.models(runs=6) == 7 * 2 * found.size.parameters


# Tokens and operations


def test_tokens_are_those_of_the_trainers_micro_batches() -> None:
    found = footprint()  # 130 tokens hold a prompt of 10 and two responses of 50
    assert sorted(found.micro_batches) == [[0, 1], [2, 3], [4, 5], [6, 7]]
    assert found.packed_tokens == 2 * (4 * 10 + 8 * 50)
    assert len(footprint(max_tokens_per_microbatch=210, ranks=2).micro_batches) == 2


@pytest.mark.parametrize("again", [False, True], ids=["plain", "checkpointed"])
def test_operations_are_those_that_torch_counts(again: bool) -> None:
    config = Qwen3Config(
        vocab_size=300,
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        head_dim=8,
        intermediate_size=64,
    )
    found = Footprint(train(activation_checkpointing=again), config, size_of(config))
    model = Qwen3ForCausalLM(config).bfloat16()  # torch counts no product in place
    policy = Policy(model, character_tokenizer(), frozenset([1]))
    if again:
        recompute(model)
    with FlopCounterMode(display=False) as forward:
        _pass(policy, backward=False)
    with FlopCounterMode(display=False) as update:
        _pass(policy, backward=True)
    passes = 8  # micro-batches of two responses in a step
    products = found.forward - found.attention
    assert products == pytest.approx(passes * _products(forward), rel=0.05)
    products = found.update - (4 if again else 3) * found.attention
    # Of a checkpointed layer, the last product is not made again.
    assert products == pytest.approx(passes * _products(update), rel=0.07 if again else 0.05)
    assert found.rollout > found.forward


def _pass(policy: Policy, *, backward: bool) -> None:
    packed = pack([[5] * 10] * 2, [[6] * 50] * 2, torch.device("cpu"))
    logprobs, _ = policy.scorer(packed)
    if backward:
        logprobs.sum().backward()


def _products(counter: FlopCounterMode) -> int:
    """Of matrices; attention's own kernel is not counted on every device."""
    counts = counter.get_flop_counts()["Global"]
    return sum(count for name, count in counts.items() if "mm" in str(name))


def test_on_a_gpu_in_float32_keys_and_values_stand_once_for_each_query_head() -> None:
    cpu, gpu, half = (
        footprint(gpus=gpus, dtype=dtype).working.kept
        for gpus, dtype in ((0, "float32"), (1, "float32"), (1, "bfloat16"))
    )
    assert gpu > cpu > half
