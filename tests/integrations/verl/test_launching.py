"""A run by verl, from its script to the run's folder. Without verl: a script stands for it."""

from __future__ import annotations

import json
import os
import shutil
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from safetensors.torch import load_file

from kpo import train as kpo_train
from kpo.common.cli import UserError
from kpo.integrations.verl import launching
from kpo.integrations.verl.launching import run
from kpo.integrations.verl.steps import METRICS, read_steps, rows_of
from kpo.integrations.verl.writing import PYTHON, own_checkpoints
from kpo.model.policy import load_tokenizer
from tests.integrations.verl.written import TREE, base_folder, experiment_of, train_file

VERSION = "9.9"
# In the place of verl's Python: it says what is installed, and "trains", if asked to.
STAND_IN = f"""#!{sys.executable}
import json, pathlib, shutil, sys
from safetensors.numpy import load_file, save_file
if sys.argv[1] == "-c":
    names = {{"python", *sys.argv[3:]}} - {{"{{missing}}"}}
    print(json.dumps(dict.fromkeys(names, "{VERSION}")))
    raise SystemExit
given = dict(argument.split("=", 1) for argument in sys.argv[3:])
folder = pathlib.Path(given["trainer.default_local_dir"])
steps, path = given["trainer.total_training_steps"], pathlib.Path("steps.jsonl")
at = folder / "at"
first = int(at.read_text()) + 1 if at.exists() else 1
with path.open("w") as file:
    for step in range(first, int(steps) + 1):
        names = {[*METRICS.values()]!r}
        data = dict.fromkeys(names, step / 10) | {{"timing_s/gen": 1.5, "verl's own": 1}}
        print(json.dumps({{"step": step, "data": data}}), file=file)
        if {{stops_after}} == step and first == 1:
            at.write_text(str(step))
            sys.exit("out of memory")
model = folder / f"global_step_{{steps}}/actor/huggingface"
shutil.copytree(given["actor_rollout_ref.model.path"], model)
config = json.loads((model / "config.json").read_text())
(model / "config.json").write_text(json.dumps(config | {{"bos_token_id": 7}}))
weights = load_file(model / "model.safetensors")
for tensor in weights.values():
    tensor += 1
save_file(weights, model / "model.safetensors", {{"format": "pt"}})
"""


