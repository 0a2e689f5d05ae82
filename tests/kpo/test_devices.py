"""Leases of GPUs: no two jobs on one, whoever starts them and however they end."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from kpo.common.cli import UserError
from kpo.distributed import leases

REPO = Path(__file__).parents[2]
SEES = "import os; print(os.environ.get('CUDA_VISIBLE_DEVICES'))"
# Notes when it has which GPUs; the append is one write, so lines stand in the order of time.
JOB = """
import os, sys, time
def note(what):
    line = f"{what} {os.environ['CUDA_VISIBLE_DEVICES']}\\n"
    log = os.open(sys.argv[1], os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.write(log, line.encode())
note("begin")
time.sleep(0.05)
note("end")
"""
# A launcher whose rank holds the lease as well; says when it does, and the rank's id.
PARENT = """
import subprocess, sys
rank = "from kpo.distributed.leases import hold_lease; hold_lease(); print('held', flush=True)"
child = subprocess.Popen([sys.executable, "-c", rank + "; import time; time.sleep(600)"])
print(child.pid, flush=True)
child.wait()
"""


@dataclass
class Machine:
    """Jobs on a machine whose nvidia-smi lists GPUs that exist nowhere else."""

    folder: Path
    uuids: list[str]
    jobs: list[subprocess.Popen[str]] = field(default_factory=list)

    def start(self, gpus: int, *command: str, **environment: str) -> subprocess.Popen[str]:
        """Start a command under a lease; it sees no variables of a lease or scheduler around us."""
        path = f"{self.folder}:{os.environ['PATH']}"
        ours = ("CUDA_", "KPO_DEVICE", "SLURM_")
        clean = {name: v for name, v in os.environ.items() if not name.startswith(ours)}
        job = subprocess.Popen(
            [sys.executable, "-m", "kpo.devices", str(gpus), *command],
            cwd=REPO,
            env={**clean, "PATH": path, **environment},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self.jobs.append(job)
        return job

    def sees(self, gpus: int, **environment: str) -> str:
        """CUDA_VISIBLE_DEVICES of a job."""
        job = self.start(gpus, sys.executable, "-c", SEES, **environment)
        output, errors = job.communicate()
        assert job.returncode == 0, errors
        return output.strip()


@pytest.fixture
def machine(tmp_path: Path) -> Iterator[Machine]:
    uuids = [f"GPU-{uuid.uuid4()}" for _ in range(3)]
    lines = "".join(f"echo '{i}, {name}'\n" for i, name in enumerate(uuids))
    smi = tmp_path / "nvidia-smi"
    smi.write_text(f"#!/bin/sh\n{lines}")
    smi.chmod(0o755)
    machine = Machine(tmp_path, uuids)
    yield machine
    for job in machine.jobs:
        job.kill()
    for name in uuids:
        (leases.LOCKS / name).unlink(missing_ok=True)


@pytest.mark.slow
def test_parallel_jobs_never_share_a_gpu(machine: Machine) -> None:
    log = machine.folder / "log"
    wanted = [1, 2, 1, 3, 1, 2, 1, 1]
    jobs = [machine.start(gpus, sys.executable, "-c", JOB, str(log)) for gpus in wanted]
    assert [job.wait() for job in jobs] == [0] * len(jobs)
    busy: set[str] = set()
    counts = []
    for line in log.read_text().splitlines():
        what, names = line.split()
        mine = set(names.split(","))
        if what == "begin":
            assert not busy & mine
            busy |= mine
            counts.append(len(mine))
        else:
            busy -= mine
    assert sorted(counts) == sorted(wanted)


@pytest.mark.slow
def test_a_lease_is_among_the_gpus_that_the_user_names(machine: Machine) -> None:
    assert machine.sees(2) == "0,1"
    assert machine.sees(1, CUDA_VISIBLE_DEVICES="2,0") == "2"
    assert machine.sees(2, CUDA_VISIBLE_DEVICES="2, 1") == "2,1"
    short = machine.uuids[1][:12]
    assert machine.sees(1, CUDA_VISIBLE_DEVICES=short) == short
    assert machine.sees(0, CUDA_VISIBLE_DEVICES="2,0") == "2,0"


def hold(machine: Machine, gpus: int, **environment: str) -> subprocess.Popen[str]:
    """A job that has its lease, and keeps it until it is killed."""
    command = "import time; print(flush=True); time.sleep(600)"
    job = machine.start(gpus, sys.executable, "-c", command, **environment)
    assert job.stdout is not None
    job.stdout.readline()
    return job


def waits(job: subprocess.Popen[str]) -> bool:
    """Whether the job says that it waits; returns as soon as it has."""
    assert job.stderr is not None
    return job.stderr.readline().startswith("waiting for")


@pytest.mark.slow
@pytest.mark.parametrize("spelling", ["number", "uuid"])
def test_the_gpus_of_a_killed_job_are_free_again(machine: Machine, spelling: str) -> None:
    named = {"number": "1", "uuid": machine.uuids[1]}[spelling]  # the same GPU by either name
    holder = hold(machine, 1, CUDA_VISIBLE_DEVICES="1")
    waiting = machine.start(1, sys.executable, "-c", SEES, CUDA_VISIBLE_DEVICES=named)
    assert waits(waiting)
    assert waiting.poll() is None
    holder.kill()
    assert waiting.communicate()[0].strip() == named


@pytest.mark.slow
def test_a_rank_that_outlives_its_launcher_keeps_the_lease(machine: Machine) -> None:
    launcher = machine.start(3, sys.executable, "-c", PARENT)
    assert launcher.stdout is not None
    said = {launcher.stdout.readline().strip() for _ in range(2)}
    said.remove("held")
    rank = int(said.pop())
    launcher.kill()
    launcher.wait()
    waiting = machine.start(1, sys.executable, "-c", SEES)
    assert waits(waiting)
    os.kill(rank, signal.SIGKILL)
    assert waiting.communicate()[0].strip() == "0"


@pytest.mark.slow
def test_exit_codes_and_signals_are_those_of_the_command(machine: Machine) -> None:
    assert machine.start(1, "sh", "-c", "exit 75").wait() == 75
    command = "trap 'exit 76' TERM; echo; while :; do sleep 0.01; done"
    job = machine.start(1, "sh", "-c", command)
    assert job.stdout is not None
    job.stdout.readline()
    job.terminate()
    assert job.wait() == 76


@pytest.mark.slow
def test_a_schedulers_job_keeps_what_it_was_given(machine: Machine) -> None:
    hold(machine, 3)
    slurm = {"SLURM_JOB_ID": "7"}
    assert machine.sees(1, **slurm) == "None"
    assert machine.sees(2, **slurm, CUDA_VISIBLE_DEVICES="0,1") == "0,1"
    # An allocation with more than a job asks for is shared by several: they lease among it.
    assert waits(machine.start(1, "true", **slurm, CUDA_VISIBLE_DEVICES="0,1"))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("gpus", "command", "environment", "message"),
    [
        (4, "true", {}, "asks for 4 GPUs, but nvidia-smi lists 3"),
        (2, "true", {"CUDA_VISIBLE_DEVICES": "1,-1,2"}, "but CUDA_VISIBLE_DEVICES=1,-1,2 names 1"),
        (1, "true", {"CUDA_VISIBLE_DEVICES": ""}, "but CUDA_VISIBLE_DEVICES= names 0"),
        (1, "no-such-command", {}, "no such command: no-such-command"),
    ],
)
def test_what_cannot_be_is_one_sentence(
    machine: Machine, gpus: int, command: str, environment: dict[str, str], message: str
) -> None:
    job = machine.start(gpus, command, **environment)
    _, errors = job.communicate()
    assert job.returncode == 2
    assert message in errors
    assert len(errors.splitlines()) == 1


def test_without_nvidia_smi_gpus_must_be_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.delenv("SLURM_JOB_ID", raising=False)
    with pytest.raises(UserError, match="name them in CUDA_VISIBLE_DEVICES"):
        leases.lease(1)


def test_locks_in_a_folder_of_another_user_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(leases, "LOCKS", tmp_path)
    monkeypatch.setattr("os.getuid", lambda: -2)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0")
    monkeypatch.delenv("SLURM_JOB_ID", raising=False)
    with pytest.raises(UserError, match="belongs to another user"):
        leases.lease(1)
