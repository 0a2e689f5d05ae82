"""Bounds that no busy or slow machine reaches, for tests that would otherwise wait for ever."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

FAR_S = 900.0
"""Whatever takes longer will never come."""


def until(reached: Callable[[], bool], going_on: Callable[[], bool] = lambda: True) -> None:
    """Wait for what must come, unless nothing goes on."""
    end = time.monotonic() + FAR_S
    while going_on() and not reached() and time.monotonic() < end:
        time.sleep(0.01)
    assert reached()


@contextmanager
def processor_seconds(limit: float) -> Iterator[None]:
    """Fail if the block needs more processor time than that, which none passes while others run."""

    def over(number: int, frame: FrameType | None) -> None:
        raise AssertionError(f"more than {limit:g} s of processor time")

    before = signal.signal(signal.SIGPROF, over)
    signal.setitimer(signal.ITIMER_PROF, limit)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.signal(signal.SIGPROF, before)
