"""The memory, rate and disk that a run would have, here or on a machine that is planned for."""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch.utils.benchmark import Timer

from kpo.common.cli import UserError
from kpo.config.evaluate import Evaluate
from kpo.config.experiment import Experiment
from kpo.config.train import Train


class MachineError(UserError):
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
        rank: a rank's device, or its part of one.
        evaluation: each of the evaluation's devices; None where nothing is known of them.
        disk: free bytes; None where the run is planned for another machine.
        at_once: runs that can train at the same time; None where that is not known.
    """

    rank: Device
    evaluation: Device | None
    disk: float | None = None
    at_once: int | None = None


def machine_for(
    experiment: Experiment, config: Any, memory_gb: float | None, tflops: float | None
) -> Machine:
    """This machine, or with both figures given, another. Raises MachineError for missing GPUs."""
    train, evaluate = experiment.train, experiment.evaluate
    same_kind = bool(train.gpus) == bool(evaluate.gpus)
    at_a_time = 1 if train.gpus else train.world  # ranks that share the device
    if memory_gb and tflops:
        there = Device(memory_gb * 1e9, tflops * 1e12)
        rank = Device(there.memory / at_a_time, there.rate)
        return Machine(rank, there if same_kind else None)
    found = torch.cuda.device_count()
    for key, wanted in (("train", train.gpus), ("evaluate", evaluate.gpus)):
        if wanted > found:
            raise MachineError(
                f"{key}.gpus is {wanted}, but torch sees {found}: lower it, or plan for another"
                " machine with both --memory-gb and --device-tflops"
            )

    def here(section: Train | Evaluate, dtype: str, memory_gb: float | None) -> Device:
        device = torch.device("cuda" if section.gpus else "cpu")
        return Device(
            memory=memory_gb * 1e9 if memory_gb else _memory(device),
            rate=tflops * 1e12 if tflops else matrix_rate(config, dtype, device, section.threads),
        )

    training = here(train, train.scoring, memory_gb)
    alike = same_kind and (train.scoring, train.threads) == (evaluate.dtype, evaluate.threads)
    evaluation = training
    if not alike:
        evaluation = here(evaluate, evaluate.dtype, memory_gb if same_kind else None)
    return Machine(
        rank=Device(training.memory / at_a_time, training.rate),
        evaluation=evaluation,
        disk=shutil.disk_usage(Path.cwd()).free,
        at_once=_runs_at_once(experiment, found),
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
    config: Any,
    dtype: str,
    device: torch.device,
    threads: int,
    *,
    tokens: int = 4096,
    seconds: float = 1.0,
) -> float:
    """Operations a second of the model's largest product, tokens through its feed-forward layer."""
    kind = {"dtype": getattr(torch, dtype), "device": device}
    x = torch.randn(tokens, config.hidden_size, **kind)
    w = torch.randn(config.hidden_size, config.intermediate_size, **kind)
    timer = Timer("x @ w", globals={"x": x, "w": w}, num_threads=threads)
    return 2 * tokens * w.numel() / min(timer.blocked_autorange(min_run_time=seconds).times)
