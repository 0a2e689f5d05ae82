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
import selectors
import signal
import subprocess
import sys
import time
import weakref
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple, Self

from evals.grading.rules import DEFAULT
from kpo.common.cli import UserError

START_LIMIT_S = 120.0  # for a worker's imports, on a busy machine
START_ATTEMPTS = 3  # workers that may die in a row before one was ready


class Request(NamedTuple):
    """One comparison; an answer of None asks whether the gold parses and equals itself.

    rule: a key of `evals.grading.rules.RULES`.
    """

    gold: str
    answer: str | None
    rule: str = DEFAULT


@dataclass(frozen=True)
class Reply:
    """What became of a request. `correct` is False unless status is ok."""

    status: Literal["ok", "timeout", "error"]
    correct: bool = False
    reason: str = ""


class _Worker:
    """One process: `job` is the index of the request it works on, None when it works on none."""

    def __init__(self, timeout_s: float, memory_mb: int) -> None:
        root = str(Path(__file__).resolve().parents[2])
        path = os.pathsep.join(filter(None, [root, os.environ.get("PYTHONPATH", "")]))
        self.process = subprocess.Popen(
            [sys.executable, "-P", "-m", "evals.grading.worker", str(memory_mb), str(timeout_s)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            # sympy's order of work follows the hash seed: a fixed one makes grading repeatable.
            env={**os.environ, "PYTHONPATH": path, "PYTHONHASHSEED": "0"},
            start_new_session=True,
        )
        assert self.process.stdin is not None and self.process.stdout is not None
        self.stdin, self.stdout = self.process.stdin, self.process.stdout
        self.owner = os.getpid()
        self.ready = False
        self.from_left = True  # which end of the queue it takes from, to meet a gold again
        self.job: int | None = None
        self.deadline = time.monotonic() + START_LIMIT_S
        self._buffer = b""

    def send(self, job: int, request: Request, timeout_s: float) -> None:
        """Hand over a request and start its clock. A dead worker shows when it is read."""
        self.job = job
        self.deadline = time.monotonic() + timeout_s
        line = json.dumps(request._asdict()) + "\n"
        with contextlib.suppress(BrokenPipeError):
            self.stdin.write(line.encode("ascii"))
            self.stdin.flush()

    def receive(self) -> dict[str, Any] | None:
        """Read what is there; a whole message, {} for half of one, None at the end of file."""
        chunk = os.read(self.stdout.fileno(), 65536)
        if not chunk:
            return None
        self._buffer += chunk
        if not self._buffer.endswith(b"\n"):
            return {}
        line, self._buffer = self._buffer, b""
        message: dict[str, Any] = json.loads(line)
        return message

    def kill(self) -> None:
        """End the process group and reap it; a forked copy of the parent leaves it alone."""
        if os.getpid() != self.owner:
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
    """Runs requests on at most `workers` processes. Close it, or use it as a context manager.

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

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def warm_up(self, requests: int) -> None:
        """Start the workers that this many requests will need; they import meanwhile."""
        self._start_missing(requests)

    def close(self) -> None:
        """Kill the workers. The pool may be used again: it then starts new ones."""
        _kill_all(self._alive)

    def run(
        self, requests: Sequence[Request], on_done: Callable[[int], None] | None = None
    ) -> list[Reply]:
        """Answer all requests, in order. `on_done(index)` is called as each is finished.

        Raises RuntimeError if workers cannot start (math-verify missing, memory limit too low).
        """
        replies: list[Reply | None] = [None] * len(requests)
        waiting = deque(range(len(requests)))

        def finish(job: int, reply: Reply) -> None:
            replies[job] = reply
            if on_done is not None:
                on_done(job)

        try:
            with selectors.DefaultSelector() as selector:
                for worker in self._alive:
                    selector.register(worker.stdout, selectors.EVENT_READ, worker)
                while waiting or any(worker.job is not None for worker in self._alive):
                    self._dispatch(waiting, requests, selector)
                    self._wait(selector, finish)
        except BaseException:
            self.close()  # a worker in the middle of a request would answer the next call
            raise
        self.warm_up(self._ready)
        return [reply for reply in replies if reply is not None]

    def _dispatch(
        self, waiting: deque[int], requests: Sequence[Request], selector: selectors.BaseSelector
    ) -> None:
        """Give every idle worker a request; start workers while requests wait."""
        for worker in [w for w in self._alive if w.ready and w.job is None]:
            if worker.process.poll() is not None:
                self._end(worker, selector)  # it died idle: no request may pay for that
            elif waiting:
                job = waiting.popleft() if worker.from_left else waiting.pop()
                worker.send(job, requests[job], self.timeout_s)
        for worker in self._start_missing(len(waiting)):
            selector.register(worker.stdout, selectors.EVENT_READ, worker)

    def _start_missing(self, waiting: int) -> list[_Worker]:
        busy = sum(worker.job is not None for worker in self._alive)
        missing = min(self.workers, busy + waiting) - len(self._alive)
        new = [_Worker(self.timeout_s, self.memory_mb) for _ in range(missing)]
        for worker in new:
            worker.from_left = sum(w.from_left for w in self._alive) * 2 <= len(self._alive)
            self._alive.append(worker)
        return new

    def _wait(self, selector: selectors.BaseSelector, finish: Callable[[int, Reply], None]) -> None:
        """Take the messages that come before the nearest deadline, then end what is overdue."""
        active = [w for w in self._alive if not w.ready or w.job is not None]
        nearest = min(worker.deadline for worker in active)
        for key, _ in selector.select(max(0.0, nearest - time.monotonic())):
            worker: _Worker = key.data
            self._take(worker, worker.receive(), selector, finish)
        now = time.monotonic()
        for worker in [w for w in active if w in self._alive]:
            if now >= worker.deadline and worker.job is not None:
                self._end(worker, selector)
                finish(worker.job, Reply("timeout", reason=f"over {self.timeout_s:g} s"))
            elif now >= worker.deadline and not worker.ready:
                self._end(worker, selector)
                self._start_failed(f"not ready after {START_LIMIT_S:g} s")

    def _take(
        self,
        worker: _Worker,
        message: dict[str, Any] | None,
        selector: selectors.BaseSelector,
        finish: Callable[[int, Reply], None],
    ) -> None:
        if message == {}:
            return
        job = worker.job
        if message is None or "fatal" in message:
            self._end(worker, selector)
            died = f"the worker died ({worker.process.returncode})"
            if job is not None:
                finish(job, Reply("error", reason=died))
            elif not worker.ready:
                self._start_failed(died if message is None else message["fatal"])
            return
        if job is None:
            worker.ready = True
            self._failed_starts = 0
            return
        worker.job = None
        if message["retire"]:
            self._end(worker, selector)
        finish(job, _reply(message))

    def _end(self, worker: _Worker, selector: selectors.BaseSelector) -> None:
        selector.unregister(worker.stdout)
        self._alive.remove(worker)
        worker.kill()

    def _start_failed(self, why: str) -> None:
        self._failed_starts += 1
        if self._failed_starts >= START_ATTEMPTS:
            self._failed_starts = 0
            raise RuntimeError(
                f"grading workers do not start: {why} (memory limit {self.memory_mb} MiB)"
            )


def _reply(message: dict[str, Any]) -> Reply:
    if "error" in message:
        return Reply("error", reason=message["error"])
    if "too_large" in message:
        return Reply("timeout", reason="a power too large to evaluate")
    return Reply("ok", correct=message["correct"])
