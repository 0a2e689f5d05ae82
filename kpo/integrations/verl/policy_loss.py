"""An objective of the registry as verl's policy loss: same masks, same division, its own settings.

verl adds up what the micro-batches of a mini-batch return, and averages over its dp ranks. So a
micro-batch returns

    (its sum of losses) / (responses or tokens of the whole mini-batch, on all ranks) * dp_size

and neither micro-batches nor ranks change the gradient.

verl's number of responses counts those without a token too, which the suite's own trainer does not.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from functools import partial
from typing import Any

from torch import Tensor
from verl.trainer.ppo.core_algos import register_policy_loss
from verl.workers.config import ActorConfig, PolicyLossConfig

from kpo.common.plugins import names
from kpo.integrations.verl.means import agg_mode
from kpo.objective import MeanOver, Objective, TokenBatch, mean_over, token_log_ratio
from kpo.registry import GROUP, OBJECTIVES, make_objective

PREFIX = "kpo_"
OF_ITS_OWN_LOSSES = (
    *("clip_ratio", "clip_ratio_low", "clip_ratio_high", "clip_ratio_c"),
    *("tau_pos", "tau_neg"),
)
"""Settings of verl's actor that no objective reads."""


@dataclass
class PolicyLoss(PolicyLossConfig):
    """verl's `actor.policy_loss`, with the settings of an objective.

    Attributes:
        loss_mode: `kpo_` and the objective's name.
        settings: of the objective, as in an experiment file.

    Raises ValueError for what is no objective, or none of its settings.
    """

    settings: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        objective_of(self.loss_mode, self.settings)


def loss_modes() -> list[str]:
    """What `loss_mode` may be."""
    return [PREFIX + name for name in names(OBJECTIVES, GROUP)]


def register() -> None:
    """Make every objective known to verl, and say so: verl hides a plugin that fails."""
    for mode in loss_modes():
        register_policy_loss(mode)(partial(policy_loss, mode))
    print("kpo.integrations.verl: policy losses", ", ".join(loss_modes()), file=sys.stderr)


def objective_of(mode: str, settings: Mapping[str, Any]) -> Objective:
    """The objective that a `loss_mode` means.

    Raises ValueError for one that means none, and for settings that are not the objective's.
    """
    if mode not in loss_modes():
        raise ValueError(f"policy_loss.loss_mode is {mode!r}; there is {', '.join(loss_modes())}")
    try:
        return make_objective(mode.removeprefix(PREFIX), **settings)
    except ValueError as error:
        raise ValueError(
            f"policy_loss.settings, read where policy_loss._target_ is"
            f" {PolicyLoss.__module__.rpartition('.')[0]}.{PolicyLoss.__name__}: {error}"
        ) from error


def policy_loss(
    mode: str,
    old_log_prob: Tensor,
    log_prob: Tensor,
    advantages: Tensor,
    response_mask: Tensor,
    loss_agg_mode: str,
    config: ActorConfig,
    rollout_is_weights: Tensor | None = None,
) -> tuple[Tensor, dict[str, float]]:
    """A micro-batch's part of the mini-batch's loss, and its metrics.

    Args:
        mode: a `loss_mode` of ours.
        old_log_prob: log pi_old [B, T] in nats.
        log_prob: log pi_theta [B, T] in nats, with gradient; half precision is widened to float32.
        advantages: [B, T], the same at every token of a response.
        response_mask: [B, T], nonzero where a token belongs to the response.
        loss_agg_mode: what the loss is a mean over; entropy and KL terms of verl are it too.
        config: of verl's actor.
        rollout_is_weights: [B, T], the same at every token of a response; None: 1.

    Raises ValueError where verl's settings ask for what the objective is not.
    """
    objective = objective_of(mode, config.policy_loss.get("settings", {}))
    over = mean_over(objective)
    _check_actor(mode, over, loss_agg_mode, config)
    A = _of_responses(advantages, response_mask, mode, "advantages", "algorithm.adv_estimator=grpo")
    if rollout_is_weights is not None:
        how = "algorithm.rollout_correction.rollout_is=sequence"
        A = A * _of_responses(rollout_is_weights, response_mask, mode, "rollout_is_weights", how)
    batch = TokenBatch(log_prob, old_log_prob, A, response_mask)
    output = objective(batch)
    tokens = response_mask.sum().clamp(min=1)
    metrics = {"actor/ppo_kl": float(-token_log_ratio(batch).detach().sum() / tokens)}
    for name, (total, count) in output.metrics.items():
        metrics[f"actor/{name}"] = float(total / count.clamp(min=1))
    return output.loss / _divisor(over, output.count, config.global_batch_info), metrics


def _check_actor(mode: str, over: MeanOver, loss_agg_mode: str, config: ActorConfig) -> None:
    """Raise ValueError where the actor's settings mean another loss than the objective's."""
    if loss_agg_mode != (wanted := agg_mode(over)):
        raise ValueError(
            f"actor.loss_agg_mode is {loss_agg_mode!r}, but {mode} is a mean of its own: set it to"
            f" {wanted!r}"
        )
    if isinstance(over, int) and config.loss_scale_factor != over:
        raise ValueError(
            f"actor.loss_scale_factor is {config.loss_scale_factor}, but in {mode} a response"
            f" counts as {over} tokens: set it to {over}"
        )
    for declared in fields(ActorConfig):
        value = config.get(declared.name)
        if declared.name in OF_ITS_OWN_LOSSES and value != declared.default:
            raise ValueError(
                f"actor.{declared.name} is {value}, but {mode} does not read it: leave it at"
                f" {declared.default}; clips are set in actor.policy_loss.settings"
            )


def _of_responses(values: Tensor, mask: Tensor, mode: str, what: str, mend: str) -> Tensor:
    """One number of each response [B], of [B, T] in which all of its tokens have the same."""
    mask = mask.bool()
    first = mask.int().argmax(1, keepdim=True)
    found = values.gather(1, first)
    if ((values != found) & mask).any():
        raise ValueError(
            f"{what} differ between the tokens of a response, which {mode} cannot hold: set {mend}"
        )
    return found.squeeze(1).masked_fill(~mask.any(1), 0)


def _divisor(over: MeanOver, count: Tensor, batch: Mapping[str, Any]) -> Tensor | float:
    """What a sum of losses is divided by: the mini-batch's size over dp_size.

    verl that names no size means this micro-batch alone.
    """
    name = "batch_num_tokens" if over == "tokens" else "global_batch_size"
    size, ranks = batch.get(name), batch.get("dp_size", 1)
    if size is not None:
        return size * (over if isinstance(over, int) else 1) / ranks
    if ranks > 1:
        raise ValueError(f"verl gives no {name}, without which {ranks} ranks have no mean")
    return count.clamp(min=1)
