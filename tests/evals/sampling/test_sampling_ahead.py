"""A job with an engine samples other runs that wait; their own jobs find them done."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from kpo.common.lock import lent
from kpo.evals import sample
from kpo.evals.sampling import sampler as sampling
from kpo.evals.sampling.unfinished import UnfinishedSamples
from kpo.model.loading import load_policy
from kpo.model.policy import Policy, save_model, weights_hash
from kpo.rollout.engine import Finished, RolloutEngine, Sampling
from kpo.rollout.transformers import TransformersEngine
from tests.evals.sampled import NAMES, SAMPLES, experiment, write_problems
from tests.kpo.models import tiny_policy

RUNS = ["grpo-s0", "grpo-s1", "grpo-s2"]


class Recorded(TransformersEngine):
    """Writes down each model that it samples, by one of its weights."""

    made: int
    sampled: list[float]

    def stream(
        self, prompts: Sequence[Sequence[int]], seeds: Sequence[int], sampling: Sampling
    ) -> Iterator[Finished]:
        Recorded.sampled.append(
            float(self.policy.model.get_input_embeddings().weight[5, 0].detach())
        )
        return super().stream(prompts, seeds, sampling)


@pytest.fixture(autouse=True)
def engines(monkeypatch: pytest.MonkeyPatch) -> type[Recorded]:
    """Every engine is a recorded one."""
    Recorded.made, Recorded.sampled = 0, []

    def make(_: Any, folder: Path, **options: Any) -> RolloutEngine:
        Recorded.made += 1
        return Recorded(load_policy(folder))

    monkeypatch.setattr(sampling, "make_engine", make)
    return Recorded


@pytest.fixture
def problems(tmp_path: Path) -> Path:
    folder = tmp_path / "problems"
    folder.mkdir()
    return write_problems(folder)


@pytest.fixture
def models(tmp_path: Path) -> dict[str, Path]:
    """A model of each run, all of one architecture."""
    folders = {}
    for seed, run in enumerate(RUNS):
        policy: Policy = tiny_policy(seed=seed)
        folders[run] = tmp_path / "runs" / run / "model"
        save_model(policy.model, policy.tokenizer, folders[run])
    return folders


def ask(queue: Path, run: str, model: Path) -> Path:
    asked = queue / run / "asked"
    asked.parent.mkdir(parents=True, exist_ok=True)
    asked.write_text(f"{model}\n")
    return asked


def sampled(queue: Path, run: str) -> list[dict[str, Any]]:
    """What a run's own job published."""
    lines = (queue / run / "samples.jsonl").read_text().splitlines()
    return [json.loads(line) for line in lines]


