"""What an evaluation needs, and what of it is refused."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from kpo.planning.evaluation_footprint import EvaluationFootprint
from kpo.planning.footprint import size_of
from kpo.planning.machine import Device
from kpo.planning.sampling_footprint import RESERVE
from tests.kpo.config.experiments import HUB, load
from tests.kpo.models import tiny_policy

DEVICE = Device(memory=10e9, rate=1e12)


def evaluation(folder: Path, **settings: Any) -> EvaluationFootprint:
    tree = {**HUB, "evaluate": {**HUB["evaluate"], **settings}}
    config = tiny_policy().model.config
    counts: dict[str, int | None] = {"aime24": 30, "math500": 500}
    return EvaluationFootprint(load(folder, tree), config, size_of(config), DEVICE, counts)


def test_time_grows_with_problems_samples_and_lengths(tmp_path: Path) -> None:
    usual = evaluation(tmp_path)
    assert usual.models == 5  # two methods, two seeds, the base policy
    seconds = usual.seconds
    assert seconds is not None
    assert evaluation(tmp_path, samples=32).seconds == pytest.approx(2 * seconds)
    twice = replace(usual, problems={"aime24": 60, "math500": 1000})
    assert twice.seconds == pytest.approx(2 * seconds)
    longer = evaluation(tmp_path, max_response_tokens=184).seconds
    assert longer is not None
    assert longer > 1.9 * seconds
    one_gpu, two_gpus = (evaluation(tmp_path, gpus=n).seconds for n in (1, 2))
    assert one_gpu is not None
    assert two_gpus == pytest.approx(one_gpu / 2)


def test_what_is_not_known(tmp_path: Path) -> None:
    found = replace(evaluation(tmp_path), problems={"aime24": 30, "mine": None})
    assert (found.unknown, found.total_problems) == (["mine"], 30)
    nowhere = replace(found, device=None)
    assert nowhere.seconds is None
    assert list(nowhere.faults()) == []


def test_vllm_lays_weights_and_cache_over_the_gpus(tmp_path: Path) -> None:
    one, two = (evaluation(tmp_path, gpus=n, gpu_memory=0.5).sampler for n in (1, 2))
    assert one.memory(10e9) == two.memory(10e9) == 5e9
    assert one.weights == 2 * two.weights == 4 * one.size.parameters
    room = 5e9 - RESERVE
    assert two.cache_tokens(10e9) == int((room - two.weights) / (4 * two.size.cache / 2))


def test_a_cache_without_room_for_one_sequence(tmp_path: Path) -> None:
    (fault,) = evaluation(tmp_path, gpus=1, gpu_memory=0.1).faults()
    assert fault == (
        "evaluation: vLLM's share (1.00 GB) leaves a cache of 0 tokens beside the weights, too few"
        " for a sequence of 104: raise evaluate.gpu_memory"
    )


def test_an_engine_that_is_too_large(tmp_path: Path) -> None:
    found = evaluation(tmp_path, engine="transformers")
    need = found.sampler.memory(0.0)
    batch = 256 * 104 * 4 * found.size.cache
    assert need == 3 * 4 * found.size.parameters + batch  # weights, and fused copies twice
    assert list(replace(found, device=Device(need, 1e12)).faults()) == []
    (fault,) = replace(found, device=Device(need / 2, 1e12)).faults()
    assert fault.startswith("evaluation: ")
    assert "do not fit into" in fault
