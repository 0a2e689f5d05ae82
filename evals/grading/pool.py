"""A pool of killable grading processes (`evals.grading.worker`) with deadlines and memory limits.

Workers are plain subprocesses speaking ASCII JSON lines over pipes: nothing is pickled, the
caller's __main__ is not imported, and each is its own process group, so that a kill takes
everything with it and a Ctrl-C in the terminal reaches only the parent. They start when the first
request needs one and stay for later calls. So many as are to be held `ready` start at once and,
after a kill, again between calls, as their imports take longer than a small training step has.
A pool is for one thread.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
import weakref
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from multiprocessing.connection import wait
from typing import Literal, NamedTuple

from kpo.common.cli import UserError
from kpo.common.source_code import python_path
from kpo.evals.grading.rules import DEFAULT

WORKER = "kpo.evals.grading.worker"
START_LIMIT_S = 120.0  # for a worker's imports, on a busy machine
START_ATTEMPTS = 3  # workers that may die in a row before one was ready


class Request(NamedTuple):
    """One comparison; an answer of None asks whether the gold parses and equals itself.

    rule: a key of `evals.grading.rules.RULES`.
    """

    gold: str
    answer: str | None
    rule: str = DEFAULT


class Reply(NamedTuple):
    """What became of a request. `correct` is False unless status is ok."""

    status: Literal["ok", "timeout", "error"]
    correct: bool = False
    reason: str = ""


class _Worker:
    """One process: `job` is the index of the request it works on, None when it works on none."""

    def __init__(self, timeout_s: float, memory_mb: int) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-P", "-m", WORKER, str(memory_mb), str(timeout_s)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            # sympy's order of work follows the hash seed: a fixed one makes grading repeatable.
            env={**os.environ, "PYTHONPATH": python_path(), "PYTHONHASHSEED": "0"},
            start_new_session=True,
        )
        assert self.process.stdin is not None and self.process.stdout is not None
        self.stdin, self.stdout = self.process.stdin, self.process.stdout
        self.owner = os.getpid()
        self.ready = False
        self.from_left = True  # which end of the queue it takes from, to meet a gold again
        self.job: int | None = None
        self.deadline = time.monotonic() + START_LIMIT_S

    def send(self, job: int, request: Request, timeout_s: float) -> None:
        """Hand over a request and start its clock. A dead worker shows when it is read."""
        self.job = job
        self.deadline = time.monotonic() + timeout_s
        with contextlib.suppress(BrokenPipeError):
            self.stdin.write(json.dumps(request._asdict()).encode("ascii") + b"\n")
            self.stdin.flush()

    def receive(self) -> tuple[Reply, bool]:
        """The next reply, and whether to replace the worker: it has little memory left or died."""
        if (line := self.stdout.readline()).endswith(b"\n"):
            message = json.loads(line)
            return Reply(**message["reply"]), message["retire"]
        self.kill()
        return Reply("error", reason=f"the worker died ({self.process.returncode})"), True

    def kill(self) -> None:
        """End the process group and reap it, once; a forked copy of the parent leaves it alone."""
        if os.getpid() != self.owner or self.stdout.closed:
            return
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
        self.stdout.close()
        with contextlib.suppress(BrokenPipeError):
            self.stdin.close()


def _kill_all(workers: list[_Worker]) -> None:
    while workers:
        workers.pop().kill()


class WorkerPool:
    """Runs requests on at most `workers` processes. Close it.

    ready: how many of them wait for requests from the start, and between calls.
    """

    def __init__(self, *, workers: int, timeout_s: float, memory_mb: int, ready: int = 0) -> None:
        if workers < 1 or timeout_s <= 0 or memory_mb < 1:
            raise UserError(
                "workers, timeout_s and memory_mb must be positive, "
                f"got {workers}, {timeout_s} and {memory_mb}"
            )
        self.workers, self.timeout_s, self.memory_mb = workers, timeout_s, memory_mb
        self._ready = ready
        self._alive: list[_Worker] = []
        self._failed_starts = 0
        self._finalizer = weakref.finalize(self, _kill_all, self._alive)  # also at exit
        self.warm_up(ready)

    def warm_up(self, requests: int) -> None:
        """Start the workers that so many requests more will need; they import meanwhile."""
        busy = sum(worker.job is not None for worker in self._alive)
        for _ in range(min(self.workers, busy + requests) - len(self._alive)):
            worker = _Worker(self.timeout_s, self.memory_mb)
            worker.from_left = sum(w.from_left for w in self._alive) * 2 <= len(self._alive)
            self._alive.append(worker)

    def close(self) -> None:
        """Kill the workers. The pool may be used again: it then starts new ones."""
        _kill_all(self._alive)

    def run(
        self, requests: Sequence[Request], on_done: Callable[[int], None] | None = None
    ) -> list[Reply]:
        """Answer all requests, in order. `on_done(index)` is called as each is finished.

        Raises RuntimeError if workers cannot start (math-verify missing, memory limit too low).
        """
        replies: dict[int, Reply] = {}
        waiting = deque(range(len(requests)))
        try:
            while len(replies) < len(requests):
                self._dispatch(waiting, requests)
                for job, reply in self._finished():
                    replies[job] = reply
                    if on_done is not None:
                        on_done(job)
        except BaseException:
            self.close()  # a worker in the middle of a request would answer the next call
            raise
        self.warm_up(self._ready)
        return [replies[job] for job in range(len(requests))]

    def _dispatch(self, waiting: deque[int], requests: Sequence[Request]) -> None:
        """Give every idle worker a request; start workers while requests wait."""
        for worker in [w for w in self._alive if w.ready and w.job is None]:
            if worker.process.poll() is not None:
                self._end(worker)  # it died idle: no request may pay for that
            elif waiting:
                job = waiting.popleft() if worker.from_left else waiting.pop()
                worker.send(job, requests[job], self.timeout_s)
        self.warm_up(len(waiting))

    def _finished(self) -> Iterator[tuple[int, Reply]]:
        """Wait for replies till the nearest deadline; what came of the jobs that are over."""
        active = [w for w in self._alive if not w.ready or w.job is not None]
        nearest = min(worker.deadline for worker in active)
        told = wait([w.stdout.fileno() for w in active], max(0.0, nearest - time.monotonic()))
        for worker in active:
            if worker.stdout.fileno() in told:
                reply, retire = worker.receive()
            elif time.monotonic() >= worker.deadline:
                limit_s = START_LIMIT_S if worker.job is None else self.timeout_s
                reply, retire = Reply("timeout", reason=f"over {limit_s:g} s"), True
            else:
                continue
            if retire:
                self._end(worker)
            job, worker.job = worker.job, None
            if job is not None:
                yield job, reply
            elif reply.status == "ok":
                worker.ready, self._failed_starts = True, 0
            else:
                self._failed_starts = (self._failed_starts + 1) % START_ATTEMPTS
                if not self._failed_starts:
                    limit = f"(memory limit {self.memory_mb} MiB)"
                    raise RuntimeError(f"grading workers do not start: {reply.reason} {limit}")

    def _end(self, worker: _Worker) -> None:
        self._alive.remove(worker)
        worker.kill()
