"""A machine with GPUs that are not there, whose programs only take notes."""

from __future__ import annotations

import sys
import uuid
from dataclasses import dataclass
from pathlib import Path

import pytest

from kpo.distributed import leases
from tests.workspace import Workspace

# Stands for python: notes which GPUs it has, from when until when, and its arguments; ends when
# `together` jobs have begun. `python -m kpo.devices` is the real one.
SHIM = """#!/bin/sh
case "$*" in "-m kpo.devices "*) exec {python} "$@" ;; esac
echo "begin $(date +%s.%N) $CUDA_VISIBLE_DEVICES $*" >>"{log}"
for turn in $(seq 600); do
    [ "$(grep -c ^begin "{log}")" -lt {together} ] || break
    sleep 0.1
done
sleep 0.2
echo "end $(date +%s.%N) $CUDA_VISIBLE_DEVICES" >>"{log}"
exit 1
"""


@dataclass(frozen=True)
class Job:
    """What a program noted: its GPUs, its command, and from when until when it ran [s]."""

    gpus: frozenset[str]
    command: str
    begun: float
    ended: float


class Machine(Workspace):
    """A workspace on such a machine."""

    def __init__(
        self, folder: Path, monkeypatch: pytest.MonkeyPatch, gpus: int = 2, together: int = 1
    ) -> None:
        super().__init__(folder)
        self.log = folder / "started"
        self.uuids = [f"GPU-{uuid.uuid4()}" for _ in range(gpus)]
        smi = "".join(f"echo '{i}, {name}'\n" for i, name in enumerate(self.uuids))
        shim = SHIM.format(python=sys.executable, log=self.log, together=together)
        programs = {"nvidia-smi": f"#!/bin/sh\n{smi}", "python": shim}
        for name, text in programs.items():
            path = folder / "bin" / name
            path.parent.mkdir(exist_ok=True)
            path.write_text(text)
            path.chmod(0o755)
        monkeypatch.setenv("BASH_ENV", str(folder / "path"))  # of the shell that runs a job
        (folder / "path").write_text(f'PATH="{folder / "bin"}:$PATH"\n')
        monkeypatch.delenv("CUDA_VISIBLE_DEVICES")

    def jobs(self) -> list[Job]:
        """All that ran, in the order in which they began; fails where two had one GPU at a time."""
        running: list[tuple[frozenset[str], str, float]] = []
        found = []
        for line in self.log.read_text().splitlines():
            what, at, names, *command = line.split(" ")
            mine = frozenset(filter(None, names.split(",")))
            if what == "begin":
                assert not any(mine & job[0] for job in running), self.log.read_text()
                running.append((mine, " ".join(command), float(at)))
            else:
                job = next(job for job in running if job[0] == mine)
                running.remove(job)
                found.append(Job(*job, float(at)))
        return sorted(found, key=lambda job: job.begun)

    def started(self, *targets: str) -> list[Job]:
        """The jobs of one call."""
        given = ["--rerun-triggers", "mtime", "--resources", "gpu=8", "--cores", "8"]
        run = self.snakemake(*given, *targets)
        assert self.log.is_file(), run.stdout
        return self.jobs()

    def forget(self) -> None:
        """Remove the leases' files."""
        for name in self.uuids:
            (leases.LOCKS / name).unlink(missing_ok=True)
