"""Gradients of several objectives at the same weights, by the trainer's own log-probs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from kpo.baselines.reinforce import REINFORCE
from kpo.objective import MeanOver, Objective, denominator, divides_by_std, mean_over
from kpo.trainer.batch import Rollouts, micro_batches
from kpo.trainer.step import Updater, advantages_of


@dataclass(frozen=True, kw_only=True)
class OnPolicy(REINFORCE):
    """The policy gradient with the advantages of another objective, and its mean."""

    mean_over: MeanOver = "responses"
    divides_by_std: bool = True

    @classmethod
    def of(cls, objective: Objective) -> OnPolicy:
        """What an objective is an estimator of."""
        return cls(mean_over=mean_over(objective), divides_by_std=divides_by_std(objective))


def gradients(
    updater: Updater, objectives: Sequence[Objective], rollouts: Rollouts, rows: Sequence[int]
) -> tuple[Tensor, Tensor]:
    """What one optimizer step on the mini-batch `rows` would follow under each of M objectives.

    Returns: the gradients of the losses [M, P], not clipped to a norm, at the policy's present
    weights, P in all; and the share of clipped tokens [M], NaN for an objective that says none.
    """
    weights = list(updater.policy.model.parameters())
    lengths = [len(rollouts.responses[row].tokens) for row in rows]
    totals = [denominator(objective, lengths) for objective in objectives]
    found = torch.zeros(
        len(objectives), sum(weight.numel() for weight in weights), dtype=weights[0].dtype
    )
    clipped = torch.zeros(len(objectives), 2, dtype=torch.float64)
    for part in micro_batches(rollouts.prompts, rollouts.responses, rows, updater.budget):
        batch = updater.forward(rollouts, part)
        index = torch.tensor(part, device=batch.logprobs.device)
        for i, objective in enumerate(objectives):
            advantages = advantages_of(objective, rollouts, index)
            output = objective(replace(batch, advantages=advantages))
            loss = output.loss / totals[i]
            more = i + 1 < len(objectives)
            each = torch.autograd.grad(loss, weights, retain_graph=more)
            found[i] += torch.cat([gradient.flatten() for gradient in each]).cpu()
            clipped[i] += torch.tensor([*map(float, output.metrics.get("clip_fraction", (0, 0)))])
    return found, clipped[:, 0] / clipped[:, 1]
