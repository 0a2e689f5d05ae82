"""SIGTERM sets a flag that all ranks see."""

from __future__ import annotations

import os
import signal

from kpo.ranks import Ranks
from kpo.trainer.preemption import Preemption
from tests.kpo.processes import on_ranks


def notify() -> None:
    os.kill(os.getpid(), signal.SIGTERM)


def test_sigterm_is_a_request() -> None:
    with Preemption() as preemption:
        assert not preemption.requested()
        notify()
        notify()
        assert preemption.requested()
    with Preemption() as preemption:
        assert not preemption.requested()


def test_the_handler_before_comes_back() -> None:
    seen: list[int] = []
    before = signal.signal(signal.SIGTERM, lambda number, frame: seen.append(number))
    try:
        try:
            with Preemption():
                notify()
                assert seen == []
                raise KeyError
        except KeyError:
            notify()
        assert seen == [signal.SIGTERM]
    finally:
        signal.signal(signal.SIGTERM, before)


def requests_before_and_after(ranks: Ranks) -> tuple[bool, bool]:
    with Preemption(ranks) as preemption:
        before = preemption.requested()
        if ranks.rank == 1:
            notify()
        return before, preemption.requested()


def test_ranks_agree() -> None:
    assert on_ranks(2, requests_before_and_after) == [(False, True)] * 2
