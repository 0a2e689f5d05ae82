"""Runs of small experiment files, written for verl."""

from __future__ import annotations

import json
import shlex
from pathlib import Path
from typing import Any

import yaml

from kpo.config.experiment import Experiment, load_experiment
from kpo.integrations.verl.writing import Written, write
from kpo.model.policy import save_model
from tests.kpo.models import edit, tiny_policy

Tree = dict[str, Any]
CONFIGS = Path(__file__).parents[3] / "workflow/config"
TREE: Tree = {
    "experiment": "small",
    "seeds": [0],
    "prompt": "plain",
    "task": {"train": 64, "test": 4},
    "policy": {"kind": "pretrained", "model": "a/model"},
    "train": {
        "problems": "train",
        "steps": 4,
        "prompts": 8,
        "mini_batches": 2,
        "max_prompt_tokens": 24,
        "max_response_tokens": 80,
        "max_tokens_per_microbatch": 2048,
        "lr": 1e-4,
        "gpus": 2,
    },
    "evaluate": {"benchmarks": ["easy"], "max_response_tokens": 80, "engine": "transformers"},
    "methods": {
        "kpo": {"objective": "kpo", "label": "KPO", "q": 1e-6, "clip_low": 0.1},
        "dr": {"objective": "dr_grpo", "label": "Dr. GRPO", "length": 80},
    },
}


def experiment_of(folder: Path, tree: Tree) -> Experiment:
    path = folder / "experiment.yaml"
    path.write_text(yaml.safe_dump(tree))
    return load_experiment(path)


def small(folder: Path, **train: Any) -> Experiment:
    return experiment_of(folder, TREE | {"train": TREE["train"] | train})


def base_folder(path: Path, *, chat_template: str | None = None) -> Path:
    """A model folder, with room for the paper's sequences."""
    policy = tiny_policy("llama")
    policy.tokenizer.chat_template = chat_template
    save_model(policy.model, policy.tokenizer, path)
    edit(path / "config.json", max_position_embeddings=8192)
    return path


def problems_folder(path: Path, *names: str, count: int = 40) -> Path:
    """A folder in which each of these data sets has other problems."""
    path.mkdir()
    for number, name in enumerate(names):
        rows = (
            {"id": f"{name}{i}", "problem": f"{name}: {number}+{i}=?", "answer": str(number + i)}
            for i in range(count)
        )
        (path / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def train_file(folder: Path, experiment: Experiment) -> Path:
    """The embedded task's training problems, where --problems looks for them."""
    assert experiment.task is not None
    folder.mkdir(exist_ok=True)
    rows = enumerate(experiment.task.problems("train"))
    lines = (json.dumps({"id": str(i), "problem": p, "answer": a}) + "\n" for i, (p, a) in rows)
    (folder / "train.jsonl").write_text("".join(lines))
    return folder


def written(folder: Path, experiment: Experiment, method: str = "kpo", seed: int = 3) -> Written:
    return write(
        experiment,
        method,
        seed,
        base=base_folder(folder / "base"),
        problems=train_file(folder / "problems", experiment),
        out=folder / "run",
    )


def arguments_of(script: Path) -> list[str]:
    """What a script gives to `main_ppo`."""
    command = script.read_text().partition("-m verl.trainer.main_ppo \\\n")[2]
    *found, rest = shlex.split(command.replace("\\\n", " "))
    assert rest == "$@"
    return found
