"""What an objective makes of a batch: the share of tokens that it clips, and of gradient it drops.

On policy, every objective's gradient is sum_t u_t sign(A_i) grad log pi_t with u_t = |A_i| / T_i,
or |A_i| for a mean over tokens. A token is dropped if the derivative of the loss by its log-prob is
exactly 0. The share of the gradient that is dropped is

    sum of u_t over dropped tokens / sum of u_t over all tokens

Sizes are those on policy, so that what other tokens weigh, above 1 or below, neither hides a
dropped token nor makes one; an objective that only bounds weights (CISPO) drops nothing. All is in
float64. `clip_fraction` is the objective's own: the tokens that it calls clipped.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from kpo.diagnosis.responses import Response
from kpo.objective import Objective, ObjectiveOutput, TokenBatch, divides_by_std, mean_over
from kpo.series.ragged import Ragged


def padded(rows: Sequence[Response]) -> tuple[TokenBatch, TokenBatch]:
    """Responses as batches, with advantages divided by the standard deviation, and not."""
    present, mask = (torch.from_numpy(x) for x in Ragged.of([one.present for one in rows]).padded())
    old = torch.from_numpy(Ragged.of([one.old for one in rows]).padded()[0])
    pairs = torch.tensor([one.advantages for one in rows], dtype=torch.float64)
    divided, centred = (TokenBatch(present, old, pairs[:, i], mask) for i in range(2))
    return divided, centred


def look(
    objective: Objective, batches: tuple[TokenBatch, TokenBatch]
) -> tuple[ObjectiveOutput, Tensor, Tensor]:
    """The objective's output on `padded` responses, u [B, T], and which tokens it drops [B, T].

    Tokens of a response without an advantage have no gradient to drop.
    """
    batch = batches[0 if divides_by_std(objective) else 1]
    logprobs = batch.logprobs.detach().clone().requires_grad_()
    output = objective(TokenBatch(logprobs, batch.old_logprobs, batch.advantages, batch.mask))
    (gradient,) = torch.autograd.grad(output.loss, logprobs)
    mask = batch.mask.bool()
    own = 1 / mask.double().sum(1, keepdim=True) if mean_over(objective) == "responses" else 1.0
    size = (batch.advantages.abs()[:, None] * own).expand(mask.shape).masked_fill(~mask, 0)
    return output, size, (size > 0) & (gradient == 0)


@dataclass
class Effect:
    """Adds up, over batches, what an objective clips and drops."""

    clipped: float = 0.0
    tokens: float = 0.0
    dropped: float = 0.0
    size: float = 0.0

    def add(self, objective: Objective, batches: tuple[TokenBatch, TokenBatch]) -> None:
        """Add `padded` responses."""
        output, size, gone = look(objective, batches)
        clipped, tokens = output.metrics["clip_fraction"]
        self.clipped += float(clipped)
        self.tokens += float(tokens)
        self.dropped += float(size[gone].sum())
        self.size += float(size.sum())

    def summary(self) -> dict[str, float]:
        """Both shares; nan where there is nothing."""
        return {
            "clip_fraction": self.clipped / self.tokens if self.tokens else np.nan,
            "gradient_dropped": self.dropped / self.size if self.size else np.nan,
        }
