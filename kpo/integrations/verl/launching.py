"""A run by verl, from its script to a run's folder like any other.

Goes on from verl's newest checkpoint, of the same settings, base and data alone.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

import torch
from tqdm import tqdm
from transformers import GenerationConfig

from kpo.common.cli import UserError
from kpo.common.manifest import PACKAGES, Manifest
from kpo.common.parent import end_with_parent
from kpo.common.source_code import code_hash, python_path
from kpo.config.experiment import Experiment
from kpo.config.train import Train
from kpo.integrations.verl.overrides import ROLLOUT
from kpo.integrations.verl.steps import read_steps, rows_of
from kpo.integrations.verl.writing import EARLIER, OUTPUT, PYTHON, Written, verl_python, write
from kpo.model.files import read_config, read_model
from kpo.model.policy import load_tokenizer, save_model
from kpo.trainer.log import RunLog
from kpo.trainer.run import UNFINISHED, finish, state

CODE = [f"kpo.integrations.verl.{module}" for module in ("overrides", "policy_loss", "reward")]
WITH_VERL = (*PACKAGES, "verl", "ray", "flash-attn", "sglang")
VERSIONS = """
import importlib.metadata, json, platform, sys
found = {"python": platform.python_version()}
for name in sys.argv[1:]:
    try:
        found[name] = importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        pass
print(json.dumps(found))
"""
"""Says which of the packages that are named are there, and their versions."""
LOST = b"Error in _run_prompt"
"""verl's words for responses that failed, in their engine or their reward.

It trains on without them, on padding in their place.
"""
TELLING = 30
"""Last lines of verl's output that are told where it fails."""
POLL_S = 1.0
ENDING_S = 60.0
"""How long verl has to end."""


def run(
    experiment: Experiment,
    method: str,
    seed: int,
    base: Path | None,
    problems: Path | None,
    out: Path,
) -> None:
    """Train with verl and write the run's folder; its files appear when the run is complete.

    Raises UserError for what verl cannot do, where there is no verl, and where it fails.
    """
    train, unfinished = experiment.train_of(method), out / UNFINISHED
    packages = verl_packages(train)
    settings = {**experiment.section("train", method), "seed": seed}
    manifest = Manifest(experiment.experiment, settings)
    manifest.content |= {"method": method, "seed": seed, "packages": packages}
    written = write(experiment, method, seed, base=base, problems=problems, out=out)
    follow(written)
    rows = rows_of(logged(written), written.steps)
    shutil.rmtree(unfinished, ignore_errors=True)
    with RunLog(unfinished) as log:
        log.begin(rows)
    save_trained(written, unfinished / "model", train.dtype)
    manifest.content |= {
        **written.inputs,
        "code": code_hash(*CODE, without={"kpo.registry", "kpo.tasks.registry"}),
        "processes": train.gpus * int(written.settings["trainer.nnodes"]),
        "engine": {
            "name": "verl",
            "version": packages["verl"],
            "rollout": written.settings[f"{ROLLOUT}.name"],
            "dtype": train.dtype,
        },
    }
    state(manifest, settings, written.trained_on, unfinished)
    finish(manifest, [metrics for _, metrics, _ in rows], written.base, out)


def verl_packages(train: Train) -> dict[str, str]:
    """Versions of what verl's environment trains with.

    Raises UserError where verl, or what it needs, is not there.
    """
    python = verl_python()
    try:
        said = subprocess.run(
            [python, "-c", VERSIONS, *WITH_VERL, train.tracker],
            env={**os.environ, "PYTHONPATH": python_path()},
            capture_output=True,
            text=True,
            check=False,
        )
    except OSError as error:
        raise UserError(f"{python}, which is to run verl: {error}") from error
    found: dict[str, str] = json.loads(said.stdout or "{}")
    if missing := [name for name in ("verl", "math-verify", train.tracker) if name not in found]:
        raise UserError(
            f"{python} has no {missing[0]}: {PYTHON} must name the Python of an"
            " environment with verl, as `pip install kpo-suite[verl]` or `make test-verl` makes it"
        )
    return found


def logged(written: Written) -> dict[int, dict[str, Any]]:
    """What verl has logged of each step."""
    return read_steps(written.place.folder / EARLIER, written.place.steps)


def follow(written: Written) -> None:
    """Start the script, or go on, and wait for its end.

    Raises UserError where verl fails, or responses fail, without which it would train on.
    """
    output = written.place.folder / OUTPUT
    with (
        _started(written.script, output) as process,
        output.open("rb") as said,
        tqdm(desc="train", total=written.steps, unit="step") as bar,
    ):
        while (code := process.poll()) is None:
            time.sleep(POLL_S)
            _show(bar, logged(written))
            _check_responses(said, written)
        _show(bar, logged(written))
        _check_responses(said, written)
    if code:
        tail = "\n".join(output.read_text(errors="replace").splitlines()[-TELLING:])
        raise UserError(f"verl ended with exit code {code}; the end of {output}:\n{tail}")


def _check_responses(said: BinaryIO, written: Written) -> None:
    """Raise UserError where what was said since the last look tells of failed responses."""
    said.seek(max(0, said.tell() - len(LOST)), os.SEEK_SET)  # words that were cut in two
    if LOST in said.read():
        raise UserError(
            f"responses failed, on which verl says more in {said.name} ({LOST.decode()}), and it"
            f" trained on without them: remove {written.place.checkpoints} to start anew"
        )


@contextmanager
def _started(script: Path, output: Path) -> Iterator[subprocess.Popen[bytes]]:
    """The script's process, which ends when the block does, or this process."""
    with output.open("ab") as file:
        process = subprocess.Popen(
            ["sh", str(script)],
            stdout=file,
            stderr=subprocess.STDOUT,
            env={**os.environ, PYTHON: verl_python()},
            preexec_fn=end_with_parent,  # noqa: PLW1509 - it takes no lock
        )
    try:
        yield process
    finally:
        process.terminate()
        try:
            process.wait(ENDING_S)
        except subprocess.TimeoutExpired:
            process.kill()


def _show(bar: Any, found: dict[int, dict[str, Any]]) -> None:
    if found and (last := max(found)) != bar.n:
        bar.n = last
        bar.set_postfix(reward=found[last].get("critic/score/mean"))


def save_trained(written: Written, path: Path, dtype: str) -> None:
    """Write the final weights with the base's configuration and tokenizer.

    Raises UserError where verl left no checkpoint of the last step.
    """
    folder = written.place.checkpoints / f"global_step_{written.steps}/actor/huggingface"
    if not any(folder.glob("*.safetensors")):
        raise UserError(f"{folder}: verl left no model of the last step there")
    # What verl writes has special tokens of the tokenizer's in its configuration.
    model = read_model(folder, dtype=dtype, config=read_config(written.base))
    if (written.base / "generation_config.json").is_file():
        model.generation_config = GenerationConfig.from_pretrained(written.base)
    model.config.dtype = getattr(torch, dtype)
    path.parent.mkdir(parents=True, exist_ok=True)
    save_model(model, load_tokenizer(written.base)[0], path)
