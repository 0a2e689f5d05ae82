"""What is too long for the policy, or not for its engine, is refused before anything is made."""

from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from kpo.config.experiment import load_experiment
from kpo.config.limits import CPU_HEAD_SIZES, faults_of, head_size
from kpo.config.policy import ScratchPolicy
from kpo.tasks.chained_sums import ChainedSums
from kpo.tasks.generate import write_problems
from kpo.tasks.problems import open_problems
from kpo.tasks.prompts import PROTOCOLS
from kpo.tasks.tokenizer import character_tokenizer
from kpo.trainer.base_policy import scratch_policy
from tests.kpo.config.experiments import HUB, SCRATCH, Tree, changed, load, refusal
from tests.kpo.models import FAMILIES, tiny_policy

STATED = {
    "hidden_size": 32,
    "layers": 2,
    "heads": 4,
    "kv_heads": 2,
    "head_dim": 32,
    "feed_forward": 48,
    "vocabulary": 98,
    "positions": 512,
    "tied": True,
}

LONGEST = ChainedSums().longest


def stated(path: str, value: int) -> Tree:
    """An experiment whose model is stated, with 512 positions."""
    tree = changed(HUB, "policy/architecture", STATED)
    tree = changed(tree, "train/max_tokens_per_microbatch", 8192)
    return changed(tree, path, value)


def test_the_defaults_positions_stay() -> None:
    assert load_experiment("workflow/config/tiny.yaml").positions == 256


@pytest.mark.parametrize(
    ("path", "value", "positions"),
    [
        ("train/max_response_tokens", 232, 256),
        ("train/max_response_tokens", 233, 257),
        ("train/max_prompt_tokens", 500, 580),
        ("evaluate/max_response_tokens", 1000, 1000 + LONGEST + 1),  # and the line's end
    ],
)
def test_positions_follow_from_the_lengths(
    tmp_path: Path, path: str, value: int, positions: int
) -> None:
    assert load(tmp_path, changed(SCRATCH, path, value)).positions == positions


def test_no_weight_depends_on_the_positions() -> None:
    settings = ScratchPolicy(kind="scratch", layers=1)
    usual, longer = (scratch_policy(settings, positions=n).model for n in (256, 1024))
    assert longer.config.max_position_embeddings == 1024
    for name, weight in usual.state_dict().items():
        assert torch.equal(longer.state_dict()[name], weight), name


def test_no_problem_of_the_task_is_longer_than_the_longest(tmp_path: Path) -> None:
    write_problems(ChainedSums(train=500, test=50), tmp_path / "problems")
    sets = [open_problems(name, folder=tmp_path / "problems").load() for name in ("train", "hard")]
    assert [max(len(p.problem) for p in found) for found in sets] == [LONGEST] * 2


@pytest.mark.parametrize("prompt", ["plain", "boxed", "official"])
def test_a_task_whose_prompts_are_too_long(tmp_path: Path, prompt: str) -> None:
    longest = PROTOCOLS[prompt].encode(character_tokenizer(), "9" * LONGEST, "training")
    least = len(longest)
    tree = changed(changed(SCRATCH, "prompt", prompt), "train/max_prompt_tokens", least - 1)
    assert refusal(tmp_path, tree) == [
        f"train.max_prompt_tokens is {least - 1}, but must be at least {least}, the task's longest"
        f" prompt under prompt {prompt}"
    ]
    load(tmp_path, changed(tree, "train/max_prompt_tokens", least))


def test_training_beyond_a_stated_model(tmp_path: Path) -> None:
    load(tmp_path, stated("train/max_response_tokens", 512 - 24))
    assert refusal(tmp_path, stated("train/max_response_tokens", 512 - 23)) == [
        "train.max_prompt_tokens + train.max_response_tokens is 513, more than the model's 512"
        " positions: lower either"
    ]


def test_evaluation_beyond_a_stated_model(tmp_path: Path) -> None:
    load(tmp_path, stated("evaluate/max_response_tokens", 511))
    assert refusal(tmp_path, stated("evaluate/max_response_tokens", 512)) == [
        "evaluate.max_response_tokens is 512, but must be less than the model's 512 positions,"
        " which the prompt shares"
    ]


# Engines


def test_another_engine_or_a_gpu_has_all_sizes(tmp_path: Path) -> None:
    odd = changed(SCRATCH, "policy/head_dim", 48)
    assert len(refusal(tmp_path, odd)) == 1
    load(tmp_path, changed(odd, "evaluate/engine", "transformers"))
    load(tmp_path, changed(odd, "evaluate/gpus", 1))


def test_a_stated_models_heads(tmp_path: Path) -> None:
    tree = changed(HUB, "policy/architecture", {**STATED, "head_dim": 48})
    (sentence,) = refusal(tmp_path, changed(tree, "train/engine", "vllm"))
    assert sentence.startswith("train.engine is vllm, whose CPU build has no heads of the policy's")


@pytest.mark.parametrize("family", FAMILIES)
def test_the_size_of_a_models_heads(family: str) -> None:
    assert head_size(tiny_policy(family).model.config) == (32 if family == "qwen3" else 8)


def test_a_model_by_its_configuration(tmp_path: Path) -> None:
    """Training takes 104 positions, evaluation, with vLLM, more than 80."""
    experiment = load(tmp_path, SCRATCH)
    config = SimpleNamespace(max_position_embeddings=103, hidden_size=96, num_attention_heads=2)
    first, second = faults_of(experiment.train, experiment.evaluate, config)
    assert first.startswith("train.max_prompt_tokens + train.max_response_tokens is 104, more than")
    assert second.startswith(
        "evaluate.engine is vllm, whose CPU build has no heads of the policy's"
    )
    assert " 48, but " in second


@pytest.mark.slow
def test_the_sizes_are_those_of_the_engine() -> None:
    attention = pytest.importorskip("vllm.v1.attention.backends.cpu_attn")
    sizes = attention.CPUAttentionBackend.get_supported_head_sizes()
    assert tuple(sizes) == CPU_HEAD_SIZES
