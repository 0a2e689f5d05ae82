"""A custom loss for prime-rl (0.8): any objective of the registry, by import path.

    [trainer.loss]
    type = "custom"
    import_path = "kpo.integrations.prime_rl.loss"

    [trainer.loss.kwargs]
    objective = "kpo"
    q = 1e-6
    tokens_per_response = 4096

prime-rl has no pi_old of its own: log-ratios are the trainer's log-probs less the sampler's, so z
holds what the two engines differ by. It divides a step's losses by all its tokens, which is what a
mean over tokens wants; `tokens_per_response`, about the mean length of a response, turns that into
any other mean, up to how the mean length changes from step to step.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Any, Protocol

from torch import Tensor

from kpo.objective import Objective, TokenBatch, mean_over
from kpo.objective_check import check_objective
from kpo.registry import make_objective


class Inputs(Protocol):
    """What is read of prime-rl's LossInputs: one sequence, every tensor [seq]."""

    trainer_logprobs: Tensor
    inference_logprobs: Tensor
    advantages: Tensor
    loss_mask: Tensor
    loss_weights: Tensor | None


@dataclass(frozen=True)
class Outputs:
    """What prime-rl reads of its LossOutputs: a sum over tokens, and numbers for its log."""

    loss: Tensor
    metrics: dict[str, Tensor]


def loss(
    inputs: Inputs, *, objective: str, tokens_per_response: float | None = None, **settings: Any
) -> Outputs:
    """The objective's loss on one sequence; prime-rl adds up those of a step, and divides.

    Args:
        inputs: prime-rl's LossInputs.
        objective: a name of the registry.
        tokens_per_response: for an objective that is no mean over tokens, and only for it.
        settings: the objective's.

    Raises ValueError for an objective that cannot be built, for `tokens_per_response` missing or
    needless, and for advantages that differ within the response.
    """
    made, scale = built(objective, tokens_per_response, **settings)
    mask = inputs.loss_mask.bool()
    logprobs = inputs.trainer_logprobs
    if inputs.loss_weights is not None:  # the value stays, the gradient of each token is weighted
        logprobs = logprobs.detach() + inputs.loss_weights * (logprobs - logprobs.detach())
    advantages = inputs.advantages.masked_fill(~mask, 0)
    A = advantages[mask.byte().argmax()]  # of the first token that counts; 0 where none does
    if bool((mask & (advantages != A)).any()):
        raise ValueError(
            "an objective has one advantage a response, but they differ between its tokens: choose"
            " an algorithm of prime-rl that has one, as grpo has"
        )
    rows = logprobs, inputs.inference_logprobs, A, mask
    output = made(TokenBatch(*(row[None] for row in rows)))
    metrics = {
        name: (A.new_tensor(float(total)) / max(float(count), 1.0))
        for name, (total, count) in output.metrics.items()
    }
    return Outputs(output.loss * scale, metrics)


@cache
def built(
    objective: str, tokens_per_response: float | None, **settings: Any
) -> tuple[Objective, float]:
    """The objective, tried on small batches, and what its sums are multiplied with."""
    made = make_objective(objective, **settings)
    check_objective(made)
    over = mean_over(made)
    if over == "tokens":
        if tokens_per_response is not None:
            raise ValueError(
                f"objective {objective} is a mean over tokens, as prime-rl takes it: leave"
                " tokens_per_response out"
            )
        return made, 1.0
    if tokens_per_response is None or tokens_per_response <= 0:
        raise ValueError(
            f"objective {objective} is no mean over tokens, by which prime-rl divides: give"
            " tokens_per_response, about the mean length of a response"
        )
    return made, tokens_per_response / (1 if over == "responses" else over)
