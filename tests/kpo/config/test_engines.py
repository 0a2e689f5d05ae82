"""Engines that cannot run a policy are refused before anything is made."""

from pathlib import Path

import pytest

from kpo.config.engines import CPU_HEAD_SIZES, head_size
from tests.kpo.config.experiments import HUB, SCRATCH, changed, load, refusal
from tests.kpo.config.test_lengths import STATED
from tests.kpo.models import FAMILIES, tiny_policy


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


@pytest.mark.slow
def test_the_sizes_are_those_of_the_engine() -> None:
    attention = pytest.importorskip("vllm.v1.attention.backends.cpu_attn")
    sizes = attention.CPUAttentionBackend.get_supported_head_sizes()
    assert tuple(sizes) == CPU_HEAD_SIZES