class Place:
    """A base, problems and a stand-in for verl's Python."""

    def __init__(self, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.path, self.out = path, path / "out"
        self.base = base_folder(path / "base")
        self.python = path / "python"
        self.write()
        monkeypatch.setenv(PYTHON, str(self.python))
        monkeypatch.setattr(launching, "POLL_S", 0.05)

    def write(self, missing: str = "", stops_after: int = 0) -> None:
        text = STAND_IN.replace("{missing}", missing).replace("{stops_after}", str(stops_after))
        self.python.write_text(text.replace("{{", "{").replace("}}", "}"))
        self.python.chmod(0o755)

    def run(self, seed: int = 0, **train: Any) -> None:
        settings = TREE["train"] | {"engine": "verl", "dtype": "bfloat16"} | train
        experiment = experiment_of(self.path, TREE | {"train": settings})
        problems = train_file(self.path / "problems", experiment)
        run(experiment, "kpo", seed, self.base, problems, self.out)


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Place:
    return Place(tmp_path, monkeypatch)


def test_what_comes_back_is_a_run_like_any_other(place: Place) -> None:
    place.run()
    rows = [json.loads(line) for line in (place.out / "metrics.jsonl").read_text().splitlines()]
    assert [(row["step"], row["reward"]) for row in rows] == [(i, (i + 1) / 10) for i in range(4)]
    assert rows[0].keys() == {"step", *METRICS}
    assert '"rollout": 1.5' in (place.out / "timings.jsonl").read_text()
    assert any((place.out / "tensorboard").iterdir())
    assert (place.out / "dropped.jsonl").read_text() == ""
    assert yaml.safe_load((place.out / "config.yaml").read_text())["train"]["engine"] == "verl"
    manifest = json.loads((place.out / "manifest.json").read_text())
    engine = {"name": "verl", "version": VERSION, "rollout": "vllm", "dtype": "bfloat16"}
    assert manifest["engine"] == engine
    assert manifest["packages"].items() >= {"torch": VERSION, "verl": VERSION}.items()
    assert (manifest["method"], manifest["seed"], manifest["processes"]) == ("kpo", 0, 2)
    assert manifest["learning"] == {"steps": 4, "still_steps": 0, "moved_weights": 1.0}
    assert manifest["noise"] == {}
    assert not (place.out / ".checkpoints").exists()


def test_its_model_is_the_base_with_verls_weights(place: Place) -> None:
    place.run()
    before, after = (
        load_file(folder / "model.safetensors") for folder in (place.base, place.out / "model")
    )
    assert before.keys() == after.keys()
    for name, tensor in before.items():
        assert after[name].dtype == torch.bfloat16
        torch.testing.assert_close(after[name], (tensor + 1).bfloat16())
    config = json.loads((place.out / "model/config.json").read_text())
    assert config["dtype"] == "bfloat16"
    assert config.get("bos_token_id") != 7
    assert load_tokenizer(place.out / "model")[1] == load_tokenizer(place.base)[1]


def test_a_run_that_verl_broke_off_goes_on_and_has_all_steps(place: Place) -> None:
    place.write(stops_after=2)
    with pytest.raises(UserError, match=r"(?s)exit code 1; the end of .*out of memory"):
        place.run()
    assert not (place.out / "manifest.json").exists()
    place.run()
    assert len((place.out / "metrics.jsonl").read_text().splitlines()) == 4


def test_checkpoints_of_another_run_are_refused(place: Place) -> None:
    place.write(stops_after=2)
    with pytest.raises(UserError, match="exit code 1"):
        place.run()
    with pytest.raises(
        UserError, match=r"(?s)train\.lr was 0\.0001 and is 0\.1.*remove the folder"
    ):
        place.run(lr=0.1)
    with pytest.raises(UserError, match="seed was 0 and is 1"):
        place.run(seed=1)
    place.run(checkpoint_every=3)  # changes nothing of what comes out


def test_own_checkpoints_are_gone_on_with(tmp_path: Path) -> None:
    assert not own_checkpoints(tmp_path, {"betas": (0.9, 0.99)})
    assert own_checkpoints(tmp_path, {"betas": (0.9, 0.99)})


def test_responses_that_failed_stop_a_run_until_it_starts_anew(place: Place) -> None:
    text = place.python.read_text()
    place.python.write_text(text.replace("given =", "print('Error in _run_prompt: x')\ngiven ="))
    with pytest.raises(UserError, match=r"responses failed.*remove .* to start anew"):
        place.run()
    place.write()
    with pytest.raises(UserError, match="responses failed"):
        place.run()
    shutil.rmtree(place.out / ".checkpoints")
    place.run()
    assert (place.out / "manifest.json").exists()


@pytest.mark.parametrize(
    ("missing", "tracker"),
    [("verl", "tensorboard"), ("math-verify", "tensorboard"), ("wandb", "wandb")],
)
def test_an_environment_without_what_it_takes_is_said_before_anything(
    place: Place, missing: str, tracker: str
) -> None:
    place.write(missing=missing)
    with pytest.raises(UserError, match=f"has no {missing}: KPO_VERL_PYTHON must name"):
        place.run(tracker=tracker)
    assert not place.out.exists()


def test_a_python_that_is_not_there_is_said(place: Place) -> None:
    place.python.unlink()
    with pytest.raises(UserError, match="which is to run verl"):
        place.run()


def test_a_step_that_was_taken_again_counts_as_it_was_last(tmp_path: Path) -> None:
    paths = tmp_path / "earlier", tmp_path / "now"
    for path, steps in zip(paths, ((1, 2, 3), (3, 4)), strict=True):
        lines = (json.dumps({"step": s, "data": {"from": path.name}}) + "\n" for s in steps)
        path.write_text("".join(lines))
    with paths[1].open("a") as file:
        file.write('{"step": 5, "da')  # not all of it is written
    assert [row["from"] for row in read_steps(*paths).values()] == [
        "earlier",
        "earlier",
        "now",
        "now",
    ]
    assert read_steps(tmp_path / "missing") == {}


def test_missing_steps_and_metrics_are_refused() -> None:
    whole = {METRICS[name]: 1.0 for name in ("reward", "grad_norm", "lr")}
    assert rows_of({1: whole}, 1) == [(0, {"reward": 1.0, "grad_norm": 1.0, "lr": 1.0}, {})]
    with pytest.raises(UserError, match="verl logged no step 2 of 2"):
        rows_of({1: whole}, 2)
    with pytest.raises(UserError, match="verl logged no actor/lr of step 1"):
        rows_of({1: {k: v for k, v in whole.items() if k != "actor/lr"}}, 1)


def test_training_hands_a_run_of_this_engine_over(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    experiment_of(place.path, TREE | {"train": TREE["train"] | {"engine": "verl"}})
    asked: list[list[str]] = []

    def become(path: str, command: list[str]) -> None:
        assert path == sys.executable
        asked.append(command)
        raise SystemExit

    monkeypatch.setattr(os, "execv", become)
    given = ["--config", str(place.path / "experiment.yaml"), "--method", "kpo", "--seed", "0"]
    given += ["--base", str(place.base), "--out", str(place.out)]
    monkeypatch.setattr(sys, "argv", ["kpo.train", *given])
    with pytest.raises(SystemExit):
        kpo_train.main()
    assert asked == [[sys.executable, "-m", "kpo.integrations.verl", *given, "--launch"]]


def test_verl_ends_with_its_launcher(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    text = place.python.read_text()
    wait = "import time, os; open('pid', 'w').write(str(os.getpid())); time.sleep(600)\n"
    place.python.write_text(text.replace("given = dict", f"{wait}given = dict"))

    def leave(bar: Any, found: Any) -> None:
        if (place.out / "verl/pid").exists() and (place.out / "verl/pid").read_text():
            raise SystemExit(75)  # as SIGTERM does

    monkeypatch.setattr(launching, "_show", leave)
    with pytest.raises(SystemExit):
        place.run()
    with pytest.raises(ProcessLookupError):
        os.kill(int((place.out / "verl/pid").read_text()), 0)
