"""What training goes on from beside its rollouts: weights, optimizer, schedule, generators."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.distributed.checkpoint.state_dict import StateDictOptions, get_optimizer_state_dict
from torch.optim.lr_scheduler import LRScheduler

from kpo.distributed.ranks import ALONE, Ranks


def training_state(model: nn.Module, optimizer: torch.optim.AdamW) -> dict[str, Tensor]:
    """The weights and the optimizer's state by name: the tensors themselves, tied ones once.

    What is loaded into them is thereby restored. DTensors where the model is sharded.
    """
    weights: dict[int, tuple[str, Tensor]] = {}
    for name, tensor in model.state_dict(keep_vars=True).items():
        weights.setdefault(id(tensor), (f"model.{name}", tensor.detach()))
    is_new = not optimizer.state
    options = StateDictOptions(flatten_optimizer_state_dict=True)
    held: dict[str, Any] = get_optimizer_state_dict(model, optimizer, options=options)
    if is_new:  # torch has made it by a step without gradients, and counted that
        for own in optimizer.state.values():
            own["step"].zero_()
    state = {f"optimizer.{k}": v for k, v in held.items() if isinstance(v, Tensor)}
    return dict(weights.values()) | state


def set_schedule_state(schedule: LRScheduler, state: dict[str, Any]) -> None:
    """Put the schedule, and its optimizer's learning rates, where its state_dict says."""
    schedule.load_state_dict(state)
    for group, lr in zip(schedule.optimizer.param_groups, schedule.get_last_lr(), strict=True):
        group["lr"] = lr


def random_states(ranks: Ranks = ALONE) -> list[dict[str, Any]]:
    """States of the random generators of every rank; collective."""
    drawn: Any = np.random.get_state()
    on_gpu = ranks.device.type == "cuda"
    return ranks.gather(
        {
            "python": random.getstate(),
            "numpy": [drawn[0], drawn[1].tolist(), *drawn[2:]],
            "torch": torch.get_rng_state(),
            "cuda": torch.cuda.get_rng_state(ranks.device) if on_gpu else None,
        }
    )


def set_random_states(states: list[dict[str, Any]], ranks: Ranks = ALONE) -> None:
    """Put this rank's random generators where `random_states` found them.

    Where there are more ranks than states, the further ones take the first ones' states.
    """
    state = states[ranks.rank % len(states)]
    version, words, gauss = state["python"]
    random.setstate((version, tuple(words), gauss))
    np.random.set_state(tuple(state["numpy"]))
    torch.set_rng_state(state["torch"])
    if state["cuda"] is not None:
        torch.cuda.set_rng_state(state["cuda"], ranks.device)
