"""Rollouts as tensors and back, for checkpoints of runs whose rollouts wait to be learnt from."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Literal

import torch
from torch import Tensor

from kpo.advantage import group_advantages
from kpo.noise_floor import NOISE
from kpo.rollout.engine import Response
from kpo.trainer.batch import Prompt, Rollouts

_AS_THEY_ARE = ("rewards", "old_logprobs", "sampled_logprobs", "mask")
_WITH_THEM = ("tokens", "cut", "entropy", "noise")


def as_tensors(waiting: Sequence[Rollouts]) -> dict[str, Tensor]:
    """All that cannot be had again from the prompts' order, by number and name."""
    return {
        f"{i}.{name}": tensor
        for i, rollouts in enumerate(waiting)
        for name, tensor in _tensors(rollouts).items()
    }


def from_tensors(
    tensors: Mapping[str, Tensor], prompts: Callable[[int], list[Prompt]], device: torch.device
) -> list[Rollouts]:
    """The inverse of `as_tensors`; `prompts` gives the prompts of the i-th."""
    count = len({name.partition(".")[0] for name in tensors})
    return [
        _rollouts(
            {name: tensors[f"{i}.{name}"] for name in (*_AS_THEY_ARE, *_WITH_THEM)},
            prompts(i),
            device,
        )
        for i in range(count)
    ]


def _tensors(rollouts: Rollouts) -> dict[str, Tensor]:
    tokens = torch.tensor([token for r in rollouts.responses for token in r.tokens])
    return {
        **{name: getattr(rollouts, name) for name in _AS_THEY_ARE},
        "tokens": tokens,  # one response after the other; their lengths are the mask's
        "cut": torch.tensor([response.finish == "length" for response in rollouts.responses]),
        "entropy": torch.tensor(rollouts.entropy, dtype=torch.float64),
        "noise": torch.tensor(list(rollouts.noise.values()), dtype=torch.float64),
    }


def _rollouts(
    tensors: Mapping[str, Tensor], prompts: list[Prompt], device: torch.device
) -> Rollouts:
    counts = tensors["mask"].sum(1).tolist()
    tokens = [part.tolist() for part in tensors["tokens"].split(counts)]
    logprobs = [
        row[:count].tolist() for row, count in zip(tensors["sampled_logprobs"], counts, strict=True)
    ]
    finish: list[Literal["stop", "length"]] = [
        "length" if cut else "stop" for cut in tensors["cut"].tolist()
    ]
    return Rollouts(
        prompts=prompts,
        responses=[Response(*parts) for parts in zip(tokens, logprobs, finish, strict=True)],
        rewards=tensors["rewards"],
        advantages=group_advantages(tensors["rewards"]),
        old_logprobs=tensors["old_logprobs"].to(device),
        sampled_logprobs=tensors["sampled_logprobs"].to(device),
        mask=tensors["mask"].to(device),
        entropy=float(tensors["entropy"]),
        noise=dict(zip(NOISE, tensors["noise"].tolist(), strict=False)),  # none was measured
    )
