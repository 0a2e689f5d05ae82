"""A run from the command line's side: what it records, and what it goes on from."""

import json
from pathlib import Path
from typing import Any

import pytest

from kpo.common.cli import UserError
from kpo.common.manifest import trainer_code
from kpo.config.experiment import Experiment
from kpo.config.train import Train
from kpo.model.policy import save_model, weights_hash
from kpo.trainer import run as train
from tests.kpo.models import tiny_policy

SETTINGS: dict[str, Any] = {
    "experiment": "test",
    "seeds": [0],
    "prompt": "plain",
    "task": {"train": 4, "test": 1},
    "policy": {"kind": "scratch"},
    "train": {
        "problems": "train",
        "steps": 2,
        "checkpoint_every": 1,
        "prompts": 2,
        "group": 2,
        "mini_batches": 1,
        "max_prompt_tokens": 24,
        "max_response_tokens": 4,
        "lr": 1e-3,
    },
    "evaluate": {"benchmarks": ["easy"], "max_response_tokens": 4},
    "methods": {"grpo": {"objective": "grpo", "label": "GRPO"}},
}


class StopHereError(Exception):
    """Stands for whatever interrupts a run."""


class Run:
    """A run of two prompts on a random model, in a folder of its own."""

    def __init__(self, folder: Path) -> None:
        self.base, self.problems, self.out = (folder / n for n in ("base", "problems", "run"))
        self.problems.mkdir()
        self.make_base(0)
        self.write_problems("2")

    def make_base(self, seed: int) -> None:
        policy = tiny_policy(seed=seed)
        save_model(policy.model, policy.tokenizer, self.base)

    def write_problems(self, gold: str) -> None:
        rows = ({"id": str(i), "problem": f"{i}+1=?", "answer": gold} for i in range(4))
        text = "".join(json.dumps(row) + "\n" for row in rows)
        (self.problems / "train.jsonl").write_text(text)

    def train(self, experiment: dict[str, Any] = SETTINGS) -> dict[str, Any]:
        """Train to the end; the manifest."""
        valid = Experiment.model_validate(experiment)
        train.run(valid, "grpo", 0, self.base, self.problems, self.out)
        manifest: dict[str, Any] = json.loads((self.out / "manifest.json").read_text())
        return manifest

    def interrupt(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Train, and stop at its end."""

        def stop(*_: object) -> None:
            raise StopHereError

        with monkeypatch.context() as patch, pytest.raises(StopHereError):
            patch.setattr(train, "save_sharded", stop)
            self.train()
        assert list((self.out / ".checkpoints").glob("step-*"))


@pytest.fixture
def run(tmp_path: Path) -> Run:
    return Run(tmp_path)


@pytest.mark.slow
def test_a_manifest_holds_all_that_a_run_was_made_from(run: Run) -> None:
    manifest = run.train()
    experiment = Experiment.model_validate(SETTINGS)
    assert manifest["settings"] == json.loads(json.dumps(experiment.section("train")))
    assert "method" not in manifest["settings"]
    assert manifest["code"] == trainer_code()
    assert manifest["base"] == weights_hash(run.base)
    assert manifest["weights"] == weights_hash(run.out / "model")
    before = manifest["data"]
    assert manifest["training_set"]["rows"] == manifest["training_set"]["problems"] == 4
    assert manifest["training_set"]["problems_sha256"] == before
    assert (run.out / "dropped.jsonl").read_text() == ""
    run.write_problems("3")
    assert run.train()["data"] != before


def test_a_manifest_says_that_nothing_was_learnt(
    run: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    learning = run.train()["learning"]  # a random model, of which no response is right
    assert learning["still_steps"] == learning["steps"] == SETTINGS["train"]["steps"]
    assert learning["moved_weights"] == 0
    assert "warning: this run learnt nothing: none of its" in capsys.readouterr().err


@pytest.mark.slow
def test_an_interrupted_run_goes_on(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    run.interrupt(monkeypatch)
    run.train()
    assert not (run.out / ".checkpoints").exists()


@pytest.mark.slow
def test_a_run_does_not_go_on_from_another_base(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    run.interrupt(monkeypatch)
    was = weights_hash(run.base)
    run.make_base(1)
    with pytest.raises(UserError, match=rf'inputs\.base was "{was}" and is'):
        run.train()


@pytest.mark.slow
def test_a_run_does_not_go_on_with_other_problems(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    run.interrupt(monkeypatch)
    run.write_problems("3")  # the prompts stay, the golds do not
    with pytest.raises(UserError, match=r"inputs\.data was"):
        run.train()


def test_a_run_does_not_go_on_with_an_objective_of_other_code(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    run.interrupt(monkeypatch)
    monkeypatch.setattr("kpo.config.method.code_hash", lambda module: "edited")
    with pytest.raises(UserError, match=r'method\.code was .* and is "edited"'):
        run.train()


def test_a_run_depends_on_every_training_setting_but_five() -> None:
    """A setting that is left out of these would rerun nothing where it changes."""
    section = Experiment.model_validate(SETTINGS).section("train", "grpo")
    left_out = {"threads", "checkpoint_every", "stall_s", "gpu_memory", "tracker"}
    at_default = {"nodes", "verl"}  # said only where they are not: stored runs have none
    assert section["train"].keys() == Train.model_fields.keys() - left_out - at_default


@pytest.mark.parametrize("deterministic", [False, True])
def test_deterministic_kernels_are_asked_for_before_ranks_meet(
    run: Run, monkeypatch: pytest.MonkeyPatch, *, deterministic: bool
) -> None:
    done: list[Any] = []

    def join(**settings: Any) -> None:
        done.append(settings["stall_s"])
        raise StopHereError

    monkeypatch.setattr(train, "ask_for_determinism", lambda: done.append("asked"))
    monkeypatch.setattr(train, "join", join)
    settings = {**SETTINGS["train"], "deterministic": deterministic, "stall_s": 77.0}
    with pytest.raises(StopHereError):
        run.train({**SETTINGS, "train": settings})
    assert done == [*(["asked"] if deterministic else []), 77.0]


def test_rewards_are_by_the_grading_of_the_settings_and_of_a_task_no_worker_waits(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: dict[str, Any] = {}

    def grader(**settings: Any) -> None:
        asked.update(settings)
        raise StopHereError

    monkeypatch.setattr(train, "Grader", grader)
    with pytest.raises(StopHereError):
        length = {**SETTINGS["train"], "max_prompt_tokens": 100}
        grading = {"rule": "math_verify", "timeout_s": 3.0, "memory_mb": 777}
        run.train({**SETTINGS, "prompt": "official", "train": length, "grading": grading})
    asked.pop("workers")
    assert asked == {**grading, "answers": "boxed-or-hashes", "ready": 0}


def test_scoring_in_float32_beside_a_sampler_in_half(run: Run) -> None:
    """The trainer's passes are exact to rounding in float32; the sampler's are not."""
    settings = {**SETTINGS["train"], "dtype": "bfloat16"}
    manifest = run.train({**SETTINGS, "train": {**settings, "scoring_dtype": "float32"}})
    (row, *_) = (run.out / "metrics.jsonl").read_text().splitlines()
    metrics = json.loads(row)
    assert metrics["logprob_mismatch_mean"] > 1e-4
    assert metrics["noise_max"] < 1e-5
    assert manifest["engine"]["dtype"] == "bfloat16"
    assert json.loads((run.out / "model" / "config.json").read_text())["dtype"] == "bfloat16"
