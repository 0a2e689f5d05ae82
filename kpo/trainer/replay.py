"""A step that was not finite, once more: what of it comes back, in which response and token."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import astuple, dataclass, fields
from pathlib import Path

import torch
from torch import Tensor

from kpo.config.experiment import Experiment
from kpo.distributed.ranks import ALONE, Ranks
from kpo.distributed.sharding import full, shard
from kpo.model.loading import load_policy
from kpo.model.policy import Policy, response_logprobs
from kpo.objective import Objective, TokenBatch, denominator, token_log_ratio
from kpo.trainer.guards.failure import FailedResponse, Failure, load_failed_weights


@dataclass(frozen=True)
class Row:
    """One response, a row of the table that `python -m kpo.replay --help` explains."""

    prompt: str
    tokens: int
    advantage: float
    raw: float
    used: float
    old: int | None
    stored: int | None
    recomputed: int | None
    ratio: int | None
    loss: bool


@dataclass(frozen=True)
class Replayed:
    """The responses, their mean loss, and the parameters whose weight or gradient is not finite."""

    rows: list[Row]
    loss: float
    weights: list[str]
    gradients: list[str]


def replay(policy: Policy, objective: Objective, failed: Sequence[FailedResponse]) -> Replayed:
    """Recompute log-probs, loss and gradient of every response, one after the other."""
    policy.model.zero_grad(set_to_none=True)
    total = denominator(objective, (len(each.tokens) for each in failed))
    rows, loss = [], 0.0
    for each in failed:
        logprobs, _, mask = response_logprobs(policy, [each.prompt], [each.tokens])
        old, advantages = each.batch.old_logprobs, each.batch.advantages
        now = TokenBatch(logprobs, old.to(logprobs), advantages.to(logprobs), mask)
        output = objective(now)
        (output.loss / total).backward()
        loss += output.loss.item() / total
        row = Row(
            prompt=each.prompt_id,
            tokens=len(each.tokens),
            advantage=float(advantages),
            raw=float(token_log_ratio(now).detach().abs().max()),
            used=float(output.log_ratio.abs().max()),
            old=first_non_finite(old),
            stored=first_non_finite(each.batch.logprobs),
            recomputed=first_non_finite(logprobs),
            ratio=first_non_finite(output.log_ratio.exp()),
            loss=bool(output.loss.isfinite()),
        )
        rows.append(row)
    weights = dict(policy.model.named_parameters())
    gradients = {name: p.grad for name, p in weights.items() if p.grad is not None}
    return Replayed(rows, loss, non_finite(weights), non_finite(gradients))


def first_non_finite(values: Tensor) -> int | None:
    """The place of the first NaN or infinity in values [1, T], None where there is none."""
    places = (~values.isfinite()).flatten().nonzero()
    return int(places[0]) if len(places) else None


def non_finite(tensors: Mapping[str, Tensor]) -> list[str]:
    """Names of the tensors, sharded or not, that hold NaN or infinity."""
    return [name for name, tensor in tensors.items() if not full(tensor).isfinite().all()]


def report(failure: Failure, replayed: Replayed) -> str:
    """The replay as text: a table of responses, then the parameters that are not finite."""
    table = [[field.name for field in fields(Row)]]
    table += [[cell(value) for value in astuple(row)] for row in replayed.rows]
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    lines = [f"step {failure.step}: the {failure.what} was not finite", ""]
    lines += ["  ".join(map(str.rjust, line, widths)) for line in table]
    lines += ["", f"mean loss: {replayed.loss:.6g}"]
    for what, found in (("weights", replayed.weights), ("gradient", replayed.gradients)):
        lines.append(f"parameters with non-finite {what}: {len(found) or 'none'}")
        lines += [f"  {name}" for name in found]
    return "\n".join(lines)


def cell(value: str | float | bool | None) -> str:
    """A value of the table as text."""
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "finite" if value else "NOT FINITE"
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def run(experiment: Experiment, method: str, base: Path, failure: Failure) -> Replayed:
    """Replay with the failure's weights, computed as the trainer does, but in one process.

    Raises UserError for weights that are not of the base policy's model.
    """
    train, chosen = experiment.train_of(method), experiment.methods[method]
    torch.set_num_threads(train.threads)
    on_gpu = train.gpus and torch.cuda.is_available()
    ranks = Ranks(device=torch.device("cuda", 0)) if on_gpu else ALONE
    policy = load_policy(base, longest=train.longest)
    load_failed_weights(policy.model, failure)
    policy = shard(policy, ranks, train.scoring)
    return replay(policy, chosen.build(), failure.responses)
