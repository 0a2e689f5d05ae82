"""A phase that hangs ends the process, whatever it hangs in; one that goes on does not."""

from __future__ import annotations

import subprocess
import sys
import textwrap

import pytest

from kpo.trainer.watchdog import STALLED_EXIT_CODE


def run(body: str, stall_s: float = 0.3) -> subprocess.CompletedProcess[str]:
    """A process that watches phases, and ends with code 0 if nothing stops it."""
    start = f"""
        import ctypes, threading, time
        from kpo.trainer import watchdog
        watchdog.GRACE_S = 0.2
        dog = watchdog.Watchdog({stall_s})
        def work(seconds):
            with dog.watch("rollout"):
                time.sleep(seconds)
    """
    program = textwrap.dedent(start) + textwrap.dedent(body)
    return subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=False
    )


@pytest.mark.parametrize(
    "hang",
    [
        "work(30)",
        "work(0.1); work(30)",
        # C code that has let the interpreter's lock go, and a lock that is never free
        'with dog.watch("rollout"): ctypes.CDLL(None).sleep(30)',
        'with dog.watch("rollout"): threading.Semaphore(0).acquire()',
        # what is inside is over, so the outer phase is what hangs
        'with dog.watch("rollout"):\n with dog.watch("sync"): pass\n time.sleep(30)',
    ],
)
def test_a_hanging_phase_ends_the_process(hang: str) -> None:
    done = run(hang)
    assert done.returncode == STALLED_EXIT_CODE
    assert "error: rollout has made no progress for 0.3 s" in done.stderr
    assert 'File "<string>"' in done.stderr  # the main thread's stack
    assert "watchdog.py" in done.stderr  # and the other's


def test_c_code_that_holds_the_interpreter_is_ended_too() -> None:
    done = run('with dog.watch("rollout"): ctypes.PyDLL(None).sleep(30)')
    assert done.returncode == 1
    assert "Timeout" in done.stderr
    assert 'File "<string>"' in done.stderr


@pytest.mark.parametrize(
    "body",
    [
        'with dog.watch("update"):\n for _ in range(8): time.sleep(0.3); dog.beat()',
        'with dog.watch("update"):\n for _ in range(8): work(0.3)',
        # outside phases nothing is watched, however they were left
        "work(0.1); dog.beat(); time.sleep(2)",
        "try:\n with dog.watch('update'): 1 / 0\nexcept ZeroDivisionError: time.sleep(2)",
    ],
)
def test_progress_is_left_alone(body: str) -> None:
    done = run(body, stall_s=1.5)  # wide, as a busy machine sleeps longer than asked for
    assert (done.returncode, done.stderr) == (0, "")
