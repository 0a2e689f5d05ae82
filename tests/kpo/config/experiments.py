"""Two small experiment files, and what tests do with them: change, load, be refused."""

import copy
from pathlib import Path
from typing import Any

import pytest
import yaml

from kpo.config.experiment import Experiment, load_experiment
from kpo.config.file import ConfigError

DROP = object()  # as a new value: take the key out
Tree = dict[str, Any]

SCRATCH: Tree = {
    "experiment": "small",
    "seeds": [0, 1],
    "prompt": "plain",
    "task": {"train": 64, "test": 4},
    "policy": {"kind": "scratch", "sft": {"steps": 3}},
    "train": {
        "problems": "train",
        "steps": 2,
        "prompts": 8,
        "max_prompt_tokens": 24,
        "max_response_tokens": 80,
        "lr": 1e-4,
    },
    "evaluate": {"benchmarks": ["easy", "hard"], "max_response_tokens": 80},
    "methods": {
        "grpo": {"objective": "grpo", "label": "GRPO"},
        "kpo": {"objective": "kpo", "label": "KPO", "q": 1e-6},
    },
}
HUB: Tree = {
    **SCRATCH,
    "task": None,
    "policy": {"kind": "pretrained", "model": "some/model"},
    "train": {**SCRATCH["train"], "problems": "gsm8k-train"},
    "evaluate": {"benchmarks": ["aime24", "math500"], "max_response_tokens": 80},
    "data": {"sources": {"mine": {"hub": "me/mine", "split": "train"}}},
}

NAME_RULE = (
    "must have at most 64 characters, all of them lower-case letters, digits, '_', '-' or '.', and"
    " begin with a letter or digit"
)
GRPO = {"objective": "grpo", "label": "another"}


def changed(tree: Tree, path: str, value: Any) -> Tree:
    """A copy with the value at `a/b/c` replaced, added or (DROP) taken out."""
    result = copy.deepcopy(tree)
    *parents, last = path.split("/")
    section = result
    for key in parents:
        section = section.setdefault(key, {})
    if value is DROP:
        del section[last]
    else:
        section[last] = value
    return result


def write(path: Path, content: Tree | str) -> Path:
    path.write_text(content if isinstance(content, str) else yaml.safe_dump(content))
    return path


def load(folder: Path, content: Tree | str) -> Experiment:
    return load_experiment(write(folder / "x.yaml", content))


def refusal(folder: Path, content: Tree | str) -> list[str]:
    """The sentences, without the file's name at their beginning."""
    path = write(folder / "x.yaml", content)
    with pytest.raises(ConfigError) as error:
        load_experiment(path)
    sentences = str(error.value).splitlines()
    assert all(sentence.startswith(str(path)) for sentence in sentences)
    return [sentence.removeprefix(f"{path}: ") for sentence in sentences]
