"""How the workflow starts what uses GPUs: the commands that reach `python`."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from kpo.distributed import leases
from tests.gpu_machine import Machine
from tests.workspace import REPO, Workspace, pretend_made, with_gpus

pytestmark = pytest.mark.slow


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Machine]:
    machine = Machine(tmp_path, monkeypatch)
    pretend_made(tmp_path)
    yield machine
    machine.forget()


TARGETS = [
    "results/test/runs/grpo-s0/manifest.json",
    "results/test/evals/base/samples.jsonl",
    "results/test/evals/kpo-clipped-s0/samples.jsonl",
]


def test_jobs_on_one_machine_never_share_a_gpu(machine: Machine) -> None:
    machine.write(with_gpus(train=1, evaluate=1))
    started = machine.started(*TARGETS)
    assert len(started) == len(TARGETS)  # three at once, for all that Snakemake knows, on two GPUs
    assert all(len(job.gpus) == 1 for job in started)


def test_a_run_on_two_gpus_is_one_launch_that_sees_both(machine: Machine) -> None:
    machine.write(with_gpus(train=2, evaluate=2))
    (job,) = machine.started(TARGETS[0])
    assert job.gpus == {"0", "1"}
    assert re.search(r"-m kpo\.launch 2 -m kpo\.train .*--method grpo", job.command)


def test_jobs_on_the_cpu_lease_nothing(machine: Machine) -> None:
    machine.write(with_gpus(train=0, evaluate=0))
    started = machine.started(*TARGETS)
    assert sorted(job.command.split()[1] for job in started) == [
        "kpo.evals.sample",
        "kpo.evals.sample",
        "kpo.train",
    ]
    assert not any(job.gpus for job in started)
    assert not any((leases.LOCKS / name).exists() for name in machine.uuids)
    assert "CUDA_VISIBLE_DEVICES" not in os.environ


def test_two_snakemakes_keep_eight_gpus_busy_and_share_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The first eight jobs end when eight run: with one GPU fewer in use none would, in time."""
    machine = Machine(tmp_path, monkeypatch, gpus=8, together=8)
    monkeypatch.setenv("PATH", f"{Path(sys.executable).parent}:{os.environ['PATH']}")
    monkeypatch.setenv("PYTHONPATH", str(REPO))
    settings = {**with_gpus(train=1, evaluate=1), "seeds": list(range(6))}
    (tmp_path / "other").mkdir()
    calls = []
    for workspace in (machine, Workspace(tmp_path / "other")):
        workspace.write(settings)
        pretend_made(workspace.folder)
        runs = [f"results/test/runs/grpo-s{seed}/manifest.json" for seed in settings["seeds"]]
        given = ["--rerun-triggers", "mtime", "--resources", "gpu=8", "--cores", "64"]
        call = [sys.executable, "-m", "snakemake", *workspace.arguments(*runs, *given)]
        calls.append(subprocess.Popen(call, cwd=workspace.folder, stderr=subprocess.PIPE))
    for running in calls:
        running.communicate()
    jobs = machine.jobs()
    machine.forget()
    assert len(jobs) == 12
    assert {gpu for job in jobs for gpu in job.gpus} == set("01234567")
    ends = sorted(job.ended for job in jobs)
    waiting = [job.begun - end for job, end in zip(jobs[8:], ends, strict=False)]
    with capsys.disabled():
        print(
            f"8 GPUs, 12 jobs of two Snakemakes: no overlap; a GPU given back was taken within"
            f" {max(waiting):.1f} s"
        )
