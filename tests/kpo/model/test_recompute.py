"""A model's layers, and their activations computed again in the backward pass."""

from pathlib import Path

import pytest
import torch

from kpo.model.policy import layers, recompute, response_logprobs
from kpo.rollout.engine import Sampling
from kpo.rollout.transformers import TransformersEngine
from tests.kpo.model.scored import PROMPTS, RESPONSES
from tests.kpo.models import FAMILIES, tiny_policy
from tests.kpo.trainer.runs import metrics, tiny_trainer


@pytest.mark.parametrize("family", FAMILIES)
def test_layers_are_those_of_the_configuration(family: str) -> None:
    model = tiny_policy(family).model
    found = layers(model)
    assert len(found) == model.config.num_hidden_layers == 2
    weights = {p for layer in found for p in layer.parameters()}
    assert 0 < len(weights) < len(list(model.parameters()))


@pytest.mark.parametrize("family", FAMILIES)
def test_gradients_stay_and_activations_go(family: str) -> None:
    gradients, kept = [], []
    for again in (False, True):
        policy = tiny_policy(family)
        if again:
            recompute(policy.model)
        saved: list[int] = []

        def save(tensor: torch.Tensor, saved: list[int] = saved) -> torch.Tensor:
            saved.append(tensor.numel())
            return tensor

        with torch.autograd.graph.saved_tensors_hooks(save, lambda tensor: tensor):
            logprobs, _, mask = response_logprobs(policy, PROMPTS, RESPONSES)
        kept.append(sum(saved))
        weights = list(policy.model.parameters())
        gradients.append(torch.autograd.grad(logprobs[mask].sum(), weights, allow_unused=True))
    assert kept[1] < kept[0] / 2
    for one, two in zip(*gradients, strict=True):
        assert (one is None and two is None) or torch.equal(one, two)


@pytest.mark.parametrize("family", ["qwen3", "gpt_neox"])
def test_the_samplers_cache_stays(family: str) -> None:
    groups = []
    for again in (False, True):
        policy = tiny_policy(family)
        if again:
            recompute(policy.model)
        engine = TransformersEngine(policy)
        groups.append(engine.generate(PROMPTS, [1, 2, 3, 4], Sampling(2, 12)))
    assert groups[0] == groups[1]


@pytest.mark.parametrize("family", ["qwen3", "gpt_neox"])
def test_a_run_that_computes_again_is_the_run_that_keeps(tmp_path: Path, family: str) -> None:
    for name in ("kept", "again"):
        policy = tiny_policy(family, seed=3)
        if name == "again":
            recompute(policy.model)
        tiny_trainer(tmp_path / name, policy=policy, lr=1e-2).train()
    assert metrics(tmp_path / "kept") == metrics(tmp_path / "again")
