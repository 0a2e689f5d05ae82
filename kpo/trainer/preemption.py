"""SIGTERM, a cluster's notice that it wants the machine back, as a question the trainer asks."""

from __future__ import annotations

import signal
from types import FrameType, TracebackType
from typing import Any, Self

from kpo.ranks import ALONE, Ranks

PREEMPTED_EXIT_CODE = 75
"""EX_TEMPFAIL of sysexits.h: a run that saved a checkpoint and wants to be started again."""


class Preemption:
    """While entered, SIGTERM only sets a flag; to be entered in the main thread.

    Args:
        ranks: who stops together.
    """

    def __init__(self, ranks: Ranks = ALONE) -> None:
        self.ranks = ranks
        self._received = False
        self._before: Any = None

    def __enter__(self) -> Self:
        self._before = signal.signal(signal.SIGTERM, self._receive)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        signal.signal(signal.SIGTERM, self._before)

    def _receive(self, number: int, frame: FrameType | None) -> None:
        self._received = True

    def requested(self) -> bool:
        """Whether any rank has received SIGTERM; collective, so that all ranks stop together."""
        return self.ranks.any(self._received)
