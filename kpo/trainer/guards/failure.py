"""What is kept of a step whose loss, gradient or ratio is not finite, for `python -m kpo.replay`.

failure-step-000010/
    failure.json          step, what is not finite, settings, the responses of all ranks,
    failure.safetensors   and their tensors, as the objective saw them
    weights.safetensors   the weights, whole
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors.torch import load_file, save_file

from kpo.common.cli import UserError
from kpo.common.files import atomic_folder
from kpo.common.values import read_values, write_values
from kpo.distributed.ranks import ALONE, Ranks
from kpo.distributed.sharding import whole_weights
from kpo.objective import TokenBatch

CONTENT, WEIGHTS = "failure", "weights.safetensors"
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
class FailedResponse:
    """A response that may be at fault: its prompt, its tokens, and its own row of the batch [1, T].

    Tensors lie in main memory.
    """

    prompt_id: str
    prompt: list[int]
    tokens: list[int]
    batch: TokenBatch


@dataclass(frozen=True)
class Failure:
    """A saved failure: its step, what is not finite, the run's settings, all ranks' responses."""

    folder: Path
    step: int
    what: str
    settings: dict[str, Any]
    responses: list[FailedResponse]


def save_failure(
    folder: Path,
    failed: Sequence[FailedResponse],
    *,
    step: int,
    what: str,
    model: Any,
    settings: Mapping[str, Any],
    ranks: Ranks = ALONE,
) -> Path:
    """Write a failure and return its folder; collective: every rank brings its own responses.

    The weights are those before the optimizer step. Raise NonFiniteError after it.
    """
    path = folder / f"failure-step-{step:06d}"
    responses, weights = ranks.concatenate(failed), whole_weights(model, ranks)
    if ranks.is_main:
        content = {"step": step, "what": what, "settings": settings, "responses": responses}
        with atomic_folder(path, WEIGHTS) as partial:
            write_values(partial / CONTENT, content)
            save_file(weights, partial / WEIGHTS)
    ranks.wait()  # a rank that ends early would end the one that writes
    return path


def load_failure(folder: Path) -> Failure:
    """Read a failure, but not its weights. Raises UserError for a folder without one."""
    if not (folder / WEIGHTS).is_file():
        raise UserError(f"{folder}: no failure of a run is saved here")
    content = read_values(folder / CONTENT)
    saved = content.pop("responses")
    responses = [FailedResponse(**{**own, "batch": TokenBatch(**own["batch"])}) for own in saved]
    return Failure(folder, **content, responses=responses)


def load_failed_weights(model: Any, failure: Failure) -> None:
    """Give a model, not sharded yet, the failure's weights. Raises UserError if it has others."""
    weights = load_file(failure.folder / WEIGHTS)
    own = {name: parameter.shape for name, parameter in model.named_parameters()}
    if own != {name: weight.shape for name, weight in weights.items()}:
        raise UserError(f"{failure.folder}: its weights are of another model than the base policy")
    model.load_state_dict(weights, strict=False)  # tied ones are there once
