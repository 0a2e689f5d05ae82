"""Machines: planned ones, missing GPUs, and the rate of this one."""

from pathlib import Path
from typing import Any

import pytest
import torch

from kpo.common.cli import UserError
from kpo.planning.machine import Device, Machine, machine_for, matrix_rate
from tests.kpo.models import tiny_policy
from tests.kpo.planning.planned import experiment


def test_ranks_on_the_cpu_share_its_memory(tmp_path: Path) -> None:
    plan = machine_for(experiment(tmp_path, ranks=2), None, memory_gb=16.0, tflops=3.0)
    assert plan == Machine(Device(8e9, 3e12), evaluation=Device(16e9, 3e12))
    plan = machine_for(experiment(tmp_path, gpus=2), None, memory_gb=16.0, tflops=3.0)
    assert plan.rank.memory == 16e9
    assert plan.evaluation is None  # on the CPU, of which the figures say nothing


@pytest.mark.parametrize(
    ("settings", "cores", "at_once"),
    [
        ({}, 2, 2),
        ({}, 64, 8),
        ({"threads": 2}, 5, 2),
        ({"threads": 2, "ranks": 2}, 3, 1),
        ({"ranks": 2, "nodes": 2}, 5, 2),  # of another machine's cores nothing is known
    ],
)
def test_as_many_runs_at_once_as_there_are_cores_for(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    settings: dict[str, Any],
    cores: int,
    at_once: int,
) -> None:
    monkeypatch.setattr("os.sched_getaffinity", lambda _: set(range(cores)))
    monkeypatch.setattr("kpo.planning.machine.matrix_rate", lambda *_: 1e12)
    found = machine_for(experiment(tmp_path, **settings), None, None, None)
    assert found.at_once == at_once  # of mini.yaml's 8


def test_the_evaluation_has_a_rate_of_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []

    def rate(_: Any, dtype: str, *__: Any) -> float:
        asked.append(dtype)
        return 1.0

    monkeypatch.setattr("kpo.planning.machine.matrix_rate", rate)
    settings = experiment(tmp_path)
    machine_for(settings, None, None, None)
    assert asked == ["float32"]  # measured once where nothing differs
    half = settings.evaluate.model_copy(update={"dtype": "bfloat16"})
    machine_for(settings.model_copy(update={"evaluate": half}), None, None, None)
    assert asked == ["float32", "float32", "bfloat16"]


def test_gpus_that_only_the_evaluation_wants(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("torch.cuda.device_count", lambda: 1)
    settings = experiment(tmp_path, gpus=1)
    evaluate = settings.evaluate.model_copy(update={"gpus": 2})
    with pytest.raises(UserError, match=r"evaluate\.gpus is 2, but torch sees 1"):
        machine_for(settings.model_copy(update={"evaluate": evaluate}), None, None, None)


def test_the_rate_is_that_of_a_product() -> None:
    config = tiny_policy().model.config
    config.hidden_size = config.intermediate_size = 256
    rate = matrix_rate(config, "float32", torch.device("cpu"), 1, seconds=0.05)
    assert 1e8 < rate < 1e13
