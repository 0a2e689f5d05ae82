"""What every objective shares: its input, its output, and the clipped surrogate.

An objective is a frozen dataclass of settings that is called with a `TokenBatch` and returns a sum
of losses together with what it is a sum over. The trainer divides once, by the total of the whole
optimizer step, so gradients depend neither on micro-batches nor on padding nor on the number of
ranks.

Notation: z_{i,t} = log pi_theta(y_{i,t}) - log pi_old(y_{i,t}) is the log-ratio of token t of
response i, A_i the advantage, T_i the number of tokens, sg(.) stop-gradient.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from math import inf
from typing import TYPE_CHECKING, Annotated, Literal, Protocol

from kpo.settings import Within

if TYPE_CHECKING:  # experiment files are checked without torch, which takes seconds to import
    from torch import Tensor

Bound = Annotated[float, Within(ge=0)]
"""How far something may go: a setting."""

ShareBound = Annotated[float, Within(ge=0, lt=1)]
"""How far below 1 a ratio may go."""

Role = Literal["baseline", "control", "proposed"]
"""What a method is in a comparison: published before, part of an argument, or what is proposed."""

MeanOver = Literal["responses", "tokens"] | int
"""What a loss is a mean over; a number: each response counts as that many tokens."""


@dataclass(frozen=True)
class TokenBatch:
    """Responses of one micro-batch, aligned at their first token.

    Log-probs of half precision are widened to float32, with a warning: what rounding took is lost.

    Attributes:
        logprobs: log pi_theta [B, T] in nats, with gradient.
        old_logprobs: log pi_old [B, T] in nats.
        advantages: A_i [B].
        mask: [B, T], nonzero where a token belongs to the response; other places may hold anything.
    """

    logprobs: Tensor
    old_logprobs: Tensor
    advantages: Tensor
    mask: Tensor

    def __post_init__(self) -> None:
        tensors = self.logprobs, self.old_logprobs, self.mask, self.advantages
        shape, old, mask, advantages = (list(tensor.shape) for tensor in tensors)
        if not (len(shape) == 2 and old == mask == shape and advantages == shape[:1]):
            raise ValueError(
                "TokenBatch wants logprobs, old_logprobs, mask [B, T] and advantages [B], got"
                f" {shape}, {old}, {mask} and {advantages}"
            )
        for name in ("logprobs", "old_logprobs"):
            values: Tensor = getattr(self, name)
            if not values.is_floating_point():
                raise ValueError(f"TokenBatch wants {name} of floating point, got {values.dtype}")
            if values.element_size() < 4:
                warnings.warn(
                    f"TokenBatch: {name} are {values.dtype}, whose steps at -1 nat are coarser than"
                    " clips of 3e-4: they are widened to float32, but should be computed in it",
                    stacklevel=3,
                )
                object.__setattr__(self, name, values.float())


@dataclass(frozen=True)
class ObjectiveOutput:
    """What an objective returns.

    Attributes:
        loss: scalar, a sum over responses (to be minimised); loss / count is the mean.
        count: responses with at least one token, or tokens: see `Objective`.
        metrics: name -> (sum, count), to be added up over micro-batches before dividing.
        log_ratio: [B, T] detached, log of the ratio that weights each token's gradient, before
            clipping; 0 where masked. It feeds the diagnostics.
    """

    loss: Tensor
    count: Tensor
    metrics: Mapping[str, tuple[Tensor, Tensor]]
    log_ratio: Tensor


class Objective(Protocol):
    """A policy-optimisation objective: settings in the dataclass, the maths in the call.

    Three attributes of the class, all optional, say more about it:

        role: `Role`, how tables take it; "baseline" where it is not said.
        mean_over: `MeanOver`, what the count of its output counts; "responses" where it is not
            said. It may be a setting.
        divides_by_std: whether its advantages are divided by the group's standard deviation; True
            where it is not said.
    """

    def __call__(self, batch: TokenBatch) -> ObjectiveOutput:
        """Loss of the batch."""
        ...


def role_of(objective: object) -> Role:
    """The role that an objective, or its class, declares."""
    return getattr(objective, "role", "baseline")


def mean_over(objective: object) -> MeanOver:
    """What an objective declares its loss to be a mean over."""
    return getattr(objective, "mean_over", "responses")


def divides_by_std(objective: object) -> bool:
    """Whether an objective takes advantages that are divided by the standard deviation."""
    return getattr(objective, "divides_by_std", True)


def denominator(objective: object, lengths: Iterable[int]) -> int:
    """What an objective's loss on responses of these lengths, in tokens, is to be divided by."""
    over = mean_over(objective)
    if over == "tokens":
        return sum(lengths)
    return sum(length > 0 for length in lengths) * (1 if over == "responses" else over)


