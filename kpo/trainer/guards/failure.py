"""What is kept of a step whose loss, gradient or ratio is not finite, for `python -m kpo.replay`.

failure-step-000010/
    failure.json              step, what is not finite, settings, number of ranks
    weights.safetensors       the weights, whole
    batch-00000.json          prompts and responses of rank 0's micro-batch
    batch-00000.safetensors   its tensors, as the objective saw them
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors.torch import load_file, save_file

from kpo.common.cli import UserError
from kpo.common.files import put_in_place, write_json
from kpo.common.values import read_values, write_values
from kpo.distributed.ranks import ALONE, Ranks
from kpo.distributed.sharding import whole_weights
from kpo.objective import TokenBatch

NAMED = 8
"""Prompts that an error names; all of them are in the saved batch."""


class NonFiniteError(UserError):
    """A loss, gradient or ratio is NaN or infinite; says where, and how to look at it."""

    def __init__(self, step: int, what: str, prompt_ids: Sequence[str], saved: Path) -> None:
        ids = list(dict.fromkeys(prompt_ids))
        more = f" and {len(ids) - NAMED} more" if len(ids) > NAMED else ""
        super().__init__(
            f"step {step}: the {what} is not finite in a batch of the prompts"
            f" {', '.join(ids[:NAMED])}{more}; to see where, run python -m kpo.replay --failure"
            f" {saved} with the run's --config, --method and --base"
        )


@dataclass(frozen=True)
class FailedBatch:
    """A micro-batch: for each row of the TokenBatch its prompt's id, prompt and response."""

    prompt_ids: list[str]
    prompts: list[list[int]]
    responses: list[list[int]]
    batch: TokenBatch

    def __post_init__(self) -> None:
        rows = len(self.batch.advantages)
        lists = (self.prompt_ids, self.prompts, self.responses)
        if any(len(values) != rows for values in lists):
            raise ValueError(
                f"FailedBatch wants an id, a prompt and a response for each of the batch's {rows}"
                f" rows, got {', '.join(str(len(values)) for values in lists)}"
            )


@dataclass(frozen=True)
class Failure:
    """A saved failure: its step, what is not finite, the run's settings and each rank's batch."""

    folder: Path
    step: int
    what: str
    settings: dict[str, Any]
    batches: list[FailedBatch]


def save_failure(
    folder: Path,
    failed: FailedBatch,
    *,
    step: int,
    what: str,
    model: Any,
    settings: Mapping[str, Any],
    ranks: Ranks = ALONE,
) -> Path:
    """Write a failure and return its folder; collective: every rank brings its own batch.

    The weights are those before the optimizer step, gathered one by one. Raise NonFiniteError after
    it.
    """
    path = folder / f"failure-step-{step:06d}"
    partial = path.with_name(f".{path.name}.partial")
    if ranks.is_main:
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir(parents=True)
    ranks.wait()
    write_values(partial / f"batch-{ranks.rank:05d}", failed)
    weights = whole_weights(model, ranks)
    ranks.wait()
    if ranks.is_main:
        save_file(weights, partial / "weights.safetensors")
        content = {"step": step, "what": what, "ranks": ranks.size, "settings": dict(settings)}
        write_json(partial / "failure.json", content)
        put_in_place(partial, path)
    ranks.wait()  # a rank that ends early would end the one that writes
    return path


def load_failure(folder: Path) -> Failure:
    """Read a failure, but not its weights. Raises FileNotFoundError for a folder without one."""
    content = json.loads((folder / "failure.json").read_text(encoding="utf-8"))
    saved = [read_values(folder / f"batch-{rank:05d}") for rank in range(content["ranks"])]
    batches = [FailedBatch(**{**own, "batch": TokenBatch(**own["batch"])}) for own in saved]
    return Failure(folder, content["step"], content["what"], content["settings"], batches)


def load_failed_weights(model: Any, failure: Failure) -> None:
    """Give a model, not sharded yet, the failure's weights. Raises UserError if it has others."""
    weights = load_file(failure.folder / "weights.safetensors")
    own = dict(model.named_parameters())
    theirs = {name: list(weight.shape) for name, weight in weights.items()}
    if theirs != {name: list(parameter.shape) for name, parameter in own.items()}:
        raise UserError(f"{failure.folder}: its weights are of another model than the base policy")
    for name, weight in weights.items():
        own[name].data.copy_(weight)
