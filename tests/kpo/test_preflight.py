"""The command: what it states of the committed experiments, on machines here and planned for."""

import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoConfig

from kpo.common.text import duration
from kpo.planning.passes import Cost, cost
from kpo.planning.plan import Plan
from kpo.planning.report import report
from kpo.preflight import main
from tests.kpo.planning.planned import plan

CONFIGS = Path("workflow/config")
MEASURED: dict[Any, Cost] = {}


@pytest.fixture(autouse=True)
def _measured_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """A pass is measured once, however many tests ask what it costs."""

    def once(config: Any, lengths: list[tuple[int, int]], **how: Any) -> Cost:
        key = config.to_json_string(), *lengths, *sorted(how.items())
        if key not in MEASURED:
            MEASURED[key] = cost(config, lengths, **how)
        return MEASURED[key]

    monkeypatch.setattr("kpo.planning.plan.cost", once)


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


@pytest.mark.slow
def test_a_machine_here_is_measured(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    command(monkeypatch, "--config", str(CONFIGS / "mini.yaml"))
    said = capsys.readouterr().out
    assert "mini: 305,184 parameters" in said
    assert "TFLOP/s" in said
    assert "\n2 steps: at most" in said


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
    assert "215 h for all 18 runs" in said.out
    assert "144 h for all 19 one after the other\ntogether: at most 360 h" in said.out


def text(plan: Plan) -> str:
    return "\n".join(report(plan))


@pytest.mark.slow
def test_steps_from_epochs(tmp_path: Path) -> None:
    epochs = plan(tmp_path, steps=None, epochs=3)  # of mini.yaml's 256 problems, 8 a step
    assert "\n96 steps (3 x 256 problems): at most" in text(epochs)
    unknown = text(replace(epochs, problems=None))
    assert "steps: 3 x problems / 8; how many problems train has is not known here: for" in unknown
    a_run = 96 * sum(epochs.seconds.values())
    assert f"at most {duration(a_run)} a run" in text(epochs)
    assert "one after the other" in unknown  # of 1,000 problems, all the same
    assert "\ntogether: " not in unknown


@pytest.mark.slow
def test_the_evaluation_counts(tmp_path: Path) -> None:
    found: Plan = plan(tmp_path)
    seconds = found.evaluation_seconds(1e12)
    a_run = 2 * sum(found.seconds.values())
    hours = 8 * a_run + 9 * seconds  # 8 runs, and the base policy
    assert f"together: at most {duration(hours)}" in text(found)


@pytest.mark.slow
def test_what_is_not_known_of_the_evaluation_is_said(tmp_path: Path) -> None:
    found = plan(tmp_path)
    unknown = text(replace(found, benchmarks={"aime24": 30, "mine": None}))
    assert "9 models on 30 problems" in unknown
    assert "  not counted, as their sizes are not known here: mine" in unknown
    elsewhere = replace(found, machine=replace(found.machine, evaluation=None))
    assert "  on another kind of device than training: its memory and time are" in text(elsewhere)
