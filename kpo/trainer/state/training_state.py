"""All that training goes on from, as named tensors and as JSON, for checkpoints."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.optim.lr_scheduler import LRScheduler

from kpo.distributed.ranks import ALONE, Ranks


def training_state(model: nn.Module, optimizer: torch.optim.AdamW) -> dict[str, Tensor]:
    """The weights and the optimizer's state by name: the tensors themselves, tied ones once.

    What is loaded into them is thereby restored. State that the optimizer would make at its first
    step is made here, as zeros. DTensors where the model is sharded.
    """
    tensors: dict[str, Tensor] = {}
    names: dict[int, str] = {}
    for name, tensor in model.state_dict(keep_vars=True).items():
        if id(tensor) not in names:
            names[id(tensor)] = name
            tensors[f"model.{name}"] = tensor.detach()
    for group in optimizer.param_groups:
        for parameter in group["params"]:
            if not parameter.requires_grad:
                continue
            if not optimizer.state[parameter]:
                optimizer.state[parameter] = _first_state(parameter, group)
            for key, tensor in optimizer.state[parameter].items():
                tensors[f"optimizer.{names[id(parameter)]}.{key}"] = tensor
    return tensors


def _first_state(parameter: Tensor, group: dict[str, Any]) -> dict[str, Tensor]:
    """AdamW's state of a parameter before its first step."""
    on_device = group["fused"] or group["capturable"]
    return {
        "step": torch.zeros((), device=parameter.device if on_device else None),
        "exp_avg": torch.zeros_like(parameter, memory_format=torch.preserve_format),
        "exp_avg_sq": torch.zeros_like(parameter, memory_format=torch.preserve_format),
    }


def schedule_state(schedule: LRScheduler) -> dict[str, Any]:
    """Where the learning-rate schedule stands, as JSON."""
    return schedule.state_dict()


def set_schedule_state(schedule: LRScheduler, state: dict[str, Any]) -> None:
    """Put the schedule, and its optimizer's learning rates, where the state says."""
    schedule.load_state_dict(state)
    for group, lr in zip(schedule.optimizer.param_groups, schedule.get_last_lr(), strict=True):
        group["lr"] = lr


def random_states(ranks: Ranks = ALONE) -> list[dict[str, Any]]:
    """States of the random generators of every rank, as JSON; collective."""
    version, words, gauss = random.getstate()
    drawn: Any = np.random.get_state()
    kind, keys, *rest = drawn
    on_gpu = ranks.device.type == "cuda"
    return ranks.gather(
        {
            "python": [version, list(words), gauss],
            "numpy": [kind, keys.tolist(), *rest],
            "torch": _hex(torch.get_rng_state()),
            "cuda": _hex(torch.cuda.get_rng_state(ranks.device)) if on_gpu else None,
        }
    )


def set_random_states(states: list[dict[str, Any]], ranks: Ranks = ALONE) -> None:
    """Put this rank's random generators where `random_states` found them.

    Where there are more ranks than states, the further ones take the first ones' states.
    """
    state = states[ranks.rank % len(states)]
    version, words, gauss = state["python"]
    random.setstate((version, tuple(words), gauss))
    kind, keys, *rest = state["numpy"]
    np.random.set_state((kind, np.array(keys, dtype=np.uint32), *rest))
    torch.set_rng_state(_from_hex(state["torch"]))
    if state["cuda"] is not None:
        torch.cuda.set_rng_state(_from_hex(state["cuda"]), ranks.device)


def _hex(state: Tensor) -> str:
    return state.numpy().tobytes().hex()


def _from_hex(text: str) -> Tensor:
    return torch.frombuffer(bytearray.fromhex(text), dtype=torch.uint8)
