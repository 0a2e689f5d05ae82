"""A finished tuning of two methods, and the experiment that it chooses, written by hand."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from kpo.config.experiment import Experiment, load_experiment
from tests.workspace import REPO

PROBLEMS = 10
SAMPLES = 2
LR = {"equal": 2e-4, "low": 1e-4, "high": 4e-4}
CLIPS = {
    "narrow": {"clip_low": 0.1, "clip_high": 0.1},
    "paper": {"clip_low": 0.2, "clip_high": 0.2},
    "wide": {"clip_low": 0.4, "clip_high": 0.4},
}
CONFIG: dict[str, Any] = {
    "experiment": "tuning",
    "seeds": [100, 101],
    "prompt": "plain",
    "task": {"kind": "chained_sums", "train": 64, "test": PROBLEMS, "held_out": "validation"},
    "policy": {"kind": "scratch"},
    "train": {
        "problems": "train",
        "steps": 2,
        "prompts": 4,
        "group": 2,
        "mini_batches": 2,
        "max_prompt_tokens": 24,
        "max_response_tokens": 24,
        "lr": LR["equal"],
    },
    "evaluate": {
        "benchmarks": ["easy", "hard"],
        "samples": SAMPLES,
        "max_response_tokens": 24,
        "engine": "transformers",
    },
    "methods": {
        "grpo": {
            "label": "GRPO",
            "objective": "grpo",
            "grid": {"train.lr": [LR["low"], LR["equal"], LR["high"]], "clip": CLIPS},
        },
        "reinforce": {
            "label": "Ratio 1",
            "objective": "reinforce",
            "grid": {"train.lr": [LR["low"], LR["equal"], LR["high"]]},
        },
    },
}
GRPO = [f"grpo-{lr}-{clip}" for lr in ("0.0001", "0.0002", "0.0004") for clip in CLIPS]
RATIO = [f"reinforce-{lr}" for lr in ("0.0001", "0.0002", "0.0004")]


def experiment(root: Path, config: Mapping[str, Any] = CONFIG) -> Experiment:
    """The experiment of a configuration, whose file is written."""
    path = root / f"{config['experiment']}.yaml"
    path.write_text(yaml.safe_dump(dict(config), sort_keys=False))
    return load_experiment(path)


def finish(root: Path, made: Experiment, right: Mapping[str, int]) -> Path:
    """Write all runs of an experiment; the folder of results.

    `right` are the problems of each benchmark that a row answers, of PROBLEMS, always; others 5.
    """
    results = root / "results"
    if not (results / "reported").is_dir():
        shutil.copytree(REPO / "results/reported", results / "reported")
    folder = results / made.experiment
    for run in ["base", *made.runs]:
        row = run.rpartition("-s")[0] or run
        evaluated(folder / "evals" / run, made, right.get(row, 5))
        if run != "base":
            trained(folder / "runs" / run, made, row)
    return results


def evaluated(folder: Path, made: Experiment, right: int) -> None:
    """A run that answers the first `right` problems of each benchmark."""
    rows = [
        {
            "benchmark": benchmark,
            "id": f"p{problem}",
            "sample": sample,
            "correct": problem < right,
            "status": "ok",
            "extracted": "7",
            "tokens": 9,
            "finish": "stop",
        }
        for benchmark in made.evaluate.benchmarks
        for problem in range(PROBLEMS)
        for sample in range(made.evaluate.samples)
    ]
    folder.mkdir(parents=True)
    (folder / "grades.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    manifest = {"model": folder.name, "protocol": {"prompt": "plain"}, "wall_time_s": 1.5}
    (folder / "manifest.json").write_text(json.dumps(manifest))


def trained(folder: Path, made: Experiment, row: str) -> None:
    """A run of ten steps, 11 tokens a response; that of an even seed collapses from .8 to .2."""
    lost = int(folder.name.rpartition("-s")[2]) % 2 == 0
    rewards = [0.8] * 5 + [0.2] * 5 if lost else [0.5] * 10
    manifest = {
        "base": "base",
        "weights": folder.name,
        "settings": {"train": made.train_of(row).model_dump(mode="json")},
        "learning": {"steps": 10, "still_steps": 0, "moved_weights": 1.0},
        "wall_time_s": 10.0,
    }
    steps = [{"reward": reward, "response_tokens": 11.0} for reward in rewards]
    folder.mkdir(parents=True)
    (folder / "manifest.json").write_text(json.dumps(manifest))
    (folder / "metrics.jsonl").write_text("".join(json.dumps(step) + "\n" for step in steps))
