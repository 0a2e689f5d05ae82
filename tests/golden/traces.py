"""Golden traces: a few steps of every method's metrics on a miniature.

A tiny random policy learns the embedded task's problems for three steps of two updates, rollouts
one step old, every optimizer setting away from its default. As no random policy solves a problem, a
response is right where it holds a digit that fits the last one of its gold: a fifth are.

On hardware and library versions equal to those of `made_on.json`, every number is compared exactly.
Elsewhere sums come in another order, and TOLERANCES hold. They were measured on one processor:
with AVX2 kernels ratios move by 2e-6, with neither AVX2 nor its like by 7e-4, with two threads not
at all.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy
import torch
import transformers

from kpo.config.train import Train
from kpo.evals.grading.grader import Grade
from kpo.registry import OBJECTIVES, make_objective
from kpo.rollout.transformers import TransformersEngine
from kpo.tasks.chained_sums import ChainedSums
from kpo.tasks.generate import write_problems
from kpo.tasks.prompts import PROTOCOLS
from kpo.trainer.batch import Prompt
from kpo.trainer.log import RunLog
from kpo.trainer.loop import Trainer
from kpo.trainer.state.checkpoint import Checkpoints
from tests.kpo.models import tiny_policy

FOLDER = Path(__file__).parent
MADE_ON = FOLDER / "made_on.json"
Row = Mapping[str, float]


@dataclass(frozen=True)
class Trace:
    """A run: its objective, the objective's settings, and what differs from TRAIN."""

    objective: str
    settings: Mapping[str, float | str | None] = field(default_factory=dict)
    train: Mapping[str, Any] = field(default_factory=dict)


TRACES: dict[str, Trace] = {
    **{name: Trace(name) for name in sorted(OBJECTIVES.keys() - {"grpo", "kpo", "dr_grpo"})},
    "grpo": Trace("grpo", {"clip_low": 0.01, "clip_high": 0.02}),
    "kpo": Trace("kpo", {"q": 1e-6, "clip_low": 0.001, "clip_high": 0.002}),
    "kpo-memory": Trace("kpo", {"memory": 4.0, "clip_low": 0.01, "clip_high": 0.01}),
    "kpo-unclipped": Trace("kpo", {"q": 1e-4, "clip_low": None, "clip_high": None}),
    "kpo-diffuse": Trace("kpo", {"q": 1e-6, "start": "diffuse"}),
    "kpo-two-sided": Trace("kpo", {"q": 1e-3, "direction": "two_sided", "saturate": None}),
    "kpo-saturated": Trace("kpo", {"q": 1e-3, "direction": "anticausal", "saturate": 1e-3}),
    "dr_grpo": Trace("dr_grpo", {"length": 20}),
    "grpo-passes": Trace("grpo", train={"passes": 2, "mini_batches": 2}),
    "grpo-fresh": Trace("grpo", train={"staleness": 0, "mini_batches": 4}),
    "grpo-weighted": Trace("grpo", train={"truncated_importance": 0.9999999}),
}

TRAIN: dict[str, Any] = {
    "problems": "train",
    "steps": 3,
    "staleness": 1,
    "prompts": 4,
    "group": 8,
    "mini_batches": 2,
    "max_tokens_per_microbatch": 200,
    "max_prompt_tokens": 24,
    "max_response_tokens": 16,
    "lr": 2e-4,
    "warm_up": 0.5,
    "betas": (0.8, 0.95),
    "weight_decay": 0.1,
    "clip_norm": 0.5,
}

TOLERANCES: dict[str, tuple[float, float]] = {
    "noise_": (0.0, 2e-5),
    "logprob_mismatch_": (0.0, 2e-5),
    "switch_": (0.0, 0.03),
    "clip_fraction": (0.0, 0.01),
    "ratio_": (2e-3, 0.0),
    "loss": (0.0, 5e-4),
    "kl_old": (0.03, 1e-6),
    "": (0.01, 0.0),
}
"""Relative and absolute, by the first words of a metric's name; the first that fits counts.

Two to four times what was measured, with a token of one run sampled otherwise; noise and gaps are
rounding alone, and signs of log-ratios that are rounding alone turn.
"""


def reward(pairs: Sequence[tuple[str, str]]) -> list[Grade]:
    """Whether the response holds a digit equal to the gold's last one modulo 3."""
    found = [[int(c) % 3 for c in text if c.isdigit()] for _, text in pairs]
    return [
        Grade(int(gold[-1]) % 3 in digits, "ok" if digits else "no_answer", None)
        for (gold, _), digits in zip(pairs, found, strict=True)
    ]


def make(name: str, folder: Path) -> list[Row]:
    """Run a trace in an empty folder; its metrics, a row a step."""
    trace = TRACES[name]
    torch.set_num_threads(1)
    policy = tiny_policy(seed=3)
    write_problems(ChainedSums(train=16), folder, ["train"])
    problems = [json.loads(line) for line in (folder / "train.jsonl").read_text().splitlines()]
    encode = PROTOCOLS["plain"].encode
    with RunLog(folder) as log:
        Trainer(
            policy=policy,
            objective=make_objective(trace.objective, **trace.settings),
            engine=TransformersEngine(policy),
            reward=reward,
            prompts=[
                Prompt(p["id"], encode(policy.tokenizer, p["problem"], "training"), p["answer"])
                for p in problems
            ],
            config=Train.model_validate({**TRAIN, **trace.train}),
            seed=1,
            log=log,
            checkpoints=Checkpoints(folder / "checkpoints", {}),
        ).train()
    return _rows(folder / "metrics.jsonl")


def committed(name: str) -> list[Row]:
    """A trace as it is committed; none where there is no such file."""
    path = trace_file(name)
    return _rows(path) if path.exists() else []


def trace_file(name: str) -> Path:
    """Where a trace is committed."""
    return FOLDER / f"{name}.jsonl"


def machine() -> dict[str, str]:
    """What the last bits of a trace depend on beside the code."""
    lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    models = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return {
        "processor": models[0] if models else "unknown",
        "kernels": torch.backends.cpu.get_cpu_capability(),
        "torch": torch.__version__,
        "transformers": transformers.__version__,
        "numpy": numpy.__version__,
    }


def differences(was: Sequence[Row], now: Sequence[Row], *, exact: bool) -> list[str]:
    """A line for every number that differs, exactly or by more than its tolerance."""
    if len(was) != len(now):
        return [f"{len(was)} steps became {len(now)}"]
    return [
        f"step {i}: {key} was {old.get(key, 'absent')} and is {new.get(key, 'absent')}"
        for i, (old, new) in enumerate(zip(was, now, strict=True))
        for key in dict.fromkeys([*old, *new])
        if not _equal(key, old.get(key), new.get(key), exact=exact)
    ]


def _equal(key: str, was: float | None, now: float | None, *, exact: bool) -> bool:
    if exact or was is None or now is None:
        return was == now
    relative, absolute = next(pair for start, pair in TOLERANCES.items() if key.startswith(start))
    return math.isclose(was, now, rel_tol=relative, abs_tol=absolute)


def _rows(path: Path) -> list[Row]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
