"""The memory, rate and disk that a run would have, here or on a machine that is planned for."""

from __future__ import annotations

import os
import shutil
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from kpo.config.experiment import Experiment


class MachineError(RuntimeError):
    """This machine does not have the GPUs that the experiment asks for."""


@dataclass(frozen=True)
class Device:
    """A GPU, or a machine without: bytes, and operations a second in large matrix products."""

    memory: float
    rate: float


@dataclass(frozen=True)
class Machine:
    """What the runs and their evaluation would have.

    Attributes:
        memory: bytes for each rank of a run.
        rate: floating-point operations a second of each rank, in large matrix products.
        disk: free bytes; None where the run is planned for another machine.
        at_once: runs that can train at the same time; None where that is not known.
        evaluation: each of the evaluation's devices; None where nothing is known of them.
    """

    memory: float
    rate: float
    disk: float | None = None
    at_once: int | None = None
    evaluation: Device | None = None


def gb(value: float) -> str:
    """Bytes for readers."""
    return f"{value / 1e9:.2f} GB"


def machine_for(
    experiment: Experiment, config: Any, memory_gb: float | None, tflops: float | None
) -> Machine:
    """This machine, or with both figures given, another. Raises MachineError for missing GPUs."""
    train, evaluate = experiment.train, experiment.evaluate
    same_kind = bool(train.gpus) == bool(evaluate.gpus)
    if memory_gb and tflops:
        there = Device(memory_gb * 1e9, tflops * 1e12)
        return Machine(
            there.memory / (1 if train.gpus else train.world),
            there.rate,
            evaluation=there if same_kind else None,
        )
    found = torch.cuda.device_count()
    for key, wanted in (("train", train.gpus), ("evaluate", evaluate.gpus)):
        if wanted > found:
            raise MachineError(
                f"{key}.gpus is {wanted}, but torch sees {found}: lower it, or plan for another"
                " machine with both --memory-gb and --device-tflops"
            )

    def here(gpus: int, dtype: str, threads: int) -> Device:
        device = torch.device("cuda" if gpus else "cpu")
        torch.set_num_threads(threads)
        given = memory_gb if bool(gpus) == bool(train.gpus) else None
        return Device(
            memory=given * 1e9 if given else _memory(device),
            rate=tflops * 1e12 if tflops else matrix_rate(config, dtype, device),
        )

    training = here(train.gpus, train.scoring, train.threads)
    alike = same_kind and (train.scoring, train.threads) == (evaluate.dtype, evaluate.threads)
    return Machine(
        memory=training.memory if train.gpus else training.memory / train.world,
        rate=training.rate,
        disk=shutil.disk_usage(Path.cwd()).free,
        at_once=_runs_at_once(experiment, found),
        evaluation=training if alike else here(evaluate.gpus, evaluate.dtype, evaluate.threads),
    )


def _runs_at_once(experiment: Experiment, gpus: int) -> int:
    """Runs for which there are GPUs, or cores."""
    train = experiment.train
    cores = len(os.sched_getaffinity(0))
    most = gpus // train.gpus if train.gpus else cores // (train.threads * train.world)
    return max(1, min(most, len(experiment.runs)))


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
