"""The memory, rate and disk that a run would have, here or on a machine that is planned for."""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import torch
from torch.utils.benchmark import Timer

from kpo.common.cli import UserError
from kpo.common.cores import cores
from kpo.config.evaluate import Evaluate
from kpo.config.experiment import Experiment
from kpo.config.train import Train


@dataclass(frozen=True)
class Device:
    """A GPU, or a machine without: bytes, and operations a second in large matrix products."""

    memory: float
    rate: float


@dataclass(frozen=True)
class Machine:
    """A rank's device, or its part of one; the evaluation's, None where nothing is known of it.

    `disk` are free bytes and `at_once` runs that can train at the same time; both are None where
    the run is planned for another machine.
    """

    rank: Device
    evaluation: Device | None
    disk: float | None = None
    at_once: int | None = None


def machine_for(
    experiment: Experiment, config: Any, memory_gb: float | None, tflops: float | None
) -> Machine:
    """This machine, or with both figures given, another. Raises UserError for missing GPUs.

    The figures are of the devices that train, and that evaluate where those are of the same kind.
    """
    train, evaluate = experiment.train, experiment.evaluate
    measured = cache(lambda *how: matrix_rate(config, *how))

    def device(section: Train | Evaluate, dtype: str, told: bool) -> Device:
        kind = torch.device("cuda" if section.gpus else "cpu")
        return Device(
            memory=memory_gb * 1e9 if told and memory_gb else _memory(kind),
            rate=tflops * 1e12 if told and tflops else measured(dtype, kind, section.threads),
        )

    elsewhere, same_kind = bool(memory_gb and tflops), bool(train.gpus) == bool(evaluate.gpus)
    if not elsewhere:
        _check_gpus(train=train.gpus, evaluate=evaluate.gpus)
    training = device(train, train.scoring, told=True)
    sharing = 1 if train.gpus else train.per_node  # ranks on the device
    known = same_kind or not elsewhere
    return Machine(
        rank=Device(training.memory / sharing, training.rate),
        evaluation=device(evaluate, evaluate.dtype, told=same_kind) if known else None,
        disk=None if elsewhere else shutil.disk_usage(Path.cwd()).free,
        at_once=None if elsewhere else _runs_at_once(experiment),
    )


def _check_gpus(**wanted: int) -> None:
    found = torch.cuda.device_count()
    for key, gpus in wanted.items():
        if gpus > found:
            raise UserError(
                f"{key}.gpus is {gpus}, but torch sees {found}: lower it, or plan for another"
                " machine with both --memory-gb and --device-tflops"
            )


def _runs_at_once(experiment: Experiment) -> int:
    """Runs for which there are GPUs, or cores."""
    train = experiment.train
    there = torch.cuda.device_count() if train.gpus else cores()
    most = there // (train.gpus or train.threads * train.per_node)
    return max(1, min(most, len(experiment.runs)))


def _memory(device: torch.device) -> float:
    if device.type == "cuda":
        return float(torch.cuda.get_device_properties(device).total_memory)
    return float(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"))


def matrix_rate(
    config: Any, dtype: str, device: torch.device, threads: int, seconds: float = 1.0
) -> float:
    """Operations a second of the model's largest product, tokens through its feed-forward layer."""
    kind = {"dtype": getattr(torch, dtype), "device": device}
    x = torch.randn(4096, config.hidden_size, **kind)
    w = torch.randn(config.hidden_size, config.intermediate_size, **kind)
    timer = Timer("x @ w", globals={"x": x, "w": w}, num_threads=threads)
    return 2 * len(x) * w.numel() / min(timer.blocked_autorange(min_run_time=seconds).times)
