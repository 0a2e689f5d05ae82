"""SIGTERM, a cluster's notice that it wants the machine back, as a question the trainer asks."""

from __future__ import annotations

import signal
import sys
from collections.abc import Callable
from typing import Any, Self, TypeVar

from kpo.distributed.ranks import ALONE, Ranks

T = TypeVar("T")

PREEMPTED_EXIT_CODE = 75
"""EX_TEMPFAIL of sysexits.h: a run that lost nothing and wants to be started again."""


class Preempted(BaseException):
    """SIGTERM has come; not an Exception, so that nothing on the way takes it for a failure."""


class Preemption:
    """While entered, SIGTERM sets a flag, for all ranks; to be entered in the main thread."""

    def __init__(self, ranks: Ranks = ALONE) -> None:
        self.ranks = ranks
        self._received = self._breaks = False
        self._before: Any = None

    def __enter__(self) -> Self:
        self._received = False
        self._before = signal.signal(signal.SIGTERM, self._receive)
        return self

    def __exit__(self, *_: object) -> None:
        signal.signal(signal.SIGTERM, self._before)

    def _receive(self, *_: object) -> None:
        self._received = True
        if self._breaks:
            self._breaks = False
            raise Preempted  # wherever the work stands

    def check(self) -> None:
        """Raise Preempted on every rank if any rank has received SIGTERM; collective."""
        if self.ranks.any(self._received):
            raise Preempted

    def breakable(self, work: Callable[[], T]) -> T:
        """What work() returns, unless SIGTERM comes: then it is broken off wherever it stands.

        For long work of each rank by itself: it may hold no collective, and what it leaves half
        done is not used again. `check` follows, so all ranks raise Preempted together.
        """
        done: list[T] = []
        try:
            self._breaks = True
            try:
                if not self._received:
                    done.append(work())
            finally:
                self._breaks = False
        except BaseException:  # a library may have made another exception of it
            if not self._received:
                raise
        self.check()
        return done[0]


def leave_on_sigterm() -> None:
    """From here on SIGTERM ends the process with PREEMPTED_EXIT_CODE, as nothing is to be saved."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(PREEMPTED_EXIT_CODE))
