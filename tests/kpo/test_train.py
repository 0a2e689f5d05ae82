"""Training prompts: those of the training phase of the experiment's prompt protocol."""

import json
from pathlib import Path

import pytest

from kpo.config import Experiment
from kpo.tasks.prompts import PROTOCOLS
from kpo.train import load_prompts
from tests.kpo.models import tiny_policy


@pytest.mark.parametrize("prompt", ["boxed", "official"])
def test_prompts_are_of_the_training_phase(tmp_path: Path, prompt: str) -> None:
    row = {"id": "a", "problem": "1+1=?", "answer": "2"}
    (tmp_path / "gsm8k-train.jsonl").write_text(json.dumps(row) + "\n")
    experiment = Experiment.model_validate(
        {
            "experiment": "test",
            "seeds": [0],
            "prompt": prompt,
            "policy": {"kind": "pretrained", "model": "a/model"},
            "train": {
                "problems": "gsm8k-train",
                "steps": 1,
                "max_prompt_tokens": 100,
                "max_response_tokens": 8,
                "lr": 1.0,
            },
            "evaluate": {"benchmarks": ["gsm8k"], "max_response_tokens": 8},
            "methods": {"grpo": {"objective": "grpo", "label": "GRPO"}},
            "data": {"sources": {}},
        }
    )
    policy = tiny_policy()
    prompts, _ = load_prompts(experiment, policy, tmp_path)
    expected = PROTOCOLS[prompt].training.replace("{problem}", "1+1=?")
    assert [policy.tokenizer.decode(p.tokens) for p in prompts] == [expected]
    assert prompts[0].answer == "2"
