"""The command: what it states, and what it refuses in which words."""

import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from transformers import AutoConfig

from kpo.config.experiment import Experiment, load_experiment
from kpo.planning.evaluation_footprint import EvaluationFootprint
from kpo.planning.footprint import Footprint, size_of
from kpo.planning.machine import Device, Machine
from kpo.planning.report import duration, report
from kpo.planning.sampling_footprint import RESERVE
from kpo.preflight import Preflight, main
from kpo.tasks.datasets.counts import benchmark_problems
from tests.kpo.models import tiny_policy

CONFIGS = Path("workflow/config")
PLENTY = Machine(1e12, 1e12, disk=1e12, at_once=1, evaluation=Device(1e12, 1e12))


def experiment(folder: Path, **train: Any) -> Experiment:
    path = folder / "small.yaml"
    content = {"extends": str((CONFIGS / "mini.yaml").resolve()), "experiment": "small"}
    path.write_text(yaml.safe_dump({**content, "train": train}))
    return load_experiment(path)


def preflight(folder: Path, machine: Machine = PLENTY, **train: Any) -> Preflight:
    settings = experiment(folder, **train)
    config = tiny_policy().model.config
    size, counts = size_of(config), benchmark_problems(settings)
    return Preflight(
        settings,
        Footprint(settings.train, config, size),
        machine,
        problems=256,
        evaluation=EvaluationFootprint(settings, config, size, machine.evaluation, counts),
    )


def command(monkeypatch: pytest.MonkeyPatch, *args: str) -> None:
    monkeypatch.setattr(sys, "argv", ["kpo.preflight", *args])
    main()


# The committed experiments


@pytest.fixture
def _no_hub(monkeypatch: pytest.MonkeyPatch) -> None:
    def unreachable(*_: Any, **__: Any) -> None:
        raise AssertionError("asked the hub")

    monkeypatch.setattr(AutoConfig, "from_pretrained", unreachable)
    monkeypatch.setattr("socket.getaddrinfo", unreachable)
    monkeypatch.delenv("KPO_TRAIN_PROBLEMS", raising=False)
    monkeypatch.delenv("KPO_BENCHMARKS", raising=False)


