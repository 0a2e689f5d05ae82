"""What is refused and what is warned of, in which words."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from kpo.planning.machine import Device, Machine
from kpo.planning.memory import RESERVE
from kpo.planning.plan import Plan
from kpo.planning.report import Fault, Warned, report
from tests.kpo.planning.planned import PLENTY, plan

# What is refused


@pytest.fixture(autouse=True)
def _times_are_known(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is refused or warned of for its time, which takes seconds to work out."""
    monkeypatch.setattr(Plan, "operations", {"update": 1.0})
    monkeypatch.setattr(Plan, "evaluation_seconds", lambda *_: 1.0)


def faults_of(plan: Plan) -> list[str]:
    return [said for said in report(plan) if isinstance(said, Fault)]


def warnings(plan: Plan) -> list[str]:
    return [said for said in report(plan) if isinstance(said, Warned)]


def faults(folder: Path, machine: Machine = PLENTY, **train: Any) -> list[str]:
    return faults_of(plan(folder, machine, **train))


def with_memory(memory: float) -> Machine:
    return replace(PLENTY, rank=Device(memory, 1e12))


def test_what_fits_has_no_faults(tmp_path: Path) -> None:
    assert faults(tmp_path) == []


@pytest.mark.parametrize(
    ("settings", "part", "words"),
    [
        ({}, "activations", "set train.activation_checkpointing to true"),
        (
            {"activation_checkpointing": True, "max_tokens_per_microbatch": 4096},
            "LM head and temporaries",
            "lower train.max_tokens_per_microbatch",
        ),
    ],
)
def test_a_micro_batch_that_is_too_large(
    tmp_path: Path, settings: dict[str, Any], part: str, words: str
) -> None:
    usual = plan(tmp_path, **settings)
    always = sum(usual.phases["update"].values()) - usual.phases["update"][part]
    (fault,) = faults(tmp_path, with_memory(always), **settings)
    assert fault.startswith("update: ")
    assert part in fault
    assert fault.endswith(words)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"engine": "vllm", "gpus": 1, "gpu_memory": 0.95}, "lower train.gpu_memory"),
        ({"group": 64}, "lower train.group"),
    ],
)
def test_an_engine_that_is_too_large(tmp_path: Path, settings: dict[str, Any], words: str) -> None:
    machine = replace(with_memory(RESERVE + 1e7), disk=None)
    found = [fault for fault in faults(tmp_path, machine, **settings) if "rollout:" in fault]
    assert len(found) == 1
    assert "the largest part is rollout engine" in found[0]
    assert found[0].endswith(words)


def test_a_cache_without_room_for_one_sequence(tmp_path: Path) -> None:
    machine = replace(with_memory(10e9), disk=None)
    found = faults(tmp_path, machine, engine="vllm", gpus=1, gpu_memory=0.1)
    assert found == [
        "rollout engine: vLLM's share (1.00 GB) leaves a cache of 0 tokens beside the weights, too"
        " few for a sequence of 104: raise train.gpu_memory"
    ]


def test_sequences_longer_than_the_models_positions(tmp_path: Path) -> None:
    (fault,) = faults(tmp_path, max_response_tokens=200)
    assert "train.max_response_tokens is 224, more than the model's 128 positions" in fault


def test_a_disk_that_is_too_small(tmp_path: Path) -> None:
    (fault,) = faults(tmp_path, replace(PLENTY, disk=1e3))
    assert "models of 8 runs need 0.00 GB of disk" in fault


def test_a_disk_without_room_for_the_checkpoints_of_runs_at_a_time(tmp_path: Path) -> None:
    usual = plan(tmp_path)
    disk = usual.checkpoints_disk * 2.5 + usual.models_disk
    machine = replace(PLENTY, disk=disk)
    assert faults(tmp_path, replace(machine, at_once=2)) == []
    (fault,) = faults(tmp_path, replace(machine, at_once=3))
    assert fault.startswith("checkpoints of 3 runs at a time and models of 8 runs need")
    assert "let fewer run at a time" in fault


def test_vllm_that_is_not_installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    words = "engine is vllm, which is not installed: install it, or take transformers"
    evaluate = {"engine": "vllm"}
    both = faults(tmp_path, engine="vllm", evaluate=evaluate)
    assert both == [f"train.{words}", f"evaluate.{words}"]
    assert faults(tmp_path, evaluate=evaluate) == [f"evaluate.{words}"]
    assert not faults(tmp_path, replace(PLENTY, disk=None), engine="vllm")


