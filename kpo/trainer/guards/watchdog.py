"""Stops a run whose phase makes no progress, and says where every thread stands.

A thread of its own waits for the time to pass, names the phase, dumps all stacks to stderr and ends
the process with STALLED_EXIT_CODE. It needs the interpreter's lock; where the main thread hangs in
C code that holds it, faulthandler's timer, which needs no lock, does the same GRACE_S later, only
without the phase's name and with exit code 1.
"""

from __future__ import annotations

import faulthandler
import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

STALLED_EXIT_CODE = 74
"""EX_IOERR of sysexits.h; a run that ends so can be started again from its checkpoint."""
GRACE_S = 5.0
STDERR = 2


class Watchdog:
    """Ends the process after `stall_s` seconds without progress; make one a process."""

    def __init__(self, stall_s: float) -> None:
        self.stall_s = stall_s
        self._watched: tuple[str, float] | None = None  # phase and deadline, changed as one
        self._thread: threading.Thread | None = None

    @contextmanager
    def watch(self, phase: str) -> Iterator[None]:
        """Watch the block under a name; blocks inside it are watched under their own."""
        outer = self._watched
        self._enter(phase)
        try:
            yield
        finally:
            self._enter(outer[0] if outer else None)

    def beat(self) -> None:
        """Say that the phase has made progress; costs microseconds. Outside phases: nothing."""
        if self._watched is not None:
            self._enter(self._watched[0])

    def look(self) -> None:
        """End the process if the phase hangs."""
        watched = self._watched
        if watched is not None and time.monotonic() > watched[1]:
            self._stop(watched[0])

    def _enter(self, phase: str | None) -> None:
        if phase is None:
            self._watched = None
            faulthandler.cancel_dump_traceback_later()
            return
        self._watched = (phase, time.monotonic() + self.stall_s)
        faulthandler.dump_traceback_later(self.stall_s + GRACE_S, exit=True, file=STDERR)
        if self._thread is None:
            self._thread = threading.Thread(target=self._look, name="watchdog", daemon=True)
            self._thread.start()

    def _look(self) -> None:
        while True:
            time.sleep(min(1.0, self.stall_s / 10))
            self.look()

    def _stop(self, phase: str) -> None:
        """End the process at once: nothing that may hang, as buffers' locks, is touched."""
        message = f"error: {phase} has made no progress for {self.stall_s:g} s; all stacks:\n"
        os.write(STDERR, message.encode())
        faulthandler.dump_traceback(file=STDERR, all_threads=True)
        os._exit(STALLED_EXIT_CODE)