@pytest.mark.slow
@pytest.mark.usefixtures("_no_hub")
@pytest.mark.parametrize(
    ("name", "memory_gb", "parameters", "steps"),
    [
        ("paper", "80", "4,022,468,096", "1,087 steps (2 x 17,398 problems)"),
        ("single-gpu", "24", "596,049,920", "100 steps"),
    ],
)
def test_the_large_experiments_fit_their_cards(
    name: str,
    memory_gb: str,
    parameters: str,
    steps: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    options = "--memory-gb", memory_gb, "--device-tflops", "100"
    command(monkeypatch, "--config", str(CONFIGS / f"{name}.yaml"), *options)
    said = capsys.readouterr()
    assert f"{name}: {parameters} parameters" in said.out
    assert f"\n{steps}: at most" in said.out
    assert "evaluation: 19 models on 1,547 problems x 16 responses" in said.out
    assert not said.err


@pytest.mark.slow
@pytest.mark.usefixtures("_no_hub")
def test_what_training_drops_is_stated_and_not_counted(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    rows = [f'{{"problem": "{i}+1=?", "answer": "{i + 1}"}}\n' for i in range(64)]
    (tmp_path / "problems.jsonl").write_text("".join(rows * 3))
    monkeypatch.setenv("KPO_TRAIN_PROBLEMS", str(tmp_path / "problems.jsonl"))
    options = "--memory-gb", "80", "--device-tflops", "100"
    command(monkeypatch, "--config", str(CONFIGS / "paper.yaml"), *options)
    said = capsys.readouterr().out
    assert "\n4 steps (2 x 64 problems): at most" in said
    assert said.splitlines()[-1] == (
        "dapo-math-17k: 64 of 192 rows are trained on; dropped: 128 duplicates; prompts that are"
        " too long not counted"
    )


@pytest.mark.slow
@pytest.mark.usefixtures("_no_hub")
def test_the_papers_experiment_does_not_fit_a_small_card(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    options = "--memory-gb", "24", "--device-tflops", "100"
    with pytest.raises(SystemExit) as left:
        command(monkeypatch, "--config", str(CONFIGS / "paper.yaml"), *options)
    assert left.value.code == 2
    said = capsys.readouterr()
    assert "memory of a rank, of 24.00 GB" in said.out
    assert "do not fit into 24.00 GB; the largest part is AdamW moments (16.09 GB)" in said.err


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
@pytest.mark.parametrize("options", [[], ["--memory-gb", "80"]])
def test_a_missing_gpu_is_refused_before_anything_is_measured(
    options: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as left:
        command(monkeypatch, "--config", str(CONFIGS / "paper.yaml"), *options)
    assert left.value.code == 2
    said = capsys.readouterr()
    assert not said.out
    assert said.err.startswith("error: train.gpus is 2, but torch sees 0: lower it, or plan")


def test_a_machine_here_is_measured(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    command(monkeypatch, "--config", str(CONFIGS / "mini.yaml"))
    said = capsys.readouterr().out
    assert "mini: 305,184 parameters" in said
    assert "TFLOP/s" in said
    assert "\n2 steps: at most" in said


# What is refused


def faults(folder: Path, machine: Machine = PLENTY, **train: Any) -> list[str]:
    return preflight(folder, machine, **train).faults()


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
    usual = preflight(tmp_path, **settings)
    always = sum(usual.phases["update"].values()) - usual.phases["update"][part]
    (fault,) = faults(tmp_path, replace(PLENTY, memory=always), **settings)
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
    machine = replace(PLENTY, memory=RESERVE + 1e7, disk=None)
    found = [fault for fault in faults(tmp_path, machine, **settings) if "rollout:" in fault]
    assert len(found) == 1
    assert "the largest part is rollout engine" in found[0]
    assert found[0].endswith(words)


def test_a_cache_without_room_for_one_sequence(tmp_path: Path) -> None:
    machine = replace(PLENTY, memory=10e9, disk=None)
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
    assert "models of 7 runs need 0.00 GB of disk" in fault


def test_a_disk_without_room_for_the_checkpoints_of_runs_at_a_time(tmp_path: Path) -> None:
    found = preflight(tmp_path).footprint
    machine = replace(PLENTY, disk=found.checkpoints() * 2.5 + found.models(7))
    assert faults(tmp_path, replace(machine, at_once=2)) == []
    (fault,) = faults(tmp_path, replace(machine, at_once=3))
    assert fault.startswith("checkpoints of 3 runs at a time and models of 7 runs need")
    assert "let fewer run at a time" in fault


def test_vllm_that_is_not_installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    words = "engine is vllm, which is not installed: install it, or take transformers"
    assert faults(tmp_path, engine="vllm") == [f"train.{words}", f"evaluate.{words}"]
    assert faults(tmp_path) == [f"evaluate.{words}"]
    assert not faults(tmp_path, replace(PLENTY, disk=None), engine="vllm")


# What is warned of


def test_memory_that_is_nearly_full(tmp_path: Path) -> None:
    need = sum(preflight(tmp_path).phases["update"].values())
    roomy, tight, full = (
        preflight(tmp_path, replace(PLENTY, memory=need / share)) for share in (0.89, 0.97, 1.01)
    )
    assert roomy.warnings() == roomy.faults() == tight.faults() == []
    (warning,) = [words for words in tight.warnings() if words.startswith("update")]
    assert "leave less than 10% to spare" in warning
    assert warning.endswith("set train.activation_checkpointing to true")
    assert [words for words in full.faults() if words.startswith("update")]
    assert not [words for words in full.warnings() if words.startswith("update")]


@pytest.mark.slow
@pytest.mark.usefixtures("_no_hub")
def test_a_card_of_16_gb_is_nearly_full(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    options = "--memory-gb", "16", "--device-tflops", "80"
    command(monkeypatch, "--config", str(CONFIGS / "single-gpu.yaml"), *options)
    said = capsys.readouterr()
    assert "warning: rollout: 15.55 GB of 16.00 GB leave less than 10% to spare" in said.err
    assert said.err.endswith("lower train.gpu_memory\n")
    assert "212 h for all 18 runs" in said.out
    assert "145 h for all 19 one after the other\ntogether: at most 357 h" in said.out


def test_runs_on_the_cpu_share_its_memory_with_each_other(tmp_path: Path) -> None:
    need = sum(preflight(tmp_path).phases["update"].values()) - RESERVE
    at_once = round((RESERVE + need) / need) + 2
    machine = replace(PLENTY, memory=1.2 * (RESERVE + need))
    fewer, many = (replace(machine, at_once=n) for n in (at_once // 2, 2 * at_once))
    assert preflight(tmp_path, fewer).warnings() == []
    (warning,) = preflight(tmp_path, many).warnings()
    assert warning.startswith(f"{2 * at_once} runs at a time, for which there are cores, need")
    gpus = preflight(tmp_path, many, gpus=1)
    assert not any("at a time" in words for words in gpus.warnings())


def test_vllm_gives_a_gpu_back_while_the_optimizer_works(tmp_path: Path) -> None:
    gpu = preflight(tmp_path, engine="vllm", gpus=1, gpu_memory=0.25).phases
    cpu = preflight(tmp_path, engine="vllm").phases
    assert [phase["rollout engine"] for phase in gpu.values()] == [0.25 * PLENTY.memory, 0]
    assert cpu["rollout"]["rollout engine"] == cpu["update"]["rollout engine"] > 0
    assert set(cpu["update"]) - set(cpu["rollout"]) == {
        "gradients",
        "gathered layers",
        "activations",
        "LM head and temporaries",
    }


# The time


def test_twice_the_rate_or_the_ranks_halve_the_time(tmp_path: Path) -> None:
    usual = preflight(tmp_path).seconds
    fast = preflight(tmp_path, replace(PLENTY, rate=2e12)).seconds
    assert fast == {phase: pytest.approx(seconds / 2) for phase, seconds in usual.items()}
    both = preflight(tmp_path, ranks=2).seconds["rollout"]
    assert both == pytest.approx(usual["rollout"] / 2)


def test_steps_from_epochs(tmp_path: Path) -> None:
    epochs = preflight(tmp_path, steps=None, epochs=3)  # of mini.yaml's 256 problems, 8 a step
    assert "\n96 steps (3 x 256 problems): at most" in report(epochs)
    unknown = report(replace(epochs, problems=None))
    assert "steps: 3 x problems / 8; how many problems train has is not known here: for" in unknown
    assert epochs.run_seconds == pytest.approx(96 * epochs.step)
    assert "one after the other" in unknown  # of 1,000 problems, all the same
    assert "\ntogether: " not in unknown


def test_the_evaluation_counts(tmp_path: Path) -> None:
    found = preflight(tmp_path)
    seconds = found.evaluation.seconds
    assert seconds is not None
    assert found.run_seconds is not None
    hours = 7 * found.run_seconds + 8 * seconds  # 7 runs, and the base policy
    assert f"together: at most {duration(hours)}" in report(found)
