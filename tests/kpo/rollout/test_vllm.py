"""vLLM in process: equal to the model it serves, and to its weights after a sync."""

from __future__ import annotations

import weakref
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
import torch._dynamo.utils
from torch import Tensor

from kpo.distributed.sharding import gathered_weights
from kpo.model.policy import Policy, save_model
from kpo.rollout.engine import RolloutEngine, Sampling
from kpo.rollout.transformers import TransformersEngine
from tests.kpo.models import tiny_policy
from tests.kpo.rollout.mismatch import PROMPTS, SAMPLING, gap
from tests.kpo.trainer.runs import tiny_trainer

pytestmark = [pytest.mark.slow, pytest.mark.vllm]
GREEDY = Sampling(samples=1, max_tokens=16, temperature=0.0)
LONG = [5 + i % 80 for i in range(300)]  # more than two of the blocks that prefixes are cached in


@pytest.fixture(scope="module")
def policy() -> Policy:
    policy = tiny_policy(seed=3)
    policy.model.config.max_position_embeddings = 512  # room for LONG
    return policy


@pytest.fixture(scope="module")
def folder(policy: Policy, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder: Path = tmp_path_factory.mktemp("model")
    save_model(policy.model, policy.tokenizer, folder)
    return folder


@pytest.fixture(scope="module")
def engine(folder: Path) -> RolloutEngine:
    from kpo.rollout.vllm import VLLMEngine  # noqa: PLC0415 - slow to import

    return VLLMEngine(folder, max_tokens=400)


@pytest.fixture(scope="module")
def half(folder: Path) -> Any:
    """In half precision; kept as long as `engine`, for the end of one ends the other's groups."""
    from kpo.rollout.vllm import VLLMEngine  # noqa: PLC0415 - slow to import

    return VLLMEngine(folder, max_tokens=48, dtype="bfloat16")


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


def test_sample_j_has_the_seed_plus_j(engine: RolloutEngine, policy: Policy) -> None:
    engine.sync_weights(policy)
    for prompt in ([5, 6, 7], LONG):
        (group,) = engine.generate([prompt], [70], SAMPLING)
        for j, response in enumerate(group):
            ((alone,),) = engine.generate([prompt], [70 + j], Sampling(samples=1, max_tokens=24))
            assert response.tokens == alone.tokens
            assert response.logprobs == pytest.approx(alone.logprobs, abs=1e-4)


def test_log_probs_wait_for_no_compiler(engine: RolloutEngine) -> None:
    torch._dynamo.reset()
    frames = Counter(torch._dynamo.utils.counters["frames"])
    assert engine.generate(PROMPTS, [1, 2, 3], SAMPLING)[0][0].logprobs
    assert Counter(torch._dynamo.utils.counters["frames"]) == frames


def test_a_stream_gives_what_is_finished_and_others_go_in(
    engine: Any, policy: Policy, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two prompts in the engine at a time, and another question between any two steps."""
    engine.sync_weights(policy)
    prompts, seeds = PROMPTS * 3, list(range(0, 900, 100))
    expected = [engine.generate([p], [s], SAMPLING)[0] for p, s in zip(prompts, seeds, strict=True)]
    monkeypatch.setattr("kpo.rollout.vllm.MAX_RUNNING", SAMPLING.samples // 2)
    sizes, groups = [], {}
    for finished in engine.stream(prompts, seeds, SAMPLING):
        sizes.append(engine.llm.llm_engine.get_num_unfinished_requests())
        groups.update(finished)
        ((between,),) = engine.generate([[5, 6, 7]], [0], Sampling(samples=1, max_tokens=24))
        assert between.tokens == expected[0][0].tokens
    assert len(sizes) > 3
    assert max(sizes) <= SAMPLING.samples
    for i, group in enumerate(expected):
        assert [r.tokens for r in groups[i]] == [r.tokens for r in group]


def test_a_stream_that_is_left_takes_its_requests_with_it(engine: Any, policy: Policy) -> None:
    engine.sync_weights(policy)
    stream = engine.stream(PROMPTS * 4, list(range(12)), SAMPLING)
    next(stream)
    stream.close()
    assert engine.llm.llm_engine.get_num_unfinished_requests() == 0
    assert engine.arrived == {}
    assert len(engine.generate(PROMPTS, [1, 2, 3], SAMPLING)) == 3


def test_synced_weights_are_sampled(engine: RolloutEngine) -> None:
    other = tiny_policy(seed=8)
    assert gap(engine, other) > 0.1
    engine.sync_weights(other)
    assert gap(engine, other) < 1e-4


def test_prefixes_cached_under_other_weights_are_forgotten(
    engine: RolloutEngine, policy: Policy
) -> None:
    outputs = []
    for other in (policy, tiny_policy(seed=8), policy):
        engine.sync_weights(other)
        ((found,),) = engine.generate([LONG], [0], GREEDY)
        ((expected,),) = TransformersEngine(other).generate([LONG], [0], GREEDY)
        assert found.tokens == expected.tokens
        outputs.append(found.tokens)
    assert outputs[0] != outputs[1]


def tracked(parts: list[weakref.ref[Tensor]], alive: list[int]) -> Callable[[Any], Any]:
    """`gathered_weights` of a sharded model, as each weight is a new tensor; counts the living."""

    def gather(model: Any) -> Iterator[tuple[str, Tensor]]:
        for name, weight in gathered_weights(model):
            whole = weight.clone()
            parts.append(weakref.ref(whole))
            alive.append(sum(part() is not None for part in parts))
            yield name, whole
            del whole

    return gather


def test_a_sync_never_holds_more_than_a_layers_weights(
    engine: RolloutEngine, policy: Policy, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At most the embedding and the three parts of a fused projection, of 25 weights."""
    parts: list[weakref.ref[Tensor]] = []
    alive: list[int] = []
    monkeypatch.setattr("kpo.rollout.vllm.gathered_weights", tracked(parts, alive))
    engine.sync_weights(policy)
    assert len(alive) == len(list(policy.model.parameters())) == 25
    assert max(alive) <= 4
    assert not any(part() is not None for part in parts)
    assert gap(engine, policy) < 1e-4


def test_half_precision_engine_takes_float32_weights(half: Any) -> None:
    masters = tiny_policy(seed=8)
    assert gap(half, masters) > 1
    half.sync_weights(masters)
    rounded = tiny_policy(seed=8)
    rounded.model.bfloat16()
    assert 1e-4 < gap(half, rounded) < 0.2
    held = half.llm.apply_model(lambda model: model.model.embed_tokens.weight)[0]
    own = rounded.model.get_input_embeddings().weight
    assert torch.equal(held[: len(own)], own)  # rounded once, and to the nearest


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


class FakeLLM:
    """Records what vLLM is asked for."""

    calls: list[Any]

    def __init__(self, **settings: Any) -> None:
        FakeLLM.calls = [settings]

    def __getattr__(self, name: str) -> Callable[..., None]:
        def call(*arguments: Any, **options: Any) -> None:
            options.pop("kwargs", None)
            told = [value for value in (*arguments, *options.values()) if not callable(value)]
            FakeLLM.calls.append((name, *told))

        return call


SYNC = [("collective_rpc", "reload_weights"), ("apply_model",), ("reset_prefix_cache",)]
ASLEEP = [
    ("sleep", 2),
    ("wake_up", ["weights"]),
    *SYNC[:2],
    ("wake_up", ["kv_cache"]),
    SYNC[2],
    ("sleep", 2),
]


@pytest.mark.parametrize(
    ("gpu", "sleep", "calls"), [(True, True, ASLEEP), (True, False, SYNC), (False, True, SYNC)]
)
def test_a_gpu_engine_sleeps_until_weights_come_and_when_told_to(
    *,
    policy: Policy,
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    gpu: bool,
    sleep: bool,
    calls: list[Any],
) -> None:
    from vllm.platforms import current_platform  # noqa: PLC0415 - slow to import

    from kpo.rollout.vllm import VLLMEngine  # noqa: PLC0415 - slow to import

    monkeypatch.setattr("vllm.LLM", FakeLLM)
    monkeypatch.setattr(current_platform, "is_sleep_mode_available", lambda: gpu)
    engine = VLLMEngine(folder, max_tokens=48, sleep=sleep)
    engine.sync_weights(policy)
    engine.sleep()
    settings, *asked = FakeLLM.calls
    assert settings["enable_sleep_mode"] == (gpu and sleep)
    assert asked == calls
    assert "enable_sleep_mode" not in engine.describe()


@pytest.mark.parametrize("memory", [None, 0.5])
def test_memory_and_tensor_parallel_size_reach_vllm_and_memory_is_no_part_of_the_protocol(
    folder: Path, monkeypatch: pytest.MonkeyPatch, memory: float | None
) -> None:
    from kpo.rollout.vllm import VLLMEngine  # noqa: PLC0415 - slow to import

    monkeypatch.setattr("vllm.LLM", FakeLLM)
    engine = VLLMEngine(folder, max_tokens=48, tensor_parallel=4, gpu_memory=memory)
    asked = FakeLLM.calls[0]
    assert asked["tensor_parallel_size"] == engine.describe()["tensor_parallel_size"] == 4
    assert asked.get("gpu_memory_utilization") == memory
    assert "gpu_memory_utilization" not in engine.describe()
    assert "distributed_executor_backend" not in asked


@pytest.mark.parametrize("cpu", [True, False])
def test_prompts_are_read_in_chunks_where_that_can_be_seeded(
    folder: Path, monkeypatch: pytest.MonkeyPatch, *, cpu: bool
) -> None:
    from vllm.platforms import current_platform  # noqa: PLC0415 - slow to import

    from kpo.rollout.vllm import VLLMEngine  # noqa: PLC0415 - slow to import

    monkeypatch.setattr("vllm.LLM", FakeLLM)
    monkeypatch.setattr(current_platform, "is_cpu", lambda: cpu)
    VLLMEngine(folder, max_tokens=48)
    assert FakeLLM.calls[0]["enable_chunked_prefill"] == (not cpu)
