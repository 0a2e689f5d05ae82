"""A sync leaves nothing of the old weights in vLLM, whatever it computes with beside parameters."""

from __future__ import annotations

import copy
from importlib.util import find_spec
from typing import Any

import pytest
import torch

from kpo.model.policy import Policy, save_model
from tests.kpo.models import tiny_policy
from tests.kpo.rollout.mismatch import gap

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(find_spec("vllm") is None, reason="vllm is not installed"),
]


def policy_of(seed: int, *, tied: bool) -> Policy:
    made = tiny_policy(seed=seed)
    config = copy.deepcopy(made.model.config)
    config.tie_word_embeddings = tied
    torch.manual_seed(seed)
    return Policy(type(made.model)(config), made.tokenizer, made.eos)


def addresses(model: torch.nn.Module) -> dict[str, int]:
    return {name: parameter.data_ptr() for name, parameter in model.named_parameters()}


def fill_with_nan(model: torch.nn.Module) -> None:
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.fill_(torch.nan)


@pytest.fixture(scope="module", params=[True, False], ids=["tied", "untied"])
def tied(request: pytest.FixtureRequest) -> bool:
    return bool(request.param)


@pytest.fixture(scope="module")
def engine(tied: bool, tmp_path_factory: pytest.TempPathFactory) -> Any:
    from kpo.rollout.vllm import VLLMEngine  # noqa: PLC0415 - slow to import

    folder = tmp_path_factory.mktemp("model")
    policy = policy_of(3, tied=tied)
    save_model(policy.model, policy.tokenizer, folder)
    return VLLMEngine(folder, max_tokens=64)


def test_all_of_the_weights_are_new_and_where_the_old_ones_were(engine: Any, tied: bool) -> None:
    ((before,),) = [engine.llm.apply_model(addresses)]
    poison = policy_of(3, tied=tied)
    fill_with_nan(poison.model)
    engine.sync_weights(poison)  # what a sync reaches beside the parameters
    engine.llm.apply_model(fill_with_nan)  # and what it does not
    for seed in (8, 9):
        policy = policy_of(seed, tied=tied)
        engine.sync_weights(policy)
        assert gap(engine, policy) < 1e-4
    ((after,),) = [engine.llm.apply_model(addresses)]
    assert after == before
    assert len(before) > 10


def test_single_weights_show(engine: Any, tied: bool) -> None:
    """As after an update that moved the head alone."""
    policy = policy_of(8, tied=tied)
    engine.sync_weights(policy)
    head = policy.model.get_output_embeddings()
    with torch.no_grad():
        head.weight.mul_(1.1)
    assert gap(engine, policy) > 1e-2
    engine.sync_weights(policy)
    assert gap(engine, policy) < 1e-4
