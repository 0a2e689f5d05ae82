"""vLLM in process: equal to the model it serves, and to its weights after a sync."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from kpo.policy import Policy, response_logprobs, save_model
from kpo.rollout.engine import RolloutEngine, Sampling
from tests.kpo.models import tiny_policy
from tests.kpo.trainer.runs import tiny_trainer

pytestmark = pytest.mark.slow
PROMPTS = [[5, 6, 7], [8], [9, 10, 11, 12, 13]]
SAMPLING = Sampling(samples=4, max_tokens=24)


@pytest.fixture(scope="module")
def policy() -> Policy:
    return tiny_policy(seed=3)


@pytest.fixture(scope="module")
def engine(policy: Policy, tmp_path_factory: pytest.TempPathFactory) -> RolloutEngine:
    from kpo.rollout.vllm import VLLMEngine  # noqa: PLC0415 - slow to import

    folder: Path = tmp_path_factory.mktemp("model")
    save_model(policy.model, policy.tokenizer, folder)
    return VLLMEngine(folder, max_tokens=48)


def gap(engine: RolloutEngine, policy: Policy) -> float:
    """Largest difference between the engine's log-probs and the policy's own, in nats."""
    largest = 0.0
    groups = engine.generate(PROMPTS, [1, 100, 200], SAMPLING)
    for prompt, group in zip(PROMPTS, groups, strict=True):
        tokens = [response.tokens for response in group]
        with torch.no_grad():
            own, _, _ = response_logprobs(policy, [prompt] * len(group), tokens)
        for response, row in zip(group, own, strict=True):
            theirs = torch.tensor(response.logprobs)
            largest = max(largest, float((theirs - row[: len(theirs)]).abs().max()))
    return largest


def test_logprobs_are_those_of_the_model(engine: RolloutEngine, policy: Policy) -> None:
    engine.sync_weights(policy)
    assert gap(engine, policy) < 1e-4


def test_samples_are_seeded_and_differ(engine: RolloutEngine, policy: Policy) -> None:
    engine.sync_weights(policy)
    first = engine.generate(PROMPTS, [1, 100, 200], SAMPLING)
    again = engine.generate(PROMPTS, [1, 100, 200], SAMPLING)
    assert [[r.tokens for r in g] for g in first] == [[r.tokens for r in g] for g in again]
    assert len({tuple(r.tokens) for r in first[0]}) == SAMPLING.samples
    (eos,) = policy.eos
    for response in (r for group in first for r in group):
        assert (response.tokens[-1] == eos) == (response.finish == "stop")
        assert eos not in response.tokens[:-1]


def test_synced_weights_are_sampled(engine: RolloutEngine) -> None:
    other = tiny_policy(seed=8)
    assert gap(engine, other) > 0.1
    engine.sync_weights(other)
    assert gap(engine, other) < 1e-4


def test_two_training_steps_on_vllm_rollouts(engine: RolloutEngine, tmp_path: Path) -> None:
    learner = tiny_policy(seed=3)
    engine.sync_weights(learner)
    before = engine.generate(PROMPTS, [1, 100, 200], SAMPLING)
    trainer = tiny_trainer(tmp_path, policy=learner, engine=engine, steps=2, lr=3e-2)
    trainer.train()
    assert gap(engine, learner) > 1e-2  # the last step's weights are not synced yet
    engine.sync_weights(learner)
    assert gap(engine, learner) < 1e-4
    after = engine.generate(PROMPTS, [1, 100, 200], SAMPLING)
    assert [[r.tokens for r in g] for g in before] != [[r.tokens for r in g] for g in after]


@pytest.mark.parametrize("memory", [None, 0.5])
def test_memory_and_tensor_parallel_size_reach_vllm_and_memory_is_no_part_of_the_protocol(
    policy: Policy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, memory: float | None
) -> None:
    from kpo.rollout.vllm import VLLMEngine  # noqa: PLC0415 - slow to import

    asked: dict[str, object] = {}
    monkeypatch.setattr("vllm.LLM", lambda **settings: asked.update(settings))
    save_model(policy.model, policy.tokenizer, tmp_path)
    engine = VLLMEngine(tmp_path, max_tokens=48, tensor_parallel=4, gpu_memory=memory)
    assert asked["tensor_parallel_size"] == engine.describe()["tensor_parallel_size"] == 4
    assert asked.get("gpu_memory_utilization") == memory
    assert "gpu_memory_utilization" not in engine.describe()
