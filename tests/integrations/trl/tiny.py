"""A few updates of a tiny policy with TRL, and what each was made of."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from datasets import Dataset
from torch import Tensor
from trl import GRPOConfig, GRPOTrainer

from kpo.integrations.trl import KPOTrainer
from kpo.model.policy import Policy
from kpo.objective import Objective
from tests.kpo.models import tiny_policy

LR = 1e-2
ENDS = [1, *range(5, 98, 9)]
PROMPTS = ["12+3=", "4", "a+b", "77*2=", "9", "0-0", "e", "x1"]


def reward(completions: list[str], **_: Any) -> list[float]:
    """Something that differs between the responses of a group."""
    return [float(sum(map(ord, text)) % 5) for text in completions]


def config(folder: Path, **changes: Any) -> GRPOConfig:
    """Two updates a generation, of two micro-batches of four responses each, by plain descent."""
    usual: dict[str, Any] = {
        "output_dir": str(folder),
        "loss_type": "grpo",
        "per_device_train_batch_size": 4,
        "gradient_accumulation_steps": 2,
        "steps_per_generation": 4,
        "num_generations": 4,
        "max_completion_length": 12,
        "max_steps": 3,
        "optim": "sgd",
        "learning_rate": LR,
        "lr_scheduler_type": "constant",
        "max_grad_norm": 0.0,
        "use_cpu": True,
        "bf16": False,
        "gradient_checkpointing": False,
        "logging_steps": 1,
        "save_strategy": "no",
        "report_to": "none",
        "disable_tqdm": True,
        "dataloader_pin_memory": False,
    }
    return GRPOConfig(**{**usual, **changes})


@dataclass
class Update:
    """An optimizer step: the weights before it, its micro-batches and their losses."""

    weights: dict[str, Tensor]
    inputs: list[dict[str, Any]] = field(default_factory=list)
    losses: list[float] = field(default_factory=list)


class Recorded(KPOTrainer):
    """Keeps what every update was made of."""

    def _compute_loss(self, model: Any, inputs: Any) -> Tensor:
        loss = super()._compute_loss(model, inputs)
        if self._step % self.args.gradient_accumulation_steps == 0:
            self.updates = [*getattr(self, "updates", []), Update(weights(self))]
        self.updates[-1].inputs.append(inputs)
        self.updates[-1].losses.append(loss.item())
        return loss


def weights(trainer: Any) -> dict[str, Tensor]:
    """A copy of the weights."""
    return {name: value.detach().clone() for name, value in trainer.model.state_dict().items()}


def policy(loaded: dict[str, Tensor] | None = None) -> Policy:
    """The tiny policy, with padding on the left, as TRL wants it, and many an end of a response."""
    made = tiny_policy()
    made.tokenizer.padding_side = "left"
    made.model.generation_config.eos_token_id = ENDS
    if loaded is not None:
        made.model.load_state_dict(loaded)
    return made


def arguments(args: GRPOConfig, **changes: Any) -> dict[str, Any]:
    """What a trainer of TRL's is made with."""
    made = policy()
    usual = {
        "model": made.model,
        "reward_funcs": reward,
        "args": args,
        "train_dataset": Dataset.from_dict({"prompt": PROMPTS}),
        "processing_class": made.tokenizer,
    }
    return {**usual, **changes}


def trained(args: GRPOConfig, objective: str | Objective, **changes: Any) -> Recorded:
    """A trainer with an objective that took its steps."""
    trainer = Recorded(**arguments(args, objective=objective, **changes))
    trainer.train()
    return trainer


def trained_by_trl(args: GRPOConfig) -> dict[str, Tensor]:
    """The weights after TRL's own trainer took its steps."""
    trainer = GRPOTrainer(**arguments(args))
    trainer.train()
    return weights(trainer)
