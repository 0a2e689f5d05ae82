"""Workers held ready: started early, replaced between calls, ended with the pool."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from kpo.evals.grading.pool import Reply, Request, WorkerPool
from tests.evals.grading.asked import LINE, SLOW, is_running

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture
def pool() -> Iterator[WorkerPool]:
    with contextlib.closing(WorkerPool(workers=2, timeout_s=60, memory_mb=2048, ready=1)) as made:
        yield made


def pids(pool: WorkerPool) -> list[int]:
    return [worker.process.pid for worker in pool._alive]


def test_a_worker_starts_before_it_is_asked(pool: WorkerPool) -> None:
    (pid,) = pids(pool)
    assert pool.run([]) == []
    assert pool.run([Request("x", "x")]) == [Reply("ok", True)]
    assert pids(pool) == [pid]


def test_more_start_when_more_is_asked_and_stay(pool: WorkerPool) -> None:
    first = pids(pool)
    pool.run([Request("x+1", f"x+{n}") for n in range(40)])
    assert pids(pool)[:1] == first
    both = pids(pool)
    pool.run([Request("x+1", "1+x")])
    assert pids(pool) == both


def test_a_killed_worker_is_replaced_between_calls() -> None:
    with contextlib.closing(WorkerPool(workers=2, timeout_s=0.1, memory_mb=2048, ready=1)) as pool:
        (pid,) = pids(pool)
        assert pool.run([Request(LINE, SLOW)])[0].status == "timeout"
        assert not is_running(pid)
        (new,) = pids(pool)
        assert new != pid
        assert is_running(new)


def test_a_worker_that_dies_idle_costs_no_request(pool: WorkerPool) -> None:
    pool.run([Request("x", "x")])
    for worker in pool._alive:
        os.killpg(worker.process.pid, signal.SIGKILL)
        worker.process.wait()
    assert pool.run([Request("x", "x")]) == [Reply("ok", True)]


def test_none_is_held_ready_unless_it_is_asked_for() -> None:
    with contextlib.closing(WorkerPool(workers=2, timeout_s=1, memory_mb=2048)) as cold:
        assert pids(cold) == []


def test_closing_ends_them(pool: WorkerPool) -> None:
    held = pids(pool)
    pool.close()
    assert not any(map(is_running, held))


@pytest.mark.parametrize("end", ["os._exit(0)", "raise SystemExit", "os.kill(os.getpid(), 9)"])
def test_they_do_not_outlive_their_parent(end: str) -> None:
    """However it ends: a worker in its imports ends when it comes to read."""
    code = (
        "import os\nfrom kpo.evals.grading.grader import Grader\n"
        "grader = Grader(ready=1)\n"
        "print(grader._pool._alive[0].process.pid, flush=True)\n"
        f"{end}"
    )
    parent = subprocess.Popen(
        [sys.executable, "-c", code], cwd=ROOT, stdout=subprocess.PIPE, text=True
    )
    assert parent.stdout is not None
    with parent:
        pid = int(parent.stdout.readline())
    with contextlib.suppress(ProcessLookupError):  # it has ended already
        watch = os.pidfd_open(pid)
        assert select.select([watch], [], [], 120)[0]
        os.close(watch)
    assert not is_running(pid)
