"""The engine of a section is made with the section's settings."""

import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch

from kpo.config.evaluate import Evaluate
from kpo.model.policy import save_model
from kpo.rollout.factory import make_engine
from kpo.rollout.transformers import TransformersEngine
from tests.kpo.models import tiny_policy
from tests.kpo.planning.planned import train

CPU = torch.device("cpu")


def settings(**more: Any) -> Evaluate:
    return Evaluate(benchmarks=["easy"], max_response_tokens=9, dtype="bfloat16", **more)


@pytest.mark.parametrize(("gpus", "memory"), [(0, None), (2, 0.7)])
@pytest.mark.parametrize("trains", [False, True])
def test_vllm_gets_the_gpus_and_its_share_of_their_memory(
    monkeypatch: pytest.MonkeyPatch, gpus: int, memory: float | None, trains: bool
) -> None:
    asked: dict[str, Any] = {}
    stub: Any = ModuleType("kpo.rollout.vllm")
    stub.VLLMEngine = lambda folder, **options: asked.update(folder=folder, **options)
    monkeypatch.setitem(sys.modules, stub.__name__, stub)
    more: dict[str, Any] = {"gpus": gpus, **({"gpu_memory": memory} if memory else {})}
    training = {"engine": "vllm", "dtype": "bfloat16", **more}
    section = train(**training) if trains else settings(engine="vllm", **more)
    make_engine(section, Path("m"), longest=77, device=CPU)
    assert asked == {
        "folder": Path("m"),
        "max_tokens": 77,
        "dtype": "bfloat16",
        "tensor_parallel": 2 if gpus and not trains else 1,
        "gpu_memory": memory,
        "sleep": trains,
    }


def test_transformers_samples_from_the_folder_or_from_a_policy_that_is_there(
    tmp_path: Path,
) -> None:
    policy = tiny_policy()
    save_model(policy.model, policy.tokenizer, tmp_path)
    section = settings(engine="transformers")
    engine = make_engine(section, tmp_path, longest=77, device=CPU)
    assert isinstance(engine, TransformersEngine)
    assert engine.policy.model.dtype == torch.bfloat16
    given = make_engine(section, tmp_path, longest=77, device=CPU, policy=policy)
    assert isinstance(given, TransformersEngine)
    assert given.policy is policy
