"""Calls of verl's policy losses, ours and its own, as its actor makes them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor
from verl.trainer.ppo.core_algos import get_policy_loss_fn
from verl.workers.config import FSDPActorConfig, PolicyLossConfig

from kpo.integrations.verl import PolicyLoss
from kpo.objective import TokenBatch
from tests.kpo.cases import random_batch, rows_of


class Answer(NamedTuple):
    loss: Tensor
    gradient: Tensor
    """With respect to the log-probs, as a list of tokens."""
    metrics: dict[str, float]


def without_empty_rows(seed: int) -> TokenBatch:
    """A random batch in which every response has a token."""
    batch = random_batch(seed)
    batch.mask[:, 3] = True
    return batch


def of_verl(mode: str, **settings: Any) -> FSDPActorConfig:
    """An actor of verl with a loss of its own."""
    return actor(PolicyLossConfig(loss_mode=mode), **settings)


def of_ours(mode: str, agg_mode: str, scale: int | None = None, **settings: Any) -> FSDPActorConfig:
    """An actor of verl with one of our objectives."""
    policy_loss = PolicyLoss(loss_mode=mode, settings=settings)
    return actor(policy_loss, loss_agg_mode=agg_mode, loss_scale_factor=scale)


def actor(policy_loss: PolicyLossConfig, **settings: Any) -> FSDPActorConfig:
    return FSDPActorConfig(
        rollout_n=1, ppo_micro_batch_size_per_gpu=1, policy_loss=policy_loss, **settings
    )


def ask(
    config: FSDPActorConfig,
    batch: TokenBatch,
    whole: Mapping[str, int] = {},
    *,
    weights: Tensor | None = None,
    dtype: torch.dtype | None = None,
) -> Answer:
    """What the actor's loss says of a micro-batch.

    `whole`: sizes of the mini-batch and number of ranks; `dtype` is of the log-probs.
    """
    leaf = batch.logprobs.detach().clone().to(dtype=dtype).requires_grad_()
    old = batch.old_logprobs.to(dtype=dtype)
    loss, metrics = micro_batch(config, batch, whole, leaf, old, weights)
    (gradient,) = torch.autograd.grad(loss, leaf)
    return Answer(loss.detach(), gradient[batch.mask], metrics)


def micro_batch(
    config: FSDPActorConfig,
    batch: TokenBatch,
    whole: Mapping[str, int],
    logprobs: Tensor | None = None,
    old_logprobs: Tensor | None = None,
    weights: Tensor | None = None,
) -> tuple[Tensor, dict[str, float]]:
    """The call as verl makes it; log-probs other than the batch's may be given.

    Padding holds advantages and weights of 0, as in verl.
    """
    sizes = {"dp_size": 1, "batch_num_tokens": None, "global_batch_size": None, **whole}
    config.global_batch_info.update(sizes, loss_scale_factor=config.loss_scale_factor)
    loss, metrics = get_policy_loss_fn(config.policy_loss.loss_mode)(
        old_log_prob=batch.old_logprobs if old_logprobs is None else old_logprobs,
        log_prob=batch.logprobs if logprobs is None else logprobs,
        advantages=batch.advantages[:, None] * batch.mask,
        response_mask=batch.mask,
        loss_agg_mode=config.loss_agg_mode,
        config=config,
        rollout_is_weights=None if weights is None else weights[:, None] * batch.mask,
    )
    return loss, metrics


def in_parts(
    config: FSDPActorConfig, batch: TokenBatch, ranks: Sequence[Sequence[Sequence[int]]]
) -> Answer:
    """The same as FSDP has it: micro-batches (their rows) added up, and the mean over ranks."""
    whole = {
        "dp_size": len(ranks),
        "batch_num_tokens": int(batch.mask.sum()),
        "global_batch_size": len(batch.mask),
    }
    loss = batch.logprobs.new_zeros(())
    gradient = torch.zeros_like(batch.logprobs)
    for rows in (torch.tensor(part) for rank in ranks for part in rank):
        part = rows_of(batch, rows)
        answer = ask(config, part, whole)
        loss += answer.loss / len(ranks)
        piece = torch.zeros_like(part.logprobs)
        piece[part.mask] = answer.gradient / len(ranks)
        gradient[rows, : piece.shape[1]] = piece
    return Answer(loss, gradient[batch.mask], {})
