"""TRL's GRPOTrainer (1.16) with any objective of the registry in place of its losses.

Prompts, responses, rewards, advantages and log-probs are TRL's; the loss is the objective's sum,
divided by what it is a mean over in the whole optimizer step, on all ranks. TRL differs from
`kpo.trainer` in what it hands over: it adds 1e-4, not 1e-6, to the standard deviation that divides
advantages, and log-probs are those at the temperature of sampling.
"""

from __future__ import annotations

import inspect
import warnings
from collections.abc import Mapping
from typing import Any, ClassVar

import torch
from torch import Tensor
from trl import GRPOConfig, GRPOTrainer

from kpo.objective import Objective, TokenBatch, denominator, divides_by_std, mean_over
from kpo.objective_check import check_objective
from kpo.registry import make_objective

LOSS_TYPES = {"responses": "grpo", "tokens": "dapo"}
"""What TRL calls a mean; that over a constant length is its "dr_grpo"."""
OWN_TERMS = (
    *("beta", "entropy_coef", "use_adaptive_entropy", "top_entropy_quantile"),
    *("off_policy_mask_threshold", "multi_objective_aggregation"),
)
"""TRL's settings of what its losses have besides an objective."""
OWN_SHAPES = (
    *("epsilon", "epsilon_high", "delta", "importance_sampling_level"),
    *("sapo_temperature_neg", "sapo_temperature_pos"),
    *("vespo_k_pos", "vespo_lambda_pos", "vespo_k_neg", "vespo_lambda_neg"),
)
"""TRL's settings of ratios and clips, which an objective has of its own."""


class KPOTrainer(GRPOTrainer):
    """GRPOTrainer that minimises an objective, and nothing besides.

    Args:
        model, reward_funcs, args: as GRPOTrainer takes them, and its other arguments by name.
        objective: a name of the registry, or an objective.
        settings: what an objective that is named is built with.

    Raises ValueError before anything is loaded where `args` leave the objective without old
    log-probs or ask for what it cannot hold, and where there is no such objective.
    """

    _tag_names = ("trl", "kpo")  # of the model card, as are the other two
    _paper: ClassVar[dict[str, str]] = {}

    def __init__(
        self,
        model: Any,
        reward_funcs: Any,
        args: GRPOConfig,
        *,
        objective: str | Objective,
        settings: Mapping[str, Any] | None = None,
        **others: Any,
    ) -> None:
        self.objective = built(objective, settings)
        check_config(args, self.objective)
        self._name = type(self.objective).__name__
        super().__init__(model, reward_funcs, args, **others)
        require(
            not self.aux_loss_enabled,
            f"the model adds {self.router_aux_loss_coef} times a loss of its router, but only the"
            " objective is minimised here: set router_aux_loss_coef=0.0",
        )

    def _compute_loss(self, model: Any, inputs: Mapping[str, Any]) -> Tensor:
        """The micro-batch's part of the objective's mean over the optimizer step."""
        score = self._get_per_token_logps_and_entropies
        read = {
            name: inputs[name] for name in inspect.signature(score).parameters if name in inputs
        }
        logprobs, entropies, _ = score(
            model,
            torch.cat([inputs["prompt_ids"], inputs["completion_ids"]], 1),
            torch.cat([inputs["prompt_mask"], inputs["completion_mask"]], 1),
            inputs["completion_ids"].shape[1],
            compute_entropy=True,
            **read,  # pictures
        )
        mask = loss_mask(inputs)
        batch = TokenBatch(logprobs, inputs["old_per_token_logps"], advantages(inputs), mask)
        output = self.objective(batch)
        entropy = entropies.detach().masked_fill(~mask, 0).sum(), mask.sum()
        self._log_means({"entropy": entropy, **output.metrics})
        return output.loss * self.accelerator.num_processes / self._denominator(inputs)

    def _denominator(self, inputs: Mapping[str, Any]) -> Tensor:
        """What the loss is divided by: counted in all micro-batches of the step, on all ranks.

        They are known before the first, as they are parts of one generation.
        """
        parts = [inputs]
        if self.model.training:
            size = self.args.gradient_accumulation_steps
            first = self._step % self.args.steps_per_generation // size * size
            parts = self._buffered_inputs[first : first + size]
        lengths = torch.cat([loss_mask(part).sum(1) for part in parts])
        own = lengths.new_tensor(denominator(self.objective, lengths.tolist()))
        return self.accelerator.reduce(own).clamp(min=1)

    def _log_means(self, pairs: Mapping[str, tuple[Any, Any]]) -> None:
        """Log (sum, count) of every name as a mean over all ranks."""
        own = torch.tensor([[float(part) for part in pair] for pair in pairs.values()])
        sums = self.accelerator.reduce(own.to(self.accelerator.device))
        means = (sums[:, 0] / sums[:, 1]).tolist()
        metrics = self._metrics["train" if self.model.training else "eval"]
        for name, mean in zip(pairs, means, strict=True):
            metrics[name].append(mean)  # NaN where nothing was counted: TRL leaves it out


