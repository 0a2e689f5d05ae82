"""Whether a run learns: whether its updates have a gradient, and whether its weights end elsewhere.

Where all responses to a prompt earn the same reward, their advantages are 0 and so is the gradient.
A run in which that holds for every group ends with the base's weights, and no error anywhere.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import takewhile
from pathlib import Path
from typing import Any

from safetensors import safe_open

PATIENCE = 3
"""Steps without a gradient, one after the other, before a run says so."""


def standstill(rows: Sequence[Mapping[str, float]], steps: int) -> str | None:
    """What to say of a run of `steps`, once its last few `rows` of metrics had no gradient."""
    still = list(takewhile(is_still, reversed(rows)))
    patience = min(PATIENCE, steps)
    if len(still) != patience:
        return None
    return f"the last {patience} steps learnt nothing: {_reason(still)}"


def _reason(still: Sequence[Mapping[str, float]]) -> str:
    rewards = {row["reward"] for row in still}
    if any(row["lr"] == 0 for row in still):
        return "the learning rate is 0"
    if any(row["zero_std_groups"] < 1 for row in still):
        return "rewards differ within groups, but the objective gives no token a gradient"
    if rewards == {0.0}:
        cut = sum(row["truncated"] for row in still) / len(still)
        return (
            f"every response is graded wrong, {cut:.0%} of them cut at train.max_response_tokens;"
            " look whether they end, and whether answers stand where the prompt protocol looks for"
            " them"
        )
    if rewards == {1.0}:
        return "every response is graded right: the problems are too easy for this policy"
    return "within every group all responses earn the same: problems are too easy or too hard"


def is_still(metrics: Mapping[str, float]) -> bool:
    """Whether a step's updates moved nothing: no gradient, or no learning rate."""
    return metrics["grad_norm"] == 0 or metrics["lr"] == 0


def record(rows: Sequence[Mapping[str, float]], base: Path, model: Path) -> dict[str, Any]:
    """For a run's manifest: its steps, those that learnt nothing, and the share of moved weights.

    `rows` are its steps' metrics, `base` and `model` the folders it began and ends with.
    """
    return {
        "steps": len(rows),
        "still_steps": sum(map(is_still, rows)),
        "moved_weights": moved_weights(base, model),
    }


def stood_still(learning: Mapping[str, Any]) -> str | None:
    """What such a record says of a run that learnt nothing; None for one that did."""
    if learning["steps"] and learning["still_steps"] == learning["steps"]:
        return f"none of its {learning['steps']} steps had a gradient"
    if learning["moved_weights"] == 0:
        return "its final weights, as they are stored, are the base policy's"
    return None


def moved_weights(base: Path, model: Path) -> float:
    """Share of a model's weights that differ from the base's, in the precision of the model."""
    before, moved, total = _weights(base), 0, 0
    for name, file in _weights(model).items():
        new = file.get_tensor(name)
        old = before[name].get_tensor(name).to(new.dtype) if name in before else math.nan
        moved += int((new != old).sum())
        total += new.numel()
    return moved / total


def _weights(folder: Path) -> dict[str, Any]:
    """Names of a model's tensors, and the open file that each is in."""
    files = [safe_open(path, "pt") for path in sorted(folder.glob("*.safetensors"))]
    return {name: file for file in files for name in file.keys()}  # noqa: SIM118 - no mapping
