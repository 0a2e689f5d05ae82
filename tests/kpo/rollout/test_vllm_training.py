"""Whole runs of `python -m kpo.train` on vLLM rollouts, alone and with an engine on each rank."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import yaml

from kpo.model.policy import Policy, response_logprobs, save_model
from kpo.tasks.prompts import PROTOCOLS
from tests.kpo.config.experiments import SCRATCH
from tests.kpo.models import tiny_policy
from tests.kpo.trainer.runs import metrics

pytestmark = [pytest.mark.slow, pytest.mark.vllm]
STEPS = 2
ALIKE = ("reward", "response_tokens", "truncated", "entropy", "loss", "grad_norm")


QUESTIONS = [f"{i}+{5 - i}=?" for i in range(6)]
ANSWERS = ["\\boxed{5}", "\\boxed{6}"]


def undecided_policy() -> Policy:
    """A policy that has just learnt to answer 5 or 6."""
    policy = tiny_policy(seed=3)
    plain = PROTOCOLS["plain"]
    prompts = [plain.encode(policy.tokenizer, question, "training") for question in QUESTIONS]
    answers = [[*policy.tokenizer(text)["input_ids"], *policy.eos] for text in ANSWERS]
    optimizer = torch.optim.AdamW(policy.model.parameters(), lr=1e-2)
    pairs = [(prompt, answer) for prompt in prompts for answer in answers]
    for _ in range(150):
        logprobs, _, mask = response_logprobs(policy, *map(list, zip(*pairs, strict=True)))
        optimizer.zero_grad()
        (-logprobs.sum() / mask.sum()).backward()
        optimizer.step()
    return policy


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a base policy, and problems that it solves half of the time."""
    folder = tmp_path_factory.mktemp("inputs")
    policy = undecided_policy()
    save_model(policy.model, policy.tokenizer, folder / "base")
    problems = [{"id": text, "problem": text, "answer": "5"} for text in QUESTIONS]
    rows = "".join(json.dumps(problem) + "\n" for problem in problems)
    (folder / "train.jsonl").write_text(rows)
    return folder


def run(inputs: Path, out: Path, *, ranks: int, dtype: str = "float32") -> list[dict[str, float]]:
    """Train on vLLM's rollouts; the metrics, a step each."""
    train = {
        "engine": "vllm",
        "steps": STEPS,
        "group": 4,
        "mini_batches": 2,
        "max_response_tokens": 24,
        "lr": 1e-2,
        "ranks": ranks,
        "dtype": dtype,
    }
    experiment = {**SCRATCH, "train": {**SCRATCH["train"], **train}}
    config = out / "small.yaml"
    config.write_text(yaml.safe_dump(experiment))
    launcher = ["-m", "kpo.launch", str(ranks)]
    command = [sys.executable, *(launcher if ranks > 1 else []), "-m", "kpo.train"]
    command += ["--config", str(config), "--method", "grpo", "--seed", "0", "--out", str(out)]
    command += ["--base", str(inputs / "base"), "--problems", str(inputs)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    rows = metrics(out)
    assert [row["step"] for row in rows] == list(range(STEPS))
    assert 0.2 < rows[0]["reward"] < 0.8
    assert all(row["grad_norm"] > 0.01 for row in rows)  # there was something to learn
    assert json.loads((out / "manifest.json").read_text())["engine"]["name"] == "vllm"
    return rows


@pytest.fixture(scope="module")
def alone(inputs: Path, tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, float]]:
    return run(inputs, tmp_path_factory.mktemp("alone"), ranks=1)


def test_alone_the_engine_follows_the_trainer(alone: list[dict[str, float]]) -> None:
    for row in alone:
        assert 0 < row["logprob_mismatch_mean"] < 1e-5


def test_two_ranks_with_an_engine_each_train_as_one(
    alone: list[dict[str, float]], inputs: Path, tmp_path: Path
) -> None:
    two = run(inputs, tmp_path, ranks=2)
    for one, row in zip(alone, two, strict=True):
        assert 0 < row["logprob_mismatch_mean"] < 1e-5
        for name in ALIKE:
            assert row[name] == pytest.approx(one[name], rel=1e-3, abs=1e-5), name


def test_half_precision_rollouts_follow_float32_masters(inputs: Path, tmp_path: Path) -> None:
    for row in run(inputs, tmp_path, ranks=1, dtype="bfloat16"):
        assert 1e-5 < row["logprob_mismatch_mean"] < 0.05
