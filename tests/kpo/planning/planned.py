"""Plans of a small experiment with a tiny model, on a machine with plenty of everything."""

from pathlib import Path
from typing import Any

import yaml

from kpo.config.experiment import Experiment, load_experiment
from kpo.config.train import Train
from kpo.planning.counts import benchmark_problems
from kpo.planning.machine import Device, Machine
from kpo.planning.plan import Plan
from tests.kpo.models import tiny_policy

MINI = Path("workflow/config/mini.yaml").resolve()
PLENTY = Machine(Device(1e12, 1e12), Device(1e12, 1e12), disk=1e12, at_once=1)


def train(**settings: Any) -> Train:
    """A section of its own; a micro-batch of 130 tokens holds a prompt and two responses."""
    base = {
        "problems": "none",
        "steps": 1,
        "prompts": 4,
        "group": 4,
        "mini_batches": 2,
        "max_tokens_per_microbatch": 130,
        "max_prompt_tokens": 10,
        "max_response_tokens": 50,
        "lr": 1e-3,
    }
    return Train.model_validate({**base, **settings})


def experiment(folder: Path, evaluate: dict[str, Any] | None = None, **train: Any) -> Experiment:
    """mini.yaml with other settings."""
    path = folder / "small.yaml"
    content = {"extends": str(MINI), "experiment": "small", "train": train}
    path.write_text(yaml.safe_dump({**content, "evaluate": evaluate or {}}))
    return load_experiment(path)


def plan(folder: Path, machine: Machine = PLENTY, **settings: Any) -> Plan:
    """That of `experiment`, with a model of 2 layers."""
    found = experiment(folder, **settings)
    return Plan(found, tiny_policy().model.config, machine, 256, benchmark_problems(found))


def plan_of(config: Any, **settings: Any) -> Plan:
    """Of the section of `train` with a model of this configuration."""
    section = {"train": train(**settings)}
    return Plan(load_experiment(MINI).model_copy(update=section), config, PLENTY, 256, {})
