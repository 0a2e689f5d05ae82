"""One optimizer step on one mini-batch, in micro-batches."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field

import torch
from torch import Tensor

from kpo.diagnostics import RatioStatistics
from kpo.objective import Objective, TokenBatch
from kpo.policy import Policy, response_logprobs
from kpo.trainer.batch import Rollouts, by_length


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

    def summary(self) -> dict[str, float]:
        """Every metric's mean, and the statistics of the ratios."""
        means = {name: self.sums[name] / max(1.0, self.counts[name]) for name in self.sums}
        return {**means, **self.ratios.summary()}


def update(
    policy: Policy,
    optimizer: torch.optim.Optimizer,
    objective: Objective,
    rollouts: Rollouts,
    rows: list[int],
    *,
    micro_batch: int,
    clip_norm: float,
    metrics: StepMetrics,
) -> None:
    """Minimise the objective's mean over the mini-batch `rows` by one optimizer step.

    The loss is divided once by the number of responses of the whole mini-batch, so the gradient
    does not depend on how the mini-batch is cut into micro-batches.
    """
    policy.model.train()
    optimizer.zero_grad(set_to_none=True)
    total = max(1, int(rollouts.mask[rows].any(1).sum()))
    for part in by_length(rollouts.responses, rows, micro_batch):
        batch = forward(policy, rollouts, part)
        output = objective(batch)
        (output.loss / total).backward()
        metrics.add("loss", output.loss.detach(), output.count)
        for name, (value, count) in output.metrics.items():
            metrics.add(name, value, count)
        metrics.ratios.add(batch, output.log_ratio, objective)
    norm = torch.nn.utils.clip_grad_norm_(policy.model.parameters(), clip_norm)
    metrics.add("grad_norm", norm)
    optimizer.step()


def forward(policy: Policy, rollouts: Rollouts, rows: list[int]) -> TokenBatch:
    """The objective's view of some responses under the present policy."""
    logprobs, _, mask = response_logprobs(
        policy,
        [rollouts.prompts[row // rollouts.group].tokens for row in rows],
        [rollouts.responses[row].tokens for row in rows],
    )
    index = torch.tensor(rows, device=logprobs.device)
    return TokenBatch(
        logprobs=logprobs,
        old_logprobs=rollouts.old_logprobs[index, : logprobs.shape[1]],
        advantages=rollouts.advantages.to(logprobs.device).flatten()[index],
        mask=mask,
    )