def loss_mask(inputs: Mapping[str, Any]) -> Tensor:
    """Where tokens of a micro-batch are the policy's own [B, T]: not padding, not a tool's."""
    return (inputs["completion_mask"] * inputs.get("tool_mask", 1)).bool()


def advantages(inputs: Mapping[str, Any]) -> Tensor:
    """A [B], times the response's weight against vLLM where there is one."""
    A: Tensor = inputs["advantages"]
    weights = inputs.get("importance_sampling_ratio")
    return A if weights is None else A * weights.squeeze(1)


def built(objective: str | Objective, settings: Mapping[str, Any] | None) -> Objective:
    """The objective, tried on small batches; raises ValueError where it is none."""
    if isinstance(objective, str):
        objective = make_objective(objective, **(settings or {}))
    else:
        require(settings is None, "settings are those of an objective that is given by name")
    check_objective(objective)
    return objective


def check_config(args: GRPOConfig, objective: Objective) -> None:
    """Raise ValueError unless TRL, so set, trains on the objective and on nothing else."""
    _check_updates(args)
    _check_means(args, objective)
    for names, reason in (
        (OWN_TERMS, "only the objective is minimised"),
        (OWN_SHAPES, f"{type(objective).__name__} has settings of its own"),
    ):
        for name in names:
            value, usual = getattr(args, name), GRPOConfig.__dataclass_fields__[name].default
            require(value == usual, f"{name} is {value!r}, but must stay {usual!r}: {reason}")
    mode = args.vllm_importance_sampling_mode
    require(
        not (args.use_vllm and args.vllm_importance_sampling_correction)
        or mode.startswith("sequence"),
        f"vllm_importance_sampling_mode is {mode!r}, but an objective has one advantage a response:"
        " choose 'sequence_mask' or 'sequence_truncate'",
    )
    if args.bf16 or args.fp16:
        warnings.warn(
            "KPOTrainer: in half precision the log-ratios of small updates are rounding, on which"
            " clips of 3e-4 act: set bf16=False and fp16=False",
            stacklevel=3,
        )


def _check_updates(args: GRPOConfig) -> None:
    """Old log-probs are there, and a whole optimizer step is in sight."""
    size, rounds = args.gradient_accumulation_steps, args.steps_per_generation
    require(
        rounds % size == 0,
        f"steps_per_generation is {rounds}, but must be a multiple of gradient_accumulation_steps,"
        f" {size}: what an optimizer step's loss is divided by is counted in one generation",
    )
    require(
        rounds * args.num_iterations > size,
        f"with steps_per_generation={rounds} and num_iterations={args.num_iterations} each response"
        " serves one update, of the weights that sampled it: TRL hands over no old log-probs, and"
        f" all ratios are 1; set steps_per_generation={4 * size}, for four updates a generation",
    )


def _check_means(args: GRPOConfig, objective: Objective) -> None:
    """TRL's settings say what the objective's loss is a mean over, and what scales advantages."""
    over = mean_over(objective)
    wanted = {
        "loss_type": LOSS_TYPES[over] if isinstance(over, str) else "dr_grpo",
        "scale_rewards": "group" if divides_by_std(objective) else "none",
    }
    for name, value in wanted.items():
        require(
            getattr(args, name) == value,
            f"{name} is {getattr(args, name)!r}, but {type(objective).__name__} wants"
            f" {name}={value!r}",
        )


def require(met: bool, sentence: str) -> None:
    """Raise ValueError with the sentence unless it is met."""
    if not met:
        raise ValueError(f"KPOTrainer: {sentence}")