# What is warned of


@pytest.mark.slow
def test_memory_that_is_nearly_full(tmp_path: Path) -> None:
    need = sum(plan(tmp_path).phases["update"].values())
    roomy, tight, full = (plan(tmp_path, with_memory(need / share)) for share in (0.89, 0.97, 1.01))
    assert warnings(roomy) == faults_of(roomy) == faults_of(tight) == []
    (warning,) = [words for words in warnings(tight) if words.startswith("update")]
    assert "leave less than 10% to spare" in warning
    assert warning.endswith("set train.activation_checkpointing to true")
    assert [words for words in faults_of(full) if words.startswith("update")]
    assert not [words for words in warnings(full) if words.startswith("update")]


@pytest.mark.slow
def test_runs_on_the_cpu_share_its_memory_with_each_other(tmp_path: Path) -> None:
    need = sum(plan(tmp_path).phases["update"].values()) - RESERVE
    at_once = round((RESERVE + need) / need) + 2
    machine = with_memory(1.2 * (RESERVE + need))
    fewer, many = (replace(machine, at_once=n) for n in (at_once // 2, 2 * at_once))
    assert warnings(plan(tmp_path, fewer)) == []
    (warning,) = warnings(plan(tmp_path, many))
    assert warning.startswith(f"{2 * at_once} runs at a time, for which there are cores, need")
    gpus = plan(tmp_path, many, gpus=1)
    assert not any("at a time" in words for words in warnings(gpus))


def test_vllm_gives_a_gpu_back_while_the_optimizer_works(tmp_path: Path) -> None:
    gpu = plan(tmp_path, engine="vllm", gpus=1, gpu_memory=0.25).phases
    cpu = plan(tmp_path, engine="vllm").phases
    assert [phase["rollout engine"] for phase in gpu.values()] == [0.25 * PLENTY.rank.memory, 0]
    assert cpu["rollout"]["rollout engine"] == cpu["update"]["rollout engine"] > 0
    assert set(cpu["update"]) - set(cpu["rollout"]) == {
        "gradients",
        "gathered layers",
        "activations",
        "LM head and temporaries",
    }


def test_an_evaluation_without_room_for_one_sequence(tmp_path: Path) -> None:
    machine = replace(PLENTY, evaluation=Device(10e9, 1e12), disk=None)
    evaluate = {"engine": "vllm", "gpus": 1, "gpu_memory": 0.1}
    (fault,) = faults(tmp_path, machine, evaluate=evaluate)
    assert fault == (
        "evaluation: vLLM's share (1.00 GB) leaves a cache of 0 tokens beside the weights, too few"
        " for a sequence of 104: raise evaluate.gpu_memory"
    )


@pytest.mark.slow
def test_an_evaluation_that_is_too_large(tmp_path: Path) -> None:
    evaluate = {"engine": "transformers"}
    need = plan(tmp_path, evaluate=evaluate).evaluation.memory(0.0)
    there = replace(PLENTY, evaluation=Device(need, 1e12))
    assert faults(tmp_path, there, evaluate=evaluate) == []
    (fault,) = faults(
        tmp_path, replace(PLENTY, evaluation=Device(need / 2, 1e12)), evaluate=evaluate
    )
    assert fault.startswith("evaluation: ")
    assert "do not fit into" in fault
    unknown = replace(PLENTY, evaluation=None)
    assert faults(tmp_path, unknown, evaluate=evaluate) == []


def test_a_row_that_will_not_fit_is_refused_although_the_section_would(tmp_path: Path) -> None:
    one = plan(tmp_path, prompts=16, mini_batches=16, max_tokens_per_microbatch=4096)
    narrow = sum(one.phases["update"].values())
    first = next(iter(one.experiment.methods))
    row = one.experiment.methods[first].model_copy(update={"train": {"mini_batches": 1}})
    methods = {**one.experiment.methods, first: row}
    wide = replace(one, experiment=one.experiment.model_copy(update={"methods": methods}))
    machine = with_memory(narrow * 1.001)
    assert not faults_of(replace(one, machine=machine))
    assert faults_of(replace(wide, machine=machine))
