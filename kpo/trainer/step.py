"""One optimizer step on one mini-batch, in micro-batches."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Self

import torch
from torch import Tensor

from kpo.diagnostics import RatioStatistics
from kpo.objective import Objective, TokenBatch
from kpo.policy import Policy, response_logprobs
from kpo.ranks import ALONE, Ranks
from kpo.sharding import full
from kpo.trainer.batch import Rollouts, micro_batches


@dataclass
class StepMetrics:
    """Sums over everything that a step's updates saw; divided when the step is logged."""

    sums: dict[str, float] = field(default_factory=lambda: defaultdict(float))
    counts: dict[str, float] = field(default_factory=lambda: defaultdict(float))
    ratios: RatioStatistics = field(default_factory=RatioStatistics)

    def add(self, name: str, total: Tensor | float, count: Tensor | float = 1.0) -> None:
        """Add a (sum, count) pair."""
        self.sums[name] += float(total)
        self.counts[name] += float(count)

    def merge(self, others: Sequence[Self]) -> None:
        """Add what other ranks saw."""
        for other in others:
            for name in other.sums:
                self.add(name, other.sums[name], other.counts[name])
            self.ratios.merge(other.ratios)

    def summary(self) -> dict[str, float]:
        """Every metric's mean, and the statistics of the ratios."""
        means = {name: self.sums[name] / max(1.0, self.counts[name]) for name in self.sums}
        return {**means, **self.ratios.summary()}


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

    def update(self, rollouts: Rollouts, rows: Sequence[int], metrics: StepMetrics) -> None:
        """Minimise the objective's mean over the mini-batch `rows` by one optimizer step.

        The loss is divided once by the number of responses of the whole mini-batch, so the gradient
        depends neither on how it is cut into micro-batches nor on the number of ranks.
        """
        self.policy.model.train()
        self.optimizer.zero_grad(set_to_none=True)
        parts = micro_batches(rollouts.prompts, rollouts.responses, rows, self.budget, self.ranks)
        for part in parts:
            batch = self.forward(rollouts, part)
            output = self.objective(batch)
            (output.loss * self.ranks.size / len(rows)).backward()  # FSDP averages over ranks
            metrics.add("loss", output.loss.detach(), output.count)
            for name, (value, count) in output.metrics.items():
                metrics.add(name, value, count)
            metrics.ratios.add(batch, output.log_ratio, self.objective)
        norm = torch.nn.utils.clip_grad_norm_(self.policy.model.parameters(), self.clip_norm)
        metrics.add("grad_norm", full(norm) / self.ranks.size, 1 / self.ranks.size)
        self.optimizer.step()

    def forward(self, rollouts: Rollouts, rows: list[int]) -> TokenBatch:
        """The objective's view of some responses under the present policy."""
        logprobs, _, mask = response_logprobs(
            self.policy,
            [rollouts.prompts[row // rollouts.group].tokens for row in rows],
            [rollouts.responses[row].tokens for row in rows],
        )
        index = torch.tensor(rows, device=logprobs.device)
        old, sampled = (
            values[index, : logprobs.shape[1]]
            for values in (rollouts.old_logprobs, rollouts.sampled_logprobs)
        )
        if self.importance_cap is not None:
            # The value stays, the gradient of each token is weighted: right for every objective.
            weight = (old - sampled).exp().clamp(max=self.importance_cap)
            logprobs = logprobs.detach() + weight * (logprobs - logprobs.detach())
        return TokenBatch(
            logprobs=logprobs,
            old_logprobs=old,
            advantages=rollouts.advantages.to(logprobs.device).flatten()[index],
            mask=mask,
        )
