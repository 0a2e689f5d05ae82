"""The memory, rate and disk that a run would have, here or on a machine that is planned for."""

from __future__ import annotations

import os
import shutil
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from kpo.config import Experiment


class MachineError(RuntimeError):
    """This machine does not have the GPUs that the experiment asks for."""


@dataclass(frozen=True)
class Machine:
    """What the run would have.

    Attributes:
        memory: bytes for each rank.
        rate: floating-point operations a second of each rank, in large matrix products.
        disk: free bytes; None where the run is planned for another machine.
    """

    memory: float
    rate: float
    disk: float | None = None


def machine_for(
    experiment: Experiment, config: Any, memory_gb: float | None, tflops: float | None
) -> Machine:
    """This machine, or with both figures given, another. Raises MachineError for missing GPUs."""
    train = experiment.train
    if memory_gb and tflops:
        return Machine(memory_gb * 1e9 / (1 if train.gpus else train.world), tflops * 1e12)
    there = torch.cuda.device_count()
    for key, wanted in (("train", train.gpus), ("evaluate", experiment.evaluate.gpus)):
        if wanted > there:
            raise MachineError(
                f"{key}.gpus is {wanted}, but torch sees {there}: lower it, or plan for another"
                " machine with both --memory-gb and --device-tflops"
            )
    device = torch.device("cuda" if train.gpus else "cpu")
    memory = memory_gb * 1e9 if memory_gb else _memory(device)
    torch.set_num_threads(train.threads)
    return Machine(
        memory=memory if train.gpus else memory / train.world,
        rate=tflops * 1e12 if tflops else matrix_rate(config, train.dtype, device),
        disk=shutil.disk_usage(Path.cwd()).free,
    )


def _memory(device: torch.device) -> float:
    if device.type == "cuda":
        return float(torch.cuda.get_device_properties(device).total_memory)
    return float(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"))


def matrix_rate(
    config: Any, dtype: str, device: torch.device, *, tokens: int = 4096, seconds: float = 1.0
) -> float:
    """Operations a second of the model's largest product, tokens through its feed-forward layer."""
    kind = {"dtype": getattr(torch, dtype), "device": device}
    x = torch.randn(tokens, config.hidden_size, **kind)
    w = torch.randn(config.hidden_size, config.intermediate_size, **kind)
    best, end = float("inf"), time.perf_counter() + seconds
    while time.perf_counter() < end or best == float("inf"):
        start = time.perf_counter()
        for _ in range(10):
            x @ w
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        best = min(best, (time.perf_counter() - start) / 10)
    return 2 * tokens * w.numel() / best
