"""A phase that hangs ends the process, whatever it hangs in; one that goes on does not."""

from __future__ import annotations

import contextlib
import subprocess
import sys
import textwrap
import time

import pytest

from kpo.trainer.guards import watchdog
from kpo.trainer.guards.watchdog import STALLED_EXIT_CODE


def run(body: str, stall_s: float = 0.3) -> subprocess.CompletedProcess[str]:
    """A process that watches phases, and ends with code 0 if nothing stops it."""
    start = f"""
        import ctypes, threading, time
        from kpo.trainer.guards import watchdog
        watchdog.GRACE_S = 0.2
        dog = watchdog.Watchdog({stall_s})
        def work(seconds):
            with dog.watch("rollout"):
                time.sleep(seconds)
    """
    program = textwrap.dedent(start) + textwrap.dedent(body)
    return subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False
    )


@pytest.mark.parametrize(
    "hang",
    [
        "work(3600)",
        "work(0.1); work(3600)",
        # C code that has let the interpreter's lock go, and a lock that is never free
        'with dog.watch("rollout"): ctypes.CDLL(None).sleep(3600)',
        'with dog.watch("rollout"): threading.Semaphore(0).acquire()',
        # what is inside is over, so the outer phase is what hangs
        'with dog.watch("rollout"):\n with dog.watch("sync"): pass\n time.sleep(3600)',
    ],
)
def test_a_hanging_phase_ends_the_process(hang: str) -> None:
    done = run(hang)
    assert done.returncode == STALLED_EXIT_CODE
    assert "error: rollout has made no progress for 0.3 s" in done.stderr
    assert 'File "<string>"' in done.stderr  # the main thread's stack
    assert "watchdog.py" in done.stderr  # and the other's


def test_c_code_that_holds_the_interpreter_is_ended_too() -> None:
    done = run('with dog.watch("rollout"): ctypes.PyDLL(None).sleep(3600)')
    assert done.returncode == 1
    assert "Timeout" in done.stderr
    assert 'File "<string>"' in done.stderr


class Clock:
    """Time as the watchdog sees it; what hangs is told, and the process goes on."""

    sleep = staticmethod(time.sleep)  # of threads that earlier tests have left

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 0.0
        self.stopped: list[str] = []
        monkeypatch.setattr(watchdog, "time", self)
        monkeypatch.setattr(watchdog.Watchdog, "_stop", lambda _, phase: self.stopped.append(phase))
        monkeypatch.setattr(watchdog.Watchdog, "_look", lambda _: None)  # no thread looks, but we
        monkeypatch.setattr("faulthandler.dump_traceback_later", lambda *_, **__: None)
        self.dog = watchdog.Watchdog(10.0)

    def monotonic(self) -> float:
        return self.now

    def passes(self, seconds: float) -> list[str]:
        """Let time pass; the phases that were found hanging until then."""
        self.now += seconds
        self.dog.look()
        return self.stopped


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    return Clock(monkeypatch)


def test_progress_is_left_alone(clock: Clock) -> None:
    with clock.dog.watch("update"):
        for _ in range(8):
            assert clock.passes(9) == []
            clock.dog.beat()
        for _ in range(8):
            with clock.dog.watch("rollout"):
                assert clock.passes(9) == []
        assert clock.passes(11) == ["update"]


@pytest.mark.parametrize("error", [None, ZeroDivisionError])
def test_outside_phases_nothing_is_watched(clock: Clock, error: type[Exception] | None) -> None:
    """However they were left."""
    with contextlib.suppress(ZeroDivisionError), clock.dog.watch("update"):
        if error is not None:
            raise error
    clock.dog.beat()
    assert clock.passes(1000) == []