def token_log_ratio(batch: TokenBatch) -> Tensor:
    """z [B, T] with gradient, 0 where masked (whatever the padding holds)."""
    mask = batch.mask.bool()
    logprobs = batch.logprobs.masked_fill(~mask, 0)
    return logprobs - batch.old_logprobs.masked_fill(~mask, 0)


def masked_mean(values: Tensor, mask: Tensor) -> Tensor:
    """Mean of values [B, T] over each row's unmasked tokens [B]; 0 for a row without any."""
    mask = mask.bool()
    return values.masked_fill(~mask, 0).sum(1) / mask.sum(1).clamp(min=1)


def summed(values: Tensor, mask: Tensor, over: MeanOver) -> tuple[Tensor, Tensor]:
    """Sum and count of token values [B, T], whose quotient is their mean over what is said."""
    mask = mask.bool()
    if over == "responses":
        return masked_mean(values, mask).sum(), mask.any(1).sum()
    total = values.masked_fill(~mask, 0).sum()
    return total, mask.sum() if over == "tokens" else mask.any(1).sum() * over


def weighted_surrogate(
    batch: TokenBatch,
    value: Tensor,
    weight: Tensor,
    log_ratio: Tensor,
    over: MeanOver,
    dropped: Tensor | None = None,
) -> ObjectiveOutput:
    """The surrogate sum_i w_i sum_t v_{i,t} A_i whose gradient is that of sum_t sg(u_{i,t}) log pi.

    Every objective whose tokens are weighted one by one comes to this; w_i = 1 / T_i for a mean
    over responses, else 1.

    Args:
        batch: B responses of up to T tokens.
        value: v [B, T], what a token counts as in the loss.
        weight: u [B, T], what weighs A_i times the gradient of a token's log pi.
        log_ratio: [B, T], for the diagnostics.
        over: what the loss is a mean over.
        dropped: [B, T], which tokens count as clipped; None: none does.
    """
    mask = batch.mask.bool()
    A = batch.advantages[:, None]
    logprobs = batch.logprobs.masked_fill(~mask, 0)
    moved = logprobs - logprobs.detach()  # 0, with the gradient of log pi
    value, weight = (x.detach().masked_fill(A == 0, 0) for x in (value, weight))
    terms = (value + weight * moved) * A
    total, count = summed(terms, mask, over)
    clipped = mask & (~mask if dropped is None else dropped)
    return ObjectiveOutput(
        loss=-total,
        count=count,
        metrics={"clip_fraction": (clipped.sum(), mask.sum())},
        log_ratio=log_ratio.detach().masked_fill(~mask, 0),
    )


def clipped_surrogate(
    batch: TokenBatch,
    log_ratio: Tensor,
    clip_low: float | None,
    clip_high: float | None,
    over: MeanOver = "responses",
    factor: Tensor | float = 1.0,
) -> ObjectiveOutput:
    """The pessimistic clipped surrogate with a given log-ratio l_{i,t} per token.

        r_{i,t} = exp(sg(l_{i,t}) + log pi - sg(log pi))
        J = sum_i w_i sum_t min(r_{i,t} A_i, clip(r_{i,t}, 1 - clip_low, 1 + clip_high) A_i)

    with w_i = 1 / T_i for a mean over responses, else 1.

    A token's gradient is weighted by exp(l_{i,t}); a clipped token has none. With l = z this is
    exactly PPO's surrogate, as d exp(z) = exp(z) d log pi.

    Args:
        batch: B responses of up to T tokens.
        log_ratio: l [B, T], used without its gradient.
        clip_low: distance of the lower bound from 1; None together with clip_high: no clip.
        clip_high: distance of the upper bound from 1.
        over: what the loss is a mean over.
        factor: what each token's term is multiplied with, [B, T] or one number.
    """
    mask = batch.mask.bool()
    A = batch.advantages[:, None]
    log_ratio = log_ratio.detach().masked_fill(~mask, 0)
    ratio = log_ratio.exp()
    low, high = (0, inf) if clip_low is None or clip_high is None else (1 - clip_low, 1 + clip_high)
    bounded = ratio.clamp(low, high)
    clipped = mask & (bounded * A < ratio * A)
    value, weight = bounded.where(clipped, ratio) * factor, ratio.masked_fill(clipped, 0) * factor
    return weighted_surrogate(batch, value, weight, log_ratio, over, clipped)
