"""One optimizer step on one mini-batch, in micro-batches."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Self

import torch
from torch import Tensor

from kpo.advantage import group_advantages
from kpo.diagnostics import RatioStatistics
from kpo.distributed.ranks import ALONE, Ranks
from kpo.distributed.sharding import full
from kpo.model.policy import Policy, response_logprobs
from kpo.objective import Objective, ObjectiveOutput, TokenBatch, denominator, divides_by_std
from kpo.trainer.batch import Rollouts, micro_batches, nothing, token_lists
from kpo.trainer.guards.failure import FailedResponse


@dataclass
class StepMetrics:
    """Sums over everything that a step's updates saw; divided when the step is logged.

    `updates` is the number of optimizer steps that were taken; `sums` are (sum, count) pairs [2] in
    float64.
    """

    updates: int = 0
    sums: dict[str, Tensor] = field(default_factory=dict)
    ratios: RatioStatistics = field(default_factory=RatioStatistics)

    def add(self, name: str, total: Tensor | float, count: Tensor | float = 1.0) -> None:
        """Add a (sum, count) pair."""
        pair = torch.tensor([float(total), float(count)], dtype=torch.float64)
        self.sums[name] = self.sums.get(name, 0) + pair

    def merge(self, others: Sequence[Self]) -> None:
        """Add what other ranks saw."""
        for other in others:
            for name, pair in other.sums.items():
                self.add(name, *pair)
            self.ratios.merge(other.ratios)

    def summary(self) -> dict[str, float]:
        """Every metric's mean, and the statistics of the ratios."""
        sums = self.sums.items()
        means = {name: float(total / count.clamp(min=1)) for name, (total, count) in sums}
        return {**means, **self.ratios.summary()}


class NonFinite(Exception):  # noqa: N818 - not an error yet: the trainer saves it first
    """An optimizer step that was not taken: what is NaN or infinite, and where."""

    def __init__(self, what: str, failed: list[FailedResponse]) -> None:
        super().__init__(what)
        self.what, self.failed = what, failed


@dataclass(frozen=True)
class Updater:
    """What every optimizer step of a run shares.

    Attributes:
        budget: tokens of a micro-batch.
        importance_cap: bound of the truncated weights pi_old / pi_rollout; None: no weights.
    """

    policy: Policy
    optimizer: torch.optim.Optimizer
    objective: Objective
    budget: int
    clip_norm: float
    importance_cap: float | None = None
    ranks: Ranks = ALONE

    def update(
        self,
        rollouts: Rollouts,
        rows: Sequence[int],
        metrics: StepMetrics,
        between: Callable[[], None] = nothing,
    ) -> None:
        """Minimise the objective's mean over the mini-batch `rows` by one optimizer step.

        The loss is divided once by what it is a mean over in the whole mini-batch, so the gradient
        depends neither on how it is cut into micro-batches nor on the number of ranks. All ranks
        call `between` before each of their micro-batches. Where it raises, and where anything is
        not finite, which raises NonFinite on every rank, no step is taken and `metrics` stay.
        """
        self.optimizer.zero_grad(set_to_none=True)
        parts = micro_batches(rollouts.prompts, rollouts.responses, rows, self.budget, self.ranks)
        total = denominator(self.objective, (len(rollouts.responses[row].tokens) for row in rows))
        seen: list[tuple[list[int], TokenBatch, ObjectiveOutput]] = []
        fault = None
        for part in parts:
            between()
            batch = self.forward(rollouts, part)
            output = self.objective(batch)
            if fault is None:  # what follows a fault is not suspect
                fault = _fault(output)
                seen = [*(seen if fault is None else []), (part, batch, output)]
            (output.loss * self.ranks.size / total).backward()  # FSDP averages over ranks
        norm = full(torch.nn.utils.clip_grad_norm_(self.policy.model.parameters(), self.clip_norm))
        faults = [*self.ranks.gather(fault), None if norm.isfinite() else "gradient"]
        if any(faults):
            failed = [own for part, batch, _ in seen for own in _failed(rollouts, part, batch)]
            raise NonFinite(next(filter(None, faults)), failed)
        for _, batch, output in seen:
            metrics.add("loss", output.loss.detach(), output.count)
            for name, (value, count) in output.metrics.items():
                metrics.add(name, value, count)
            metrics.ratios.add(batch, output.log_ratio, self.objective)
        metrics.add("grad_norm", norm / self.ranks.size, 1 / self.ranks.size)
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)  # rollouts need the memory
        metrics.updates += 1

    def forward(self, rollouts: Rollouts, rows: list[int]) -> TokenBatch:
        """The objective's view of some responses under the present policy."""
        sequences = token_lists(rollouts.prompts, rollouts.responses, rows)
        logprobs, _, mask = response_logprobs(self.policy, *sequences)
        index = torch.tensor(rows, device=logprobs.device)
        place = index, slice(logprobs.shape[1])
        old = rollouts.old_logprobs[place]
        if self.importance_cap is not None:
            # The value stays, the gradient of each token is weighted: right for every objective.
            weight = (old - rollouts.sampled_logprobs[place]).exp().clamp(max=self.importance_cap)
            logprobs = logprobs.detach() + weight * (logprobs - logprobs.detach())
        return TokenBatch(
            logprobs=logprobs,
            old_logprobs=old,
            advantages=advantages_of(self.objective, rollouts, index),
            mask=mask,
        )


def advantages_of(objective: Objective, rollouts: Rollouts, index: Tensor) -> Tensor:
    """The advantages of the rows `index` [B] as an objective takes them [B]."""
    advantages = group_advantages(rollouts.rewards, divide_by_std=divides_by_std(objective))
    return advantages.to(index.device).flatten()[index]


def _failed(rollouts: Rollouts, rows: list[int], batch: TokenBatch) -> Iterator[FailedResponse]:
    """Each response of a suspect micro-batch, with its part of it."""
    for i, row in enumerate(rows):
        prompt, tokens = rollouts.prompts[row // rollouts.group], rollouts.responses[row].tokens
        place = slice(i, i + 1), slice(len(tokens))
        per_token = batch.logprobs[place], batch.old_logprobs[place]
        parts = *per_token, batch.advantages[i : i + 1], batch.mask[place]
        own = TokenBatch(*(part.detach().cpu().clone() for part in parts))
        yield FailedResponse(prompt.id, prompt.tokens, tokens, own)


def _fault(output: ObjectiveOutput) -> str | None:
    """Which part of an objective's output is not finite."""
    if not output.loss.isfinite():
        return "loss"
    return None if output.log_ratio.exp().isfinite().all() else "ratio"
