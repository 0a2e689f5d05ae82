"""How the workflow starts what uses GPUs: the commands that reach `python`."""

from __future__ import annotations

import os
import re
import sys
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from kpo.distributed import leases
from tests.workspace import Workspace, pretend_made, with_gpus

pytestmark = pytest.mark.slow
# Stands for python: notes which GPUs it has, from when until when, and its arguments.
# `python -m kpo.devices` is the real one.
SHIM = """#!/bin/sh
case "$*" in "-m kpo.devices "*) exec {python} "$@" ;; esac
echo "begin $CUDA_VISIBLE_DEVICES $*" >>"{log}"
sleep 0.2
echo "end $CUDA_VISIBLE_DEVICES" >>"{log}"
exit 1
"""


class Machine(Workspace):
    """A workspace on a machine with two GPUs, whose programs only take notes."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        super().__init__(folder)
        self.log = folder / "started"
        self.uuids = [f"GPU-{uuid.uuid4()}" for _ in range(2)]
        smi = "".join(f"echo '{i}, {name}'\n" for i, name in enumerate(self.uuids))
        shim = SHIM.format(python=sys.executable, log=self.log)
        programs = {"nvidia-smi": f"#!/bin/sh\n{smi}", "python": shim}
        for name, text in programs.items():
            path = folder / "bin" / name
            path.parent.mkdir(exist_ok=True)
            path.write_text(text)
            path.chmod(0o755)
        monkeypatch.setenv("BASH_ENV", str(folder / "path"))  # of the shell that runs a job
        (folder / "path").write_text(f'PATH="{folder / "bin"}:$PATH"\n')
        monkeypatch.delenv("CUDA_VISIBLE_DEVICES")

    def started(self, *targets: str) -> list[tuple[set[str], str]]:
        """GPUs and command of each job; fails where two have one GPU at a time."""
        given = ["--rerun-triggers", "mtime", "--resources", "gpu=8", "--cores", "8"]
        run = self.snakemake(*given, *targets)
        assert self.log.is_file(), run.stdout
        busy: set[str] = set()
        found = []
        for line in self.log.read_text().splitlines():
            what, names, *command = line.split(" ")
            mine = set(filter(None, names.split(",")))
            if what == "begin":
                assert not busy & mine, self.log.read_text()
                busy |= mine
                found.append((mine, " ".join(command)))
            else:
                busy -= mine
        return found


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Machine]:
    machine = Machine(tmp_path, monkeypatch)
    pretend_made(tmp_path)
    yield machine
    for name in machine.uuids:
        (leases.LOCKS / name).unlink(missing_ok=True)


TARGETS = [
    "results/test/runs/grpo-s0/manifest.json",
    "results/test/evals/base/samples.jsonl",
    "results/test/evals/kpo-clipped-s0/samples.jsonl",
]


def test_jobs_on_one_machine_never_share_a_gpu(machine: Machine) -> None:
    machine.write(with_gpus(train=1, evaluate=1))
    started = machine.started(*TARGETS)
    assert len(started) == len(TARGETS)  # three at once, for all that Snakemake knows, on two GPUs
    assert all(len(gpus) == 1 for gpus, _ in started)


def test_a_run_on_two_gpus_is_one_launch_that_sees_both(machine: Machine) -> None:
    machine.write(with_gpus(train=2, evaluate=2))
    ((gpus, command),) = machine.started(TARGETS[0])
    assert gpus == {"0", "1"}
    assert re.search(r"-m kpo\.launch 2 -m kpo\.train .*--method grpo", command)


def test_jobs_on_the_cpu_lease_nothing(machine: Machine) -> None:
    machine.write(with_gpus(train=0, evaluate=0))
    started = machine.started(*TARGETS)
    assert sorted(command.split()[1] for _, command in started) == [
        "kpo.evals.sample",
        "kpo.evals.sample",
        "kpo.train",
    ]
    assert not any(gpus for gpus, _ in started)
    assert not any((leases.LOCKS / name).exists() for name in machine.uuids)
    assert "CUDA_VISIBLE_DEVICES" not in os.environ
