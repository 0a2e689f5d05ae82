"""A small evaluation for tests of sampling."""

import json
from pathlib import Path
from typing import Any

from kpo.config.experiment import Experiment

PROBLEMS = {"easy": ["12+3=?", "40-9=?", "11+2+2=?"], "hard": ["99-9-9=?", "10+5=?"]}
NAMES = [(name, f"{name}/{i}") for name, texts in PROBLEMS.items() for i in range(len(texts))]
SAMPLES = 3


def write_problems(folder: Path) -> Path:
    """Files of PROBLEMS in the folder, which is returned."""
    for name, texts in PROBLEMS.items():
        rows = [
            {"id": f"{name}/{i}", "problem": text, "answer": str(i)} for i, text in enumerate(texts)
        ]
        (folder / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return folder


def experiment(**evaluate: Any) -> Experiment:
    settings = {
        "benchmarks": list(PROBLEMS),
        "engine": "transformers",
        "samples": SAMPLES,
        "max_response_tokens": 20,
        **evaluate,
    }
    return Experiment.model_validate(
        {
            "experiment": "test",
            "seeds": [0],
            "prompt": "plain",
            "task": {},
            "policy": {"kind": "scratch"},
            "train": {
                "problems": "train",
                "steps": 1,
                "max_prompt_tokens": 24,
                "max_response_tokens": 20,
                "lr": 1e-3,
            },
            "evaluate": settings,
            "methods": {"grpo": {"objective": "grpo", "label": "GRPO"}},
        }
    )
