"""What verl logs of a run's steps, in the names of the suite's own trainer."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from kpo.common.cli import UserError
from kpo.trainer.log import Row

METRICS = {
    "reward": "critic/score/mean",
    "response_tokens": "response_length/mean",
    "entropy": "actor/entropy",
    "grad_norm": "actor/grad_norm",
    "clip_fraction": "actor/clip_fraction",
    "lr": "actor/lr",
}
"""verl's name of each metric that means the same in both; objectives may have no clip fraction.

Its share of clipped responses does not: it counts those as long as the longest of their batch.
"""
SECONDS = {
    "rollout": "timing_s/gen",
    "old_logprobs": "timing_s/old_log_prob",
    "update": "timing_s/update_actor",
    "sync": "timing_s/update_weights",
    "checkpoint": "timing_s/save_checkpoint",
}
NEEDED = {"reward", "grad_norm", "lr"}

Logged = Mapping[int, Mapping[str, Any]]
"""By step, from 1 as verl counts them."""


def read_steps(*paths: Path) -> dict[int, dict[str, Any]]:
    """What the files log by step; where a step was taken again, what was logged last."""
    found: dict[int, dict[str, Any]] = {}
    for path in paths:
        text = path.read_text(encoding="utf-8") if path.is_file() else ""
        for line in text.splitlines(keepends=True):
            if line.endswith("\n"):  # else it is being written
                row = json.loads(line)
                found[row["step"]] = row["data"]
    return found


def rows_of(logged: Logged, steps: int) -> list[Row]:
    """The steps of a whole run; raises UserError where one, or what must be known of it, is not."""
    if missing := set(range(1, steps + 1)) - logged.keys():
        raise UserError(f"verl logged no step {min(missing)} of {steps}")
    rows = []
    for step in range(1, steps + 1):
        data = logged[step]
        if lacking := [METRICS[name] for name in NEEDED if METRICS[name] not in data]:
            raise UserError(f"verl logged no {lacking[0]} of step {step}")
        metrics, seconds = (
            {name: float(data[key]) for name, key in names.items() if key in data}
            for names in (METRICS, SECONDS)
        )
        rows.append((step - 1, metrics, seconds))
    return rows