def manifest(queue: Path, run: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((queue / run / "manifest.json").read_text())
    return {k: v for k, v in found.items() if k not in ("started", "wall_time_s", "git")}


def own_job(
    queue: Path, run: str, model: Path, problems: Path, *, ahead: bool = True, **evaluate: Any
) -> None:
    out = queue / run / "samples.jsonl"
    sample.run(experiment(**evaluate), run, model, problems, out, queue if ahead else None)


def test_one_engine_samples_all_that_are_asked_for_as_each_would_be_alone(
    tmp_path: Path, models: dict[str, Path], problems: Path
) -> None:
    alone, queue = tmp_path / "alone", tmp_path / "evals"
    for run, model in models.items():
        own_job(alone, run, model, problems, ahead=False)
    assert (Recorded.made, len(set(Recorded.sampled))) == (3, 3)
    for run, model in models.items():
        ask(queue, run, model)
    own_job(queue, RUNS[1], models[RUNS[1]], problems)
    assert Recorded.made == 4
    assert not (queue / RUNS[0] / "samples.jsonl").exists()  # that is for its own job
    for run in (RUNS[0], RUNS[2]):
        own_job(queue, run, models[run], problems)
    assert Recorded.made == 4
    assert len(Recorded.sampled) == 6
    for run in RUNS:
        assert len(sampled(queue, run)) == len(NAMES) * SAMPLES
        assert sampled(queue, run) == sampled(alone, run)
        assert manifest(queue, run) == manifest(alone, run)
        left = {path.name for path in (queue / run).iterdir() if path.suffix != ".lock"}
        assert left == {"asked", "manifest.json", "samples.jsonl"}


def test_only_what_is_asked_for_is_sampled(
    tmp_path: Path, models: dict[str, Path], problems: Path
) -> None:
    queue = tmp_path / "evals"
    (queue / RUNS[1]).mkdir(parents=True)
    own_job(queue, RUNS[0], models[RUNS[0]], problems)
    assert len(Recorded.sampled) == 1


def test_what_changed_meanwhile_is_sampled_again(
    tmp_path: Path, models: dict[str, Path], problems: Path
) -> None:
    queue, run = tmp_path / "evals", RUNS[1]
    ask(queue, run, models[run])
    own_job(queue, RUNS[0], models[RUNS[0]], problems)
    other = tiny_policy(seed=9)
    save_model(other.model, other.tokenizer, models[run])
    own_job(queue, run, models[run], problems)
    assert (Recorded.made, len(Recorded.sampled)) == (2, 3)
    assert manifest(queue, run)["model"] == weights_hash(models[run])
    own_job(queue, run, models[run], problems, samples=2)
    assert len(sampled(queue, run)) == len(NAMES) * 2


def test_published_samples_are_not_sampled_ahead_unless_asked_for_since(
    tmp_path: Path, models: dict[str, Path], problems: Path
) -> None:
    queue, run = tmp_path / "evals", RUNS[1]
    asked = ask(queue, run, models[run])
    own_job(queue, run, models[run], problems)
    own_job(queue, RUNS[0], models[RUNS[0]], problems)
    assert len(Recorded.sampled) == 2
    later = (queue / run / "manifest.json").stat().st_mtime + 1
    os.utime(asked, (later, later))
    own_job(queue, RUNS[2], models[RUNS[2]], problems)
    assert len(Recorded.sampled) == 4


def test_what_another_job_samples_is_left_to_it(
    tmp_path: Path, models: dict[str, Path], problems: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    queue = tmp_path / "evals"
    for run in RUNS:
        ask(queue, run, models[run])
    files = UnfinishedSamples(queue / RUNS[1] / "samples.jsonl")
    free = lent

    def but_one(path: Path) -> AbstractContextManager[bool]:
        return nullcontext(False) if path == files.lock else free(path)

    monkeypatch.setattr(sampling, "lent", but_one)
    own_job(queue, RUNS[0], models[RUNS[0]], problems)
    assert len(Recorded.sampled) == 2
    assert not files.path.exists()


def test_another_architecture_is_left_to_its_own_job(
    tmp_path: Path, models: dict[str, Path], problems: Path
) -> None:
    queue, run = tmp_path / "evals", RUNS[1]
    other = tiny_policy("llama")
    save_model(other.model, other.tokenizer, models[run])
    ask(queue, run, models[run])
    own_job(queue, RUNS[0], models[RUNS[0]], problems)
    assert len(Recorded.sampled) == 1
    own_job(queue, run, models[run], problems)
    assert Recorded.made == 2


def test_what_fails_ahead_fails_in_its_own_job_only(
    tmp_path: Path,
    models: dict[str, Path],
    problems: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    queue, run = tmp_path / "evals", RUNS[1]
    (models[run] / "model.safetensors").write_bytes(b"torn")
    ask(queue, run, models[run])
    own_job(queue, RUNS[0], models[RUNS[0]], problems)
    assert len(sampled(queue, RUNS[0])) == len(NAMES) * SAMPLES
    assert "warning: sampling ahead ended" in capsys.readouterr().err
    with pytest.raises(Exception, match="model"):
        own_job(queue, run, models[run], problems)


@pytest.mark.slow
@pytest.mark.skipif(find_spec("vllm") is None, reason="vllm is not installed")
def test_vllm_samples_swapped_weights_as_an_engine_of_their_own(
    tmp_path: Path, models: dict[str, Path], problems: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.undo()
    alone, queue = tmp_path / "alone", tmp_path / "evals"
    for run in RUNS[:2]:
        own_job(alone, run, models[run], problems, ahead=False, engine="vllm")
        ask(queue, run, models[run])
    own_job(queue, RUNS[0], models[RUNS[0]], problems, engine="vllm")
    made: list[str] = []
    monkeypatch.setattr(sampling, "make_engine", made.append)
    own_job(queue, RUNS[1], models[RUNS[1]], problems, engine="vllm")
    for run in RUNS[:2]:
        assert sampled(queue, run) == sampled(alone, run)
        assert manifest(queue, run) == manifest(alone, run)


@pytest.mark.slow
def test_what_was_sampled_ahead_is_published_without_a_model() -> None:
    program = "import sys, evals.sample; assert not {'transformers', 'vllm'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", program], check=True)
